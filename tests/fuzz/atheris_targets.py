"""Coverage-guided fuzzing of the same targets, where atheris is installed (it is no dependency of anything).

``python -m tests.fuzz.atheris_targets TARGET [-max_total_time=SECONDS] [CORPUS]``; TARGET is a function's name below.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")

with atheris.instrument_imports(include=["looopy_otel"]):
    from looopy_otel.store.sqlite import Store
    from tests.fuzz import targets
    from tests.store.spans import agent, call


def spool(data: bytes) -> None:
    """A spool with one file, and a body."""
    provider = atheris.FuzzedDataProvider(data)
    name = provider.ConsumeUnicodeNoSurrogates(24) if provider.ConsumeBool() else "0000000001-4.otlp"
    body = provider.ConsumeBytes(atheris.ALL_REMAINING)
    targets.encoded_batch(body)
    targets.encoded_batch(gzip.compress(body, 1))
    targets.spool([(targets.DEAD, name, body)])


def batch(data: bytes) -> None:
    """A body, compressed and not."""
    targets.encoded_batch(data)
    targets.encoded_batch(gzip.compress(data, 1))


def otlp(data: bytes) -> None:
    """An answer of an OTLP endpoint."""
    provider = atheris.FuzzedDataProvider(data)
    headers = {
        "retry-after": provider.ConsumeUnicodeNoSurrogates(30),
        "content-type": "application/x-protobuf" if provider.ConsumeBool() else provider.ConsumeUnicodeNoSurrogates(30),
    }
    status = provider.ConsumeIntInRange(100, 999)
    targets.otlp_answer(status, headers, provider.ConsumeBytes(atheris.ALL_REMAINING))


def llm(data: bytes) -> None:
    """An answer of an LLM endpoint, streamed or not."""
    provider = atheris.FuzzedDataProvider(data)
    streamed = provider.ConsumeBool()
    headers = {
        "content-type": "text/event-stream" if streamed else "application/json",
        "x-litellm-response-cost": provider.ConsumeBytes(8).decode("latin-1"),
    }
    status = 200 if streamed or provider.ConsumeBool() else provider.ConsumeIntInRange(200, 599)
    targets.llm_answer(status, headers, provider.ConsumeBytes(atheris.ALL_REMAINING), streamed=streamed)


def headers(data: bytes) -> None:
    """Headers of a request."""
    provider = atheris.FuzzedDataProvider(data)
    names = ("traceparent", "tracestate", "baggage")
    targets.incoming_headers([(name, provider.ConsumeUnicode(provider.ConsumeIntInRange(0, 200))) for name in names])


def store(data: bytes) -> None:
    """A store with a few bytes changed."""
    provider = atheris.FuzzedDataProvider(data)
    contents = bytearray(_store().read_bytes())
    while provider.remaining_bytes() > 3:
        place = provider.ConsumeIntInRange(0, len(contents) - 1)
        piece = provider.ConsumeBytes(provider.ConsumeIntInRange(1, 8))
        contents[place : place + len(piece)] = piece
    targets.store_file(_DIRECTORY / "changed.db", bytes(contents))


_DIRECTORY = Path(tempfile.mkdtemp())
TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (spool, batch, otlp, llm, headers, store)
}


def _store() -> Path:
    path = _DIRECTORY / "traces.db"
    if not path.exists():
        with Store(path) as filled:
            filled.insert([agent(1), call(1, 2)])
    return path


if __name__ == "__main__":
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()

"""What reads bytes from outside, each as one function that takes them and asserts what must hold whatever they are."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.trace import get_current_span

import looopy_otel as lo
from looopy_otel.core.errors import LooopyError, StoreError
from looopy_otel.core.identity import current_identity
from looopy_otel.export.encoded import CorruptBatchError, halves, span_count, without_content
from looopy_otel.export.outbox import Outbox
from looopy_otel.export.verdict import LONGEST_RETRY_AFTER, judge, masked
from looopy_otel.providers import LiteLLMProvider
from looopy_otel.store.sqlite import Store

SECRET = "sk-lf-5b2d0c7e-1f43-4c0a-9a55-2f6f0d9c1b7e"
URL = "https://cloud.example/api/public/otel/v1/traces"
DEAD = "99999999-1.1"
"""A spool directory whose owner has ended."""


def encoded_batch(body: bytes) -> None:
    """A body from a spool is a batch or `CorruptBatchError`; what is made of it holds the same spans."""
    try:
        spans = span_count(body)
    except CorruptBatchError:
        return
    with suppress(CorruptBatchError):
        found = halves(body)
        assert (found is None) == (spans < 2)
        for part, count in found or ():
            assert span_count(part) == count
        assert found is None or sum(count for _, count in found) == spans
    with suppress(CorruptBatchError):
        bare = without_content(body)
        assert bare is None or span_count(bare[0]) == spans


def spool(files: Sequence[tuple[str, str, bytes]]) -> None:
    """Whatever lies in a spool is delivered, counted or left alone; what is appended comes out as it was.

    Args:
        files: Directory, name and contents of each; names that the file system refuses are left out.
    """
    with tempfile.TemporaryDirectory() as root:
        for directory, name, contents in files:
            with suppress(OSError, ValueError):
                parent = Path(root, "otlp-1", directory)
                parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (parent / name).write_bytes(contents)
        losses: Counter[str] = Counter()

        def dropped(reason: str, spans: int) -> None:
            assert spans >= 0
            losses[reason] += spans

        outbox = Outbox(Path(root, "otlp-1"), dropped)
        outbox.append(b"mine", 1)
        waiting = outbox.adopt()
        assert waiting >= 0
        taken: list[bytes] = []
        while (batch := outbox.first()) is not None:
            body = outbox.read(batch)
            if body is not None:
                taken.append(body)
                outbox.acknowledge(batch)
        assert taken[-1] == b"mine"
        assert (outbox.is_empty, outbox.queued, outbox.spooled) == (True, 0, 0)
        outbox.close()


def otlp_answer(status: int, headers: Mapping[str, str], body: bytes) -> None:
    """An answer of an endpoint is judged, its wait is bounded, and no secret that it echoes is shown."""
    verdict = judge(status, headers, body, endpoint=URL, langfuse=False)
    assert verdict.kind in ("delivered", "retry", "rejected")
    assert verdict.wait is None or (0.0 <= verdict.wait <= LONGEST_RETRY_AFTER and math.isfinite(verdict.wait))
    assert verdict.rejected_spans >= 0
    shown = masked(verdict.message, (SECRET,))
    assert SECRET not in shown
    assert len(shown) <= 500
    assert "\n" not in shown


def llm_answer(status: int, headers: Mapping[str, str], body: bytes, *, streamed: bool) -> None:
    """An answer of an LLM endpoint is a response, or an error of this library's own."""
    asyncio.run(_llm_answer(status, dict(headers), body, streamed))


async def _llm_answer(status: int, headers: dict[str, str], body: bytes, streamed: bool) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=encoded, stream=httpx.ByteStream(body))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        provider = LiteLLMProvider(base_url="http://127.0.0.1:1", model="gpt-4o", http_client=client)
        call = provider.call(messages=[{"role": "user", "content": "Hello!"}])
        with suppress(LooopyError):
            if streamed:
                async for event in call:
                    assert event is not None
                return
            response = await call
            usage = response.usage
            assert usage is None or min(usage.prompt_tokens or 0, usage.completion_tokens or 0) >= 0
            assert response.cost is None or response.cost.is_finite()


def incoming_headers(headers: Any) -> None:
    """Headers of a request never raise, never make a wrong parent, and name no one at length."""
    before = current_identity()
    with lo.continue_trace(headers, identity=True):
        context = get_current_span().get_span_context()
        assert context.trace_id < 2**128
        assert context.span_id < 2**64
        assert (context.trace_id == 0) == (context.span_id == 0)
        identity = current_identity()
        assert len(identity.session_id or "") <= 200
        assert len(identity.user_id or "") <= 200
        assert all(isinstance(value, str) for value in lo.trace_headers(identity=True).values())
    assert current_identity() == before


def store_row(path: Path, values: Mapping[str, Any]) -> None:
    """A row that somebody tampered with is read, or refused with `StoreError`.

    Args:
        path: A store with one trace.
        values: Columns to overwrite in all its rows.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        for column, value in values.items():
            with suppress(sqlite3.IntegrityError):
                connection.execute(f"UPDATE OR IGNORE spans SET {column} = ?", (value,))
    read_store(path)


def store_file(path: Path, contents: bytes) -> None:
    """A file that is no store, or was one, is read or refused with `StoreError`."""
    for beside in ("-wal", "-shm"):
        path.with_name(path.name + beside).unlink(missing_ok=True)
    path.write_bytes(contents)
    read_store(path)


def read_store(path: Path) -> None:
    """Reads all that there is to read."""
    with suppress(StoreError), Store(path, read_only=True) as store:
        with suppress(StoreError):
            store.find("last")
        for trace in store.traces():
            with suppress(StoreError):
                store.spans(trace.trace_id)

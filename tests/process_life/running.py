"""Runs the programs beside it as processes of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.otlp_sink import OTLPSink

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
SPANS = 5
"""How many spans a program makes under one prefix."""


def start(
    program: str, mode: str, url: str, *, options: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts ``tests.process_life.<program>``; its home is the test's own.

    Args:
        program: The module.
        mode: What it does, one of its functions.
        url: Where its spans go.
        options: For the interpreter.
        environment: Besides that of the test.
    """
    return subprocess.Popen(
        [sys.executable, *options, "-m", f"tests.process_life.{program}", mode, url],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(
    program: str,
    mode: str,
    url: str,
    *,
    code: int = 0,
    options: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> tuple[str, str]:
    """Runs a program to its end, which has to be the expected one.

    Returns:
        What it wrote to standard output and standard error.
    """
    with start(program, mode, url, options=options, environment=environment) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    return out, err


def names(*prefixes: str) -> set[str]:
    """The names that spans of these prefixes have."""
    return {f"{prefix}-{number}" for prefix in prefixes for number in range(SPANS)}


def arrived(sink: OTLPSink) -> set[str]:
    """The names of the spans that came; each came as one span."""
    ids = {span.span_id for span in sink.spans}
    names = sink.span_names
    assert len(ids) == len(set(names)), "a name came with two ids"
    return set(names)


@contextmanager
def black_hole() -> Generator[str]:
    """The URL of a backend that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def refusing() -> str:
    """The URL of a backend where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"

"""A small program that sends spans through a whole pipeline; run as a process of its own, to be killed or to fork.

``python -m tests.export.process MODE URL SPOOL``. Each line on standard output says what has just been done.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Tracer

from looopy_otel.core.draft import Draft
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.processor import DraftProcessor
from looopy_otel.export.worker import Worker
from tests.export.spans import built

SPANS = 20


def same(draft: Draft) -> Draft:
    return draft


def pipeline(url: str, spool: Path, delay: float) -> tuple[DraftProcessor, Tracer]:
    worker = Worker(
        redact=same,
        redact_attributes=dict,
        redact_text=str,
        redact_name=str,
        price=same,
        render=lambda draft, dialects: {},
        is_own=lambda key: False,
        destinations=[built(HTTPDestination("otlp", url), spool)],
    )
    processor = DraftProcessor(worker, delay=delay, stamp=None)
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return processor, provider.get_tracer("process")


def spans(tracer: Tracer, prefix: str) -> None:
    for number in range(SPANS):
        tracer.start_span(f"{prefix}-{number}").end()


def say(word: str) -> None:
    print(word, flush=True)


def spooled_then_wait(url: str, spool: Path) -> None:
    """Makes spans, says so when they are on disk, and waits to be killed."""
    processor, tracer = pipeline(url, spool, delay=0.01)
    spans(tracer, "killed")
    while processor.queued or sum(int(path.stem.partition("-")[2]) for path in spool.rglob("*.otlp")) < SPANS:
        time.sleep(0.005)
    say("spooled")
    sys.stdin.read()


def forked(url: str, spool: Path) -> None:
    """Makes spans before, in the child, and after."""
    processor, tracer = pipeline(url, spool, delay=0.01)
    spans(tracer, "before")
    child = os.fork()
    if child == 0:
        spans(tracer, "child")
        processor.shutdown(20_000)
        os._exit(0)
    spans(tracer, "parent")
    os.waitpid(child, 0)
    processor.shutdown(20_000)


def exiting(url: str, spool: Path) -> None:
    """Makes spans right before the end, with a delay that the process does not live to see."""
    processor, tracer = pipeline(url, spool, delay=60.0)
    atexit.register(processor.shutdown, 20_000)
    spans(tracer, "last")


def first_span_at_exit(url: str, spool: Path) -> None:
    """Makes its first spans when the interpreter is already shutting down."""
    processor, tracer = pipeline(url, spool, delay=60.0)
    atexit.register(processor.shutdown, 20_000)
    atexit.register(spans, tracer, "late")


if __name__ == "__main__":
    MODES = {function.__name__: function for function in (spooled_then_wait, forked, exiting, first_span_at_exit)}
    MODES[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))

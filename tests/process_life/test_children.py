"""Processes that others start: `os.fork`, `multiprocessing` in all its ways, pools."""

from __future__ import annotations

import os

import pytest

from tests.process_life.running import SPANS, arrived, names, refusing, run
from tests.support.otlp_sink import OTLPSink

NEVER = {"LOOOPY_OTEL_EXPORT_DELAY": "3600"}
CHILDREN = names("child-a", "child-b", "grandchild", "parent")
POOLED = names("parent") | {f"work-{number}" for number in range(2 * SPANS)}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
METHODS = [
    pytest.param("fork", marks=needs_fork),
    "spawn",
    pytest.param("forkserver", marks=needs_fork),
]


@needs_fork
@pytest.mark.parametrize(
    ("mode", "expected"), [("forked_bare", CHILDREN), ("forked_after", CHILDREN | names("before"))]
)
def test_each_of_a_family_delivers_what_is_its_own(mode: str, expected: set[str]) -> None:
    with OTLPSink() as sink:
        run("lives", mode, sink.url, environment=NEVER)
        assert arrived(sink) == expected


@needs_fork
def test_a_fork_before_the_first_span_is_the_fork_of_one_thread() -> None:
    with OTLPSink() as sink:
        _, err = run("lives", "forked_first", sink.url, options=("-X", "dev", "-W", "error"), environment=NEVER)
        assert arrived(sink) == names("child", "parent")
    assert err == ""


@pytest.mark.parametrize("method", METHODS)
def test_children_of_multiprocessing_deliver(method: str) -> None:
    with OTLPSink() as sink:
        run("lives", f"processes_{method}", sink.url, environment=NEVER)
        assert arrived(sink) == names("parent", "child-0", "child-1")


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_pools_deliver(method: str) -> None:
    with OTLPSink() as sink:
        run("lives", f"pools_{method}", sink.url, environment=NEVER)
        assert arrived(sink) == POOLED


@needs_fork
def test_what_children_could_not_deliver_is_delivered_by_the_next_start() -> None:
    url = refusing()
    run("lives", "processes_fork", url, environment=NEVER)
    with OTLPSink(port=int(url.rpartition(":")[2])) as sink:
        run("lives", "ending", sink.url)
        assert arrived(sink) == names("parent", "child-0", "child-1", "last")

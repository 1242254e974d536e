"""`instrument_threads`: for code that cannot be changed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import looopy_otel as lo
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.instrument.propagation import propagated
from looopy_otel.instrument.threads import instrument_threads
from looopy_otel.testing import CapturedSpans
from tests.instrument.context import work


@pytest.fixture
def threads() -> Iterator[None]:
    before = ThreadPoolExecutor.submit, threading.Thread.start
    instrument_threads()
    instrument_threads()
    yield
    uninstrument("threads")
    assert (ThreadPoolExecutor.submit, threading.Thread.start) == before


class Recording(threading.Thread):
    def run(self) -> None:
        work.record("own run")


@pytest.mark.usefixtures("threads")
def test_threads_go_on_from_where_they_were_started(captured: CapturedSpans) -> None:
    given = threading.Thread(target=work.record, args=("target",))
    replaced = threading.Thread()
    replaced.run = lambda: work.record("replaced run") and None  # type: ignore[method-assign]
    with lo.span("outer"):
        for thread in (given, Recording(), replaced, threading.Timer(0, work.record, ("timer",))):
            thread.start()
            thread.join()
    assert captured.outline() == ["outer", "  target", "  own run", "  replaced run", "  timer"]
    assert "run" not in vars(given)
    assert "run" in vars(replaced)


@pytest.mark.usefixtures("threads")
def test_a_pool_goes_on_from_each_submit_and_its_threads_from_none(captured: CapturedSpans) -> None:
    with ThreadPoolExecutor(1) as pool:
        with lo.session(session_id="s"), lo.span("first"):
            assert pool.submit(work.look).result()[2] == "s"
            pool.submit(work.record, "a").result()
        with lo.span("second"):
            list(pool.map(work.record, ["b"]))
            pool.submit(propagated(work.record), "c").result()
        assert pool.submit(work.look).result() == (None, "unset", None)
        uninstrument("threads")
        assert pool.submit(work.look).result() == (None, "unset", None)
    assert captured.outline() == ["first", "  a", "second", "  b", "  c"]


@pytest.mark.usefixtures("threads")
async def test_the_executors_of_asyncio(captured: CapturedSpans) -> None:
    work.PRIVATE.set("mine")
    with lo.span("outer") as outer:
        await asyncio.to_thread(work.record, "to_thread")
        await asyncio.get_running_loop().run_in_executor(None, work.record, "run_in_executor")
        assert await asyncio.to_thread(work.look) == (outer.span_id, "mine", None)
    assert captured.outline() == ["outer", "  to_thread", "  run_in_executor"]


@pytest.mark.usefixtures("threads")
def test_a_thread_that_cannot_start_twice_says_so(captured: CapturedSpans) -> None:
    thread = threading.Thread(target=work.record, args=("once",))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="threads can only be started once"):
        thread.start()
    assert captured.outline() == ["once"]


def test_without_it_threads_start_from_nowhere(captured: CapturedSpans) -> None:
    with lo.span("outer"):
        thread = threading.Thread(target=work.record, args=("alone",))
        thread.start()
        thread.join()
    assert captured.outline() == ["outer", "alone"]

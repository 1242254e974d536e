"""`propagated`: threads and processes that go on from where the work was handed over."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.core.hooks import NO_RECORDER, innermost
from looopy_otel.instrument.propagation import propagated
from looopy_otel.testing import CapturedSpans
from tests.instrument.context import work
from tests.instrument.context.operations import ANSWER, llm, run, step
from tests.support.otlp_sink import OTLPSink
from tests.support.spans import Span


def test_threads_of_a_pool_go_on_from_the_current_span(captured: CapturedSpans) -> None:
    with ThreadPoolExecutor(2) as pool:
        with lo.span("outer"):
            list(pool.map(propagated(work.record), ["a", "b"]))
        assert pool.submit(work.look).result() == (None, "unset", None)
        pool.submit(work.record, "by itself").result()
    assert sorted(captured.outline()) == ["  a", "  b", "by itself", "outer"]


def test_many_calls_of_one_function_may_run_at_the_same_time(captured: CapturedSpans) -> None:
    barrier = threading.Barrier(4)
    with ThreadPoolExecutor(4) as pool, lo.session(session_id="s"):
        with lo.span("outer"):
            function = propagated(work.meet)
            futures = [pool.submit(function, barrier, f"part {number}") for number in range(4)]
        assert [future.result() for future in futures] == ["s"] * 4
    assert len(captured.outline()) == 5
    assert all(line.startswith("  part") for line in captured.outline()[1:])


def test_what_is_current_is_taken_when_the_work_is_handed_over(captured: CapturedSpans) -> None:
    with lo.span("first"):
        function = propagated(work.record)
    with lo.span("second"):
        function("a")
        work.record("b")
    assert captured.outline() == ["first", "  a", "second", "  b"]


def test_calls_in_threads_count_for_the_run_and_for_the_call_around_them(captured: CapturedSpans) -> None:
    with ThreadPoolExecutor(1) as pool:
        agent = run()
        pool.submit(propagated(lambda: llm().end(ANSWER))).result()
        outer = llm()
        pool.submit(propagated(lambda: llm().end(ANSWER))).result()
        outer.end(ANSWER)
        agent.end()
    assert captured.outline() == ["agent.execute", "  llm.call", "  llm.call"]
    assert captured.attributes("agent.execute")["agent.llm_calls"] == 2


def test_a_function_that_leaves_something_open_leaves_nothing_to_the_next_one(captured: CapturedSpans) -> None:
    with ThreadPoolExecutor(1) as pool:
        with lo.span("outer"):
            pool.submit(propagated(work.leak), "leaked").result()
        assert pool.submit(work.look).result() == (None, "unset", None)


def test_a_failure_passes_unchanged(captured: CapturedSpans) -> None:
    error = KeyboardInterrupt()

    def fail() -> None:
        raise error

    with lo.span("outer"):
        function = propagated(fail)
    with pytest.raises(KeyboardInterrupt) as raised:
        function()
    assert raised.value is error
    assert innermost() is None


def test_context_variables_of_the_user_stay_those_of_the_thread(captured: CapturedSpans) -> None:
    with ThreadPoolExecutor(1) as pool:
        work.PRIVATE.set("here")
        assert pool.submit(propagated(work.look)).result() == (None, "unset", None)
        assert propagated(work.look)() == (None, "here", None)


def test_what_is_suppressed_here_is_suppressed_there(captured: CapturedSpans) -> None:
    with ThreadPoolExecutor(1) as pool:
        with hooks.suppressed():
            assert pool.submit(propagated(step), "a").result() is NO_RECORDER
        pool.submit(work.record, "b").result()
    assert captured.outline() == ["b"]


async def test_coroutine_functions_stay_what_they_are(captured: CapturedSpans) -> None:
    async def question(n: int, *, times: int = 2) -> int:
        """Asks."""
        with lo.span("ask"):
            await asyncio.sleep(0)
            return n * times

    with lo.span("outer"):
        function = propagated(question)
    assert inspect.iscoroutinefunction(function)
    assert inspect.signature(function) == inspect.signature(question)
    with ThreadPoolExecutor(1) as pool:
        assert await asyncio.get_running_loop().run_in_executor(pool, asyncio.run, function(21)) == 42  # type: ignore[arg-type]
    assert await asyncio.gather(function(1), function(2, times=3)) == [2, 6]
    assert captured.outline() == ["outer", "  ask", "  ask", "  ask"]


def test_signature_name_and_docs_are_those_of_the_function() -> None:
    def question(n: int, *, times: int = 2) -> int:
        """Asks."""
        return n * times

    function = propagated(question)
    assert inspect.signature(function) == inspect.signature(question)
    assert (function.__name__, function.__doc__, function(2, times=4)) == ("question", "Asks.", 8)
    assert propagated(partial(question, 3))() == 6
    assert "question" in repr(function)


def test_what_is_no_function_is_named() -> None:
    with pytest.raises(TypeError, match="propagated takes a function, not int"):
        propagated(3)  # type: ignore[arg-type]


def test_without_tracing_it_only_calls_the_function() -> None:
    assert propagated(work.look)() == (None, work.PRIVATE.get(), None)
    copy = pickle.loads(pickle.dumps(propagated(work.look)))
    assert copy() == (None, work.PRIVATE.get(), None)


@pytest.mark.parametrize("name", ["pickle", "cloudpickle"])
def test_a_pickled_function_goes_on_as_a_part_of_ours(captured: CapturedSpans, name: str) -> None:
    library: Any = pytest.importorskip(name)
    with lo.session(session_id="s", metadata={"tier": "pro"}):
        agent = run("helper", "t-1")
        function = library.loads(library.dumps(propagated(work.record)))
        agent.end()
    function("part")
    part = captured.attributes("part")
    assert captured.outline() == ["agent.execute", "  part"]
    assert (part["session.id"], part["agent.id"], part["agent.task.id"]) == ("s", "helper", "t-1")
    assert part["langfuse.trace.metadata.tier"] == "pro"
    assert "langfuse.internal.is_app_root" not in part
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(function))))
    again("part of a copy")
    assert captured.outline() == ["agent.execute", "  part", "  part of a copy"]


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as place:
        yield place


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_a_pool_go_on_from_the_current_span(sink: OTLPSink, method: str, tmp_path: Path) -> None:
    with lo.configure(
        exporters="otlp", otlp_endpoint=sink.url, dialects={"otlp": "langfuse"}, spool_directory=tmp_path
    ):
        begin = partial(work.trace_to, sink.url) if method != "fork" else None
        with (
            ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method), initializer=begin) as pool,
            lo.session(session_id="s"),
            lo.span("outer") as outer,
        ):
            pids = set(pool.map(propagated(work.record), ["a", "b"]))
        assert str(multiprocessing.current_process().pid) not in pids
    spans = {span.name: span for span in sink.wait_for(3)}
    assert_parts(spans["outer"], [spans["a"], spans["b"]])
    assert outer.span_id == spans["outer"].span_id


def assert_parts(outer: Span, parts: list[Span]) -> None:
    for part in parts:
        assert (part.trace_id, part.parent_id) == (outer.trace_id, outer.span_id)
        assert part.attributes["session.id"] == "s"
        assert "langfuse.internal.is_app_root" not in part.attributes
    assert outer.attributes["langfuse.internal.is_app_root"] is True


def test_no_argument_has_a_name_that_is_taken() -> None:
    def named(**facts: int) -> dict[str, int]:
        return facts

    function: Any = propagated(named)
    assert function(self=1, args=2, kwargs=3) == {"self": 1, "args": 2, "kwargs": 3}


async def test_an_object_whose_call_is_async_runs_under_the_current_span(captured: CapturedSpans) -> None:
    with lo.span("outer"):
        functions = [propagated(work.Asynchronous()), propagated(partial(work.Asynchronous(), "part"))]
        functions.append(pickle.loads(pickle.dumps(functions[0])))
    assert [await function() for function in functions] == ["whole", "part", "whole"]
    assert captured.outline() == ["outer", "  whole", "  part", "  whole"]


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("parent", ["remote", "foreign", "ours"])
def test_a_root_stays_one_where_its_parent_is_not_ours(captured: CapturedSpans, parent: str, *, pickled: bool) -> None:
    places: dict[str, AbstractContextManager[Any]] = {
        "remote": lo.continue_trace({"traceparent": f"00-{7:032x}-{7:016x}-01"}),
        "foreign": TracerProvider().get_tracer("web").start_as_current_span("GET /"),
        "ours": lo.span("outer"),
    }
    with places[parent]:
        function = propagated(work.record)
        if pickled:
            function = pickle.loads(pickle.dumps(function))
    function("work")
    assert ("langfuse.internal.as_root" in captured.attributes("work")) == (parent != "ours")

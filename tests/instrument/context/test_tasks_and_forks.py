"""Tasks, threads of asyncio and forked processes go on from where they were started, by themselves."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import looopy_otel as lo
from looopy_otel.testing import CapturedSpans
from tests.instrument.context import work
from tests.instrument.context.operations import ANSWER, llm, run, tool, turn
from tests.support.otlp_sink import OTLPSink


async def part(name: str) -> None:
    await asyncio.sleep(0)
    with lo.span(name):
        await asyncio.sleep(0)
        with lo.span(f"{name}.1"):
            await asyncio.sleep(0)


TREE = ["outer", "  a", "    a.1", "  b", "    b.1", "  c", "    c.1"]


def run_part(name: str) -> None:
    asyncio.run(part(name))


async def gathered() -> None:
    await asyncio.gather(*map(part, "abc"))


async def grouped() -> None:
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(part(name))


async def waited() -> None:
    await asyncio.wait([asyncio.ensure_future(part(name)) for name in "abc"])


async def in_threads() -> None:
    for name in "abc":
        await asyncio.to_thread(asyncio.run, part(name))


async def in_copies() -> None:
    loop = asyncio.get_running_loop()
    for name in "abc":
        await loop.create_task(part(name), context=contextvars.copy_context())


async def in_copies_in_an_executor() -> None:
    loop = asyncio.get_running_loop()
    for name in "abc":
        copy = contextvars.copy_context()
        await loop.run_in_executor(None, lambda copy=copy, name=name: copy.run(run_part, name))


@pytest.mark.parametrize("way", [gathered, grouped, waited, in_threads, in_copies, in_copies_in_an_executor])
async def test_tasks_hang_under_what_started_them(captured: CapturedSpans, way: Callable[[], object]) -> None:
    with lo.span("outer"):
        outcome = way()
        assert asyncio.iscoroutine(outcome)
        await outcome
    assert sorted(captured.outline()) == sorted(TREE)
    assert captured.outline()[0] == "outer"


async def test_parallel_runs_keep_their_identities(captured: CapturedSpans) -> None:
    async def one(number: int) -> None:
        agent = run(f"agent-{number}", f"task-{number}")
        for _ in range(3):
            iteration = turn()
            await asyncio.sleep(0)
            llm().end(ANSWER)
            call = tool()
            await asyncio.sleep(0)
            call.end()
            iteration.end()
        agent.end()

    await asyncio.gather(*map(one, range(20)))
    spans = captured.spans()
    assert len(spans) == 20 * 10
    for span in spans:
        attributes = dict(span.attributes or {})
        assert str(attributes["agent.id"]).removeprefix("agent-") == str(attributes["agent.task.id"])[5:]
        assert attributes["session.id"] == attributes["agent.task.id"]


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as place:
        yield place


@pytest.fixture
def telemetry(sink: OTLPSink, tmp_path: Path) -> Iterator[lo.Telemetry]:
    with lo.configure(
        exporters="otlp", otlp_endpoint=sink.url, dialects={"otlp": "langfuse"}, spool_directory=tmp_path
    ) as running:
        yield running


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_goes_on_and_leaves_its_parents_span_to_it(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with lo.session(session_id="s"), lo.span("outer"):
        process = multiprocessing.get_context("fork").Process(target=work.record, args=("in a process",))
        process.start()
        process.join(30)
        assert process.exitcode == 0
        work.record("here")
    spans = {span.name: span for span in sink.wait_for(3)}
    for name in ("in a process", "here"):
        assert (spans[name].trace_id, spans[name].parent_id) == (spans["outer"].trace_id, spans["outer"].span_id)
        assert spans[name].attributes["session.id"] == "s"
        assert "langfuse.internal.is_app_root" not in spans[name].attributes
    assert len(sink.spans) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_span_that_is_open_while_the_process_forks_ends_once(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with lo.span("outer") as outer:
        child = os.fork()
        if child == 0:
            work.record("in the child")
            outer.end(error=RuntimeError("not yours"))
            work.record("after it")
            telemetry.shutdown()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    sink.wait_for(3)
    (root,) = [tree for tree in sink.trees() if tree.span.name == "outer"]
    assert [node.span.name for node in root.children] == ["in the child"]
    assert root.span.status == "UNSET"
    assert sorted(sink.span_names) == ["after it", "in the child", "outer"]

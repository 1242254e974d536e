"""Operations that start what follows them, again and again: nothing of what is over is kept."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.core.hooks import NO_RECORDER, Recorder, innermost
from looopy_otel.record.recorder import SpanRecorder
from looopy_otel.testing import CapturedSpans
from tests.instrument.context.operations import llm, run, step, tool, turn

LENGTH = 30
BLOCKS: list[Callable[[], AbstractContextManager[Any]]] = [
    lambda: lo.span("tick"), lambda: lo.agent_span("tick"), lambda: lo.tool_span("tick"), lambda: lo.iteration_span(1),
    lambda: lo.llm_span(model="m"),
]  # fmt: skip


def kept() -> int:
    """How many recorders are still there."""
    gc.collect()
    return sum(isinstance(one, SpanRecorder) for one in gc.get_objects())


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("overlapping", [False, True])
async def test_a_task_that_starts_its_successor(
    captured: CapturedSpans, block: Callable[[], AbstractContextManager[Any]], *, overlapping: bool
) -> None:
    before, over = kept(), asyncio.get_running_loop().create_future()
    waiting: list[asyncio.Task[None]] = []

    async def tick(number: int) -> None:
        with block():
            if number == LENGTH:
                over.set_result(kept() - before)
            else:
                waiting[:] = [asyncio.create_task(tick(number + 1))]
            if overlapping:
                await asyncio.sleep(0)

    with lo.span("poller"):
        waiting.append(asyncio.create_task(tick(1)))
    assert await over <= 5
    await asyncio.gather(*waiting)
    assert len(captured.spans()) == LENGTH + 1


async def test_an_operation_that_is_over_stays_the_parent_but_takes_no_more_facts(captured: CapturedSpans) -> None:
    over = asyncio.Event()

    async def late() -> Recorder:
        await over.wait()
        recorder = lo.current()
        with lo.span("late"):
            assert lo.current() is not NO_RECORDER
        return recorder

    with lo.span("outer"):
        task = asyncio.create_task(late())
        await asyncio.sleep(0)
        assert lo.current() is innermost()
    over.set()
    assert await task is NO_RECORDER
    assert captured.outline() == ["outer", "  late"]


async def test_what_a_tool_has_started_is_no_part_of_the_call_around_the_tool(captured: CapturedSpans) -> None:
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        step("first").end()
        llm(model="late").end()

    outer, used = llm(), tool()
    task = asyncio.create_task(late())
    used.end()
    over.set()
    await task
    outer.end()
    assert captured.outline() == ["llm.call", "  tool.execute", "    first", "    llm.call"]


async def test_what_a_turn_that_is_over_has_started_counts_for_its_run(captured: CapturedSpans) -> None:
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        llm().end()

    outer, first = run(), turn()
    task = asyncio.create_task(late())
    first.end()
    over.set()
    await task
    outer.end()
    assert captured.attributes("agent.execute")["agent.llm_calls"] == 1


def test_what_has_ended_is_not_stepped_into(captured: CapturedSpans) -> None:
    recorder = step("stream")
    recorder.suspend()
    recorder.end()
    recorder.resume()
    assert innermost() is None
    step("consumer").end()
    assert captured.outline() == ["stream", "consumer"]

"""Two hundred runs at once, with parallel tools, streams and random cancellation: whole trees and nothing left over."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.core import hooks
from looopy_otel.core.hooks import Handle, Observer, Recorder
from looopy_otel.core.operation import Operation
from looopy_otel.instrument.decorators import trace_agent, trace_iteration, trace_llm, trace_span, trace_tool
from looopy_otel.providers import ScriptedProvider
from looopy_otel.providers.reply import Reply
from looopy_otel.testing import capture_spans
from tests.instrument.context.conftest import place

RUNS, TOOLS, ROUNDS = 200, 5, 4
PARENTS = {
    "agent.execute": {None},
    "agent.iteration": {"agent.execute"},
    "llm.call": {"agent.iteration"},
    "tool.execute": {"agent.iteration"},
    "work": {"tool.execute"},
    "ticks": {"tool.execute"},
    "tick": {"ticks"},
    "consume": {"tool.execute", "agent.iteration"},
    "part of the answer": {"llm.call"},
}
"""Whose children each span may be."""


class CountingObserver:
    """Passes on what it is told, and remembers every recorder."""

    def __init__(self, behind: Observer) -> None:
        self._behind = behind
        self.recorders: list[Any] = []

    def start(self, operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
        recorder = self._behind.start(operation, parent=parent, current=current)
        self.recorders.append(recorder)
        return recorder


@trace_span(name="ticks")
async def ticks(count: int) -> AsyncGenerator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        with lo.span("tick"):
            await asyncio.sleep(0)
        yield number


async def use_a_generator(count: int) -> int:
    """Leaves a generator half-way."""
    generator = ticks(count)
    async for number in generator:
        with lo.span("consume"):
            await asyncio.sleep(0)
        if number == count // 2:
            break
    if count % 2:
        await generator.aclose()
    return count


def use_a_thread(count: int) -> int:
    """Works in a thread of its own."""
    with lo.span("work"):
        threading.Event().wait(0.0005 * count)
    return count


async def use_tasks(count: int) -> list[int]:
    """Works in tasks."""

    async def work(number: int) -> int:
        with lo.span("work"):
            await asyncio.sleep(0)
            return number

    return list(await asyncio.gather(*map(work, range(count))))


async def fail(count: int) -> int:
    """Fails."""
    with lo.span("work"):
        await asyncio.sleep(0)
        raise ValueError(f"no {count}")


@trace_llm(model="decorated-model")
async def answer(prompt: str) -> AsyncGenerator[str]:
    for word in prompt.split():
        await asyncio.sleep(0)
        with lo.span("part of the answer"):
            await asyncio.sleep(0)
        yield word


@trace_iteration
async def turn(rng: random.Random) -> None:
    stream = answer("one two three four")
    stop = rng.choice((1, 3, 9))
    async for _ in stream:
        with lo.span("consume"):
            await asyncio.sleep(0)
        stop -= 1
        if not stop:
            break
    closer = asyncio.create_task(aclosed(stream))  # from another task than the one that consumed it
    try:
        await asyncio.gather(*(trace_tool(use_tasks)(number % 3 + 1) for number in range(TOOLS)))
    finally:
        await asyncio.shield(closer)


async def aclosed(stream: AsyncGenerator[str]) -> None:
    await stream.aclose()


@trace_agent(name="decorated")
async def decorated(rng: random.Random) -> None:
    for _ in range(2):
        await turn(rng)


async def looped(rng: random.Random, number: int) -> None:
    calls = [
        (rng.choice(("use_a_generator", "use_a_thread", "use_tasks", "fail")), {"count": rng.randint(1, 4)})
        for _ in range(TOOLS)
    ]
    provider = ScriptedProvider([Reply(tool_calls=calls), Reply(text="That is all there is to say.", chunk_size=3)])
    tools = FunctionTools([use_a_generator, use_a_thread, use_tasks, fail])
    loop = AgentLoop(agent_id="looped", llm_provider=provider, tool_providers=[tools])
    if number % 3:
        await loop.arun("Go on")
        return
    stop = rng.randint(2, 40)
    async for _ in loop.execute("Go on", detail="full"):
        stop -= 1
        if not stop:
            break


async def one(number: int, rng: random.Random) -> None:
    with lo.session(session_id=f"s-{number}"):
        await (decorated(rng) if number % 2 else looped(rng, number))


async def cancelled_some_time(work: Coroutine[Any, Any, None], rng: random.Random) -> None:
    task = asyncio.create_task(work)
    if rng.random() < 0.3:
        for _ in range(rng.randint(0, 60)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        raise error


async def all_runs(seed: int) -> None:
    before = place()
    rngs = [random.Random(f"{seed} {number}") for number in range(RUNS)]
    await asyncio.gather(*(cancelled_some_time(one(number, rng), rng) for number, rng in enumerate(rngs)))
    gc.collect()
    for _ in range(1000):  # what was abandoned is closed by tasks that the loop makes for it
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0.001)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert place() == before


def one_round(seed: int) -> Counter[str]:
    """Runs everything once; checks what was recorded."""
    with capture_spans(capture="metadata", dialects=["langfuse"]) as captured:
        behind = hooks.installed()
        assert behind
        counting = CountingObserver(behind)
        hooks.install(counting)
        asyncio.run(all_runs(seed))
        hooks.install(behind)
        spans = captured.spans()
    started = [recorder for recorder in counting.recorders if recorder.span_id]
    assert all(recorder.ended for recorder in started)
    ids = {span.context.span_id: span for span in spans if span.context}
    assert len(ids) == len(spans) == len(started)
    for span in spans:
        parent = ids[span.parent.span_id] if span.parent else None
        assert (parent.name if parent else None) in PARENTS[span.name], (span.name, parent and parent.name)
        attributes, above = dict(span.attributes or {}), dict((parent and parent.attributes) or {})
        assert parent is None or attributes["session.id"] == above["session.id"]
        assert attributes["agent.id"] in ("decorated", "looped")
        assert span.end_time is not None
        assert span.start_time is not None
        assert span.start_time <= span.end_time
    counts = Counter(span.name for span in spans)
    assert len({str((span.attributes or {})["session.id"]) for span in spans}) == counts["agent.execute"]
    return counts


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_two_hundred_runs_at_once(caplog: pytest.LogCaptureFixture) -> None:
    threads = threading.active_count()
    before, objects = place(), list[int]()
    with caplog.at_level(logging.WARNING):
        for seed in range(ROUNDS):
            counts = one_round(seed % 2)
            assert RUNS * 0.7 < counts["agent.execute"] <= RUNS
            assert counts["tool.execute"] > RUNS * TOOLS * 0.7
            gc.collect()
            objects.append(len(gc.get_objects()))
            assert place() == before
    assert not caplog.records
    # Rounds two and four are the same work: what one of thousands of spans left behind would show.
    assert objects[3] - objects[1] < 1_000, objects
    assert threads_end_at(threads)


def threads_end_at(count: int) -> bool:
    """Waits for the threads of the pools to end."""
    deadline = time.monotonic() + 20
    while threading.active_count() > count + 2 and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return threading.active_count() <= count + 2

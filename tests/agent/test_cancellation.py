"""Cancellation, break, unsubscribe and late subscribers, at each stage of a run."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from looopy_otel.agent import AgentLoop, AgentStream, StatusUpdateEvent, Subscription
from looopy_otel.core.operation import AgentRun, CallNext, Iteration, ToolRun
from looopy_otel.core.types import ContentDelta
from tests.agent.fakes import FakeProvider, Turn, agent, seed_provider
from tests.agent.recording import RecordingObserver


class Stage:
    """An agent whose run stops at one stage, where `reached` is set, and stays there until it is cancelled."""

    def __init__(self, name: str) -> None:
        self.reached = asyncio.Event()
        self.tool_cancelled = False
        self.provider = FakeProvider([Turn("Wait", calls=[("wait", {})]), Turn("Done")])
        middleware: list[Any] = []
        if name == "llm":
            self.provider.turns = [Turn("Half an", hang=True)]
            self.reached = self.provider.streaming
        if name == "between":
            middleware.append(self._stop_before_the_second_turn)
        self.agent = agent(self.provider, self._wait_tool(name), middleware=middleware)

    def _wait_tool(self, name: str) -> Any:
        async def wait() -> str:
            if name == "tool":
                self.reached.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    self.tool_cancelled = True
            return "waited"

        return wait

    async def _stop_before_the_second_turn(self, operation: Any, call_next: CallNext) -> Any:
        if isinstance(operation, Iteration) and operation.number == 2:
            self.reached.set()
            await asyncio.Event().wait()
        return await call_next(operation)


STAGES = ("llm", "tool", "between")


async def kinds(stream: AgentStream) -> list[str]:
    return [event.status.state if isinstance(event, StatusUpdateEvent) else event.kind async for event in stream]


def assert_cancelled(observer: RecordingObserver) -> None:
    observer.assert_sound()
    run = observer.of(AgentRun)[0]
    assert isinstance(run.error, asyncio.CancelledError)
    assert run.result.outcome == "cancelled"
    assert all(isinstance(one.error, asyncio.CancelledError) for one in observer.all if one.name == "agent")


@pytest.mark.parametrize("stage", STAGES)
async def test_cancelling_the_consumer_ends_the_run_before_it_returns(stage: str, observer: RecordingObserver) -> None:
    where = Stage(stage)
    stream = where.agent.execute("Hi")
    consumer = asyncio.create_task(kinds(stream))
    await where.reached.wait()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert_cancelled(observer)
    assert where.provider.closed == len(where.provider.requests)
    assert where.tool_cancelled == (stage == "tool")
    assert await kinds(stream) == ["task", "working", "canceled"]
    assert stream.result is not None
    assert stream.result.outcome == "cancelled"


@pytest.mark.parametrize("stage", STAGES)
async def test_cancelling_arun_ends_the_run(stage: str, observer: RecordingObserver) -> None:
    where = Stage(stage)
    task = asyncio.create_task(where.agent.arun("Hi"))
    await where.reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_cancelled(observer)


async def test_a_timeout_around_arun_ends_the_run(observer: RecordingObserver) -> None:
    where = Stage("tool")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await where.agent.arun("Hi")
    assert_cancelled(observer)


@pytest.mark.parametrize("stage", STAGES)
async def test_break_ends_the_run(stage: str, observer: RecordingObserver) -> None:
    where = Stage(stage)
    stream = where.agent.execute("Hi")
    async for event in stream:
        if isinstance(event, StatusUpdateEvent):
            await where.reached.wait()
            break
    assert await kinds(stream) == ["task", "working", "canceled"]
    assert_cancelled(observer)


async def test_an_exception_in_the_loop_body_ends_the_run(observer: RecordingObserver) -> None:
    where = Stage("tool")
    stream = where.agent.execute("Hi")

    async def fail() -> None:
        async for _ in stream:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    gc.collect()
    await stream.aclose()
    assert_cancelled(observer)


async def test_an_iterator_that_is_dropped_without_being_closed_ends_the_run(observer: RecordingObserver) -> None:
    where = Stage("tool")
    stream = where.agent.execute("Hi")
    iterator = aiter(stream)
    await anext(iterator)
    await where.reached.wait()
    del iterator
    gc.collect()
    await stream.aclose()
    assert_cancelled(observer)


async def test_aclosing_waits_for_the_end_of_the_run(observer: RecordingObserver) -> None:
    where = Stage("tool")
    async with aclosing(where.agent.execute("Hi")) as stream:
        async for _ in stream:
            break
    assert_cancelled(observer)


async def test_closing_an_iterator_ends_it_and_the_run(observer: RecordingObserver) -> None:
    where = Stage("llm")
    iterator = aiter(where.agent.execute("Hi"))
    await anext(iterator)
    await where.reached.wait()
    await iterator.aclose()
    assert_cancelled(observer)
    with pytest.raises(StopAsyncIteration):
        await anext(iterator)


@pytest.mark.parametrize("stage", STAGES)
async def test_unsubscribe_ends_the_run(stage: str, observer: RecordingObserver) -> None:
    where = Stage(stage)
    stream = where.agent.execute("Hi")
    told: list[Any] = []
    subscription = stream.subscribe(told.append, told.append, lambda: told.append("completed"))
    await where.reached.wait()
    subscription.unsubscribe()
    assert await asyncio.to_thread(subscription.wait, 10)
    assert_cancelled(observer)
    assert [event.kind for event in told] == ["task", "status-update"]
    assert await kinds(stream) == ["task", "working", "canceled"]


async def test_unsubscribe_before_the_first_event_starts_nothing(observer: RecordingObserver) -> None:
    stream = agent(seed_provider()).execute("Hi")
    told: list[Any] = []
    subscription = stream.subscribe(told.append)
    subscription.unsubscribe()
    assert await asyncio.to_thread(subscription.wait, 10)
    assert (told, observer.all) == ([], [])
    await stream.aclose()
    assert await kinds(stream) == ["task", "canceled"]
    assert stream.result is None
    with pytest.raises(asyncio.CancelledError):
        await stream.finish()


async def test_a_run_that_is_cancelled_before_its_first_step_has_an_end(observer: RecordingObserver) -> None:
    stream = agent(seed_provider()).execute("Hi")
    iterator = aiter(stream)
    step = iterator.__anext__()
    step.send(None)  # The run's task is made now, and has not had its turn when its only consumer is gone.
    step.close()
    del iterator, step
    gc.collect()
    await asyncio.sleep(0)
    assert await kinds(stream) == ["task", "canceled"]
    assert observer.all == []


async def test_nothing_happens_before_consumption(observer: RecordingObserver) -> None:
    provider = seed_provider()
    stream = agent(provider).execute("Hi")
    aiter(stream)
    await asyncio.sleep(0.01)
    assert (provider.requests, observer.all, stream.result) == ([], [], None)


async def test_leaving_after_the_end_changes_nothing(observer: RecordingObserver) -> None:
    stream = agent(FakeProvider([Turn("x")])).execute("Hi")
    async for event in stream:
        if isinstance(event, StatusUpdateEvent) and event.final:
            break
    await stream.aclose()
    assert stream.result is not None
    assert stream.result.outcome == "completed"
    assert observer.of(AgentRun)[0].error is None


@pytest.mark.parametrize("stage", STAGES)
async def test_a_late_second_subscriber_gets_everything_and_keeps_the_run(
    stage: str, observer: RecordingObserver
) -> None:
    where = Stage(stage)
    stream = where.agent.execute("Hi")
    first = asyncio.create_task(kinds(stream))
    await where.reached.wait()
    second = aiter(stream)
    assert [(await anext(second)).kind for _ in range(2)] == ["task", "status-update"]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert stream.result is None, "the run goes on while the second consumes it"
    await second.aclose()
    assert_cancelled(observer)


async def test_late_consumers_replay_a_finished_run_without_running_it_again(observer: RecordingObserver) -> None:
    provider = FakeProvider([Turn("x")])
    stream = agent(provider).execute("Hi")
    assert await kinds(stream) == await kinds(stream) == ["task", "working", "completed"]
    told: list[Any] = []
    assert await asyncio.to_thread(stream.subscribe(told.append).wait, 10)
    assert len(told) == 3
    assert len(provider.requests) == len(observer.of(AgentRun)) == 1


async def test_every_consumer_of_a_failed_run_gets_its_error() -> None:
    stream = agent(FakeProvider([Turn(error=OSError("down"))])).execute("Hi")
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            await kinds(stream)
    errors: list[BaseException] = []
    assert await asyncio.to_thread(stream.subscribe(None, errors.append).wait, 10)
    assert [str(error) for error in errors] == ["down"]


async def test_a_sync_tool_does_not_hold_up_cancellation(observer: RecordingObserver) -> None:
    started, release = threading.Event(), threading.Event()

    def block() -> str:
        started.set()
        release.wait(30)
        return "late"

    task = asyncio.create_task(agent(FakeProvider([Turn(calls=[("block", {})])]), block).arun("Hi"))
    assert await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not release.is_set()
    release.set()
    assert_cancelled(observer)


async def test_a_tool_that_ignores_cancellation_is_left_behind(
    observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("looopy_otel.agent.tools.TOOL_GRACE", 0.02)
    started, release = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        started.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    task = asyncio.create_task(agent(FakeProvider([Turn(calls=[("stubborn", {})])]), stubborn).arun("Hi"))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_cancelled(observer)
    assert isinstance(observer.of(ToolRun)[0].error, asyncio.CancelledError)
    release.set()


async def test_closing_the_stream_closes_the_providers_generator() -> None:
    closed = asyncio.Event()

    class Endless:
        model = "endless"

        async def call(self, **_: Any) -> AsyncGenerator[Any]:
            try:
                while True:
                    yield ContentDelta("x")
                    await asyncio.sleep(0)
            finally:
                closed.set()

    async with aclosing(AgentLoop(agent_id="a", llm_provider=Endless()).execute("Hi", detail="full")) as stream:
        async for event in stream:
            if event.kind == "content-delta":
                break
    assert closed.is_set()


async def test_aclose_waits_for_the_end_also_right_after_unsubscribe(observer: RecordingObserver) -> None:
    where = Stage("tool")
    stream = where.agent.execute("Hi")
    subscription = stream.subscribe()
    await where.reached.wait()
    subscription.unsubscribe()
    await stream.aclose()
    assert_cancelled(observer)
    assert where.tool_cancelled


async def test_unsubscribe_leaves_the_run_to_the_others(observer: RecordingObserver) -> None:
    where = Stage("tool")
    stream = where.agent.execute("Hi")
    told: list[Any] = []
    first, second = stream.subscribe(), stream.subscribe(told.append)
    await where.reached.wait()
    first.unsubscribe()
    assert await asyncio.to_thread(first.wait, 10)
    assert stream.result is None
    second.unsubscribe()
    await stream.aclose()
    assert_cancelled(observer)


def test_a_run_whose_event_loop_was_closed_under_it_has_an_end(caplog: pytest.LogCaptureFixture) -> None:
    provider = FakeProvider([Turn("Half", hang=True)])
    stream = agent(provider).execute("Hi")
    loop = asyncio.new_event_loop()

    async def begin() -> Subscription:
        subscription = stream.subscribe()
        await provider.streaming.wait()
        return subscription

    subscription = loop.run_until_complete(begin())
    loop.close()
    assert subscription.wait(10)
    assert asyncio.run(kinds(stream)) == ["task", "working", "canceled"]
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stream.finish())
    del subscription
    gc.collect()

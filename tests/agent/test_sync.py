"""run() and subscribe(), with and without a running event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future
from typing import Any

import pytest

from looopy_otel.agent import StatusUpdateEvent
from looopy_otel.core.operation import AgentRun
from tests.agent.fakes import SEED_ANSWER, FakeProvider, Turn, agent, calculate, seed_provider
from tests.agent.recording import RecordingObserver


def test_run_without_an_event_loop(observer: RecordingObserver) -> None:
    loop = agent(seed_provider(), calculate)
    result = loop.run("Hi", task_id="t", session_id="s")
    assert (result.outcome, result.task_id, result.output) == ("completed", "t", SEED_ANSWER)


async def test_run_inside_a_running_event_loop() -> None:
    assert agent(seed_provider(), calculate).run("Hi").outcome == "completed"


def test_run_raises_what_the_run_raised() -> None:
    with pytest.raises(ConnectionError, match="down"):
        agent(FakeProvider([Turn(error=ConnectionError("down"))])).run("Hi")


def test_run_inside_an_async_tool_of_a_run_does_not_wait_for_itself(observer: RecordingObserver) -> None:
    helper = agent(FakeProvider([Turn("Found")]), agent_id="helper")

    async def delegate() -> str | None:
        return helper.run("Find out").output

    provider = FakeProvider([Turn(calls=[("delegate", {})]), Turn("Done")])
    assert agent(provider, delegate).run("Hi").outcome == "completed"
    inner = observer.of(AgentRun)[1]
    assert inner.parent is not None
    assert inner.parent.name == "tool"


def test_an_interrupted_run_is_cancelled(observer: RecordingObserver, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = FakeProvider([Turn("Half", hang=True)])

    def interrupted(self: Future[Any], timeout: float | None = None) -> Any:
        for _ in range(1000):
            if hanging.streaming.is_set():
                break
            threading.Event().wait(0.01)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        agent(hanging).run("Hi")
    assert observer.of(AgentRun)[0].result.outcome == "cancelled"
    assert hanging.closed == 1


def test_subscribe_without_an_event_loop() -> None:
    told: list[Any] = []
    subscription = (
        agent(seed_provider(), calculate)
        .execute("Hi")
        .subscribe(on_next=told.append, on_error=told.append, on_completed=lambda: told.append("completed"))
    )
    assert subscription.wait(10)
    assert subscription.finished
    assert [getattr(one, "kind", one) for one in told] == ["task", "status-update", "status-update", "completed"]


def test_nobody_has_to_keep_the_subscription() -> None:
    done = threading.Event()
    agent(seed_provider(), calculate).execute("Hi").subscribe(on_completed=done.set)
    assert done.wait(10)


def test_unsubscribe_without_an_event_loop(observer: RecordingObserver) -> None:
    working = threading.Event()
    stream = agent(FakeProvider([Turn("Half", hang=True)])).execute("Hi")

    def on_next(event: Any) -> None:
        if isinstance(event, StatusUpdateEvent):
            working.set()

    subscription = stream.subscribe(on_next)
    assert working.wait(10)
    subscription.unsubscribe()
    assert subscription.wait(10)
    assert stream.result is not None
    assert stream.result.outcome == "cancelled"


def test_a_stream_begun_in_one_loop_can_be_read_in_another() -> None:
    stream = agent(seed_provider(), calculate).execute("Hi")
    assert stream.subscribe().wait(10)
    assert asyncio.run(stream.finish()).outcome == "completed"


async def test_consumers_in_several_threads_see_the_same_events(observer: RecordingObserver) -> None:
    provider = FakeProvider([Turn("Half", hang=True)])
    stream = agent(provider).execute("Hi", detail="full")

    async def consume() -> list[str]:
        return [event.kind async for event in stream]

    here = asyncio.create_task(consume())
    await provider.streaming.wait()
    there = asyncio.create_task(asyncio.to_thread(asyncio.run, consume()))
    told = asyncio.Event()
    subscription = stream.subscribe(lambda _: told.set())
    await told.wait()
    here.cancel()
    with pytest.raises(asyncio.CancelledError):
        await here
    assert stream.result is None
    subscription.unsubscribe()
    if not there.done():
        observer.of(AgentRun)[0].task.cancel()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    assert await there == ["task", "status-update", "content-delta", "status-update"]


def test_wait_has_a_timeout_and_refuses_to_block_its_own_loop() -> None:
    subscription = agent(FakeProvider([Turn("Half", hang=True)])).execute("Hi").subscribe()
    assert not subscription.wait(0.01)
    subscription.unsubscribe()
    assert subscription.wait(10)

    async def inside() -> None:
        own = agent(FakeProvider([Turn("x")])).execute("Hi").subscribe()
        with pytest.raises(RuntimeError, match="would block"):
            own.wait()
        assert await asyncio.to_thread(own.wait, 10)

    asyncio.run(inside())


def test_a_failed_run_is_told_to_on_error_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    broken = FakeProvider([Turn(error=ConnectionError("down"))])
    assert agent(broken).execute("Hi").subscribe(told.append, told.append, lambda: told.append("completed")).wait(10)
    assert [type(one).__name__ for one in told][-2:] == ["StatusUpdateEvent", "ConnectionError"]
    with caplog.at_level(logging.ERROR, "looopy_otel.agent"):
        assert agent(broken).execute("Hi").subscribe().wait(10)
    assert "there is no on_error" in caplog.text


def test_a_callback_that_raises_is_told_only_to_its_own_subscriber(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    errors: list[BaseException] = []

    def failing(event: Any) -> None:
        raise ZeroDivisionError

    stream = agent(seed_provider(), calculate).execute("Hi")
    first = stream.subscribe(failing, errors.append, lambda: errors.append(AssertionError()))
    second = stream.subscribe(told.append)
    assert first.wait(10)
    assert second.wait(10)
    assert [type(error) for error in errors] == [ZeroDivisionError]
    assert len(told) == 3
    assert stream.result is not None
    assert stream.result.outcome == "completed"


def test_a_last_callback_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def failing(*_: Any) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR):
        assert agent(FakeProvider([Turn("x")])).execute("Hi").subscribe(None, None, failing).wait(10)
        assert agent(FakeProvider([Turn(error=OSError())])).execute("Hi").subscribe(None, failing).wait(10)
    assert [record.exc_info and record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2


def test_a_coroutine_function_is_no_callback() -> None:
    async def on_next(_: Any) -> None:
        raise AssertionError

    class Asynchronous:
        async def __call__(self, *_: Any) -> None:
            raise AssertionError

    stream = agent(FakeProvider([Turn("x")])).execute("Hi")
    with pytest.raises(TypeError, match=r"on_next must be a plain function, .* use 'async for'"):
        stream.subscribe(on_next)
    with pytest.raises(TypeError, match="on_completed must be"):
        stream.subscribe(on_completed=Asynchronous())
    assert stream.result is None

"""Generators under every decorator: what is sent and thrown gets through, each is ended once, none is in the way."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from looopy_otel.core.identity import NOBODY, current_identity
from looopy_otel.instrument.decorators import trace_agent, trace_tool
from looopy_otel.testing import CapturedSpans
from tests.instrument.decorators.subjects import ASYNC_STREAMS, STREAMS, Subject, shout_slowly, shout_slowly_async

STREAM = pytest.mark.parametrize("subject", STREAMS, ids=lambda one: one.span)
ASYNC_STREAM = pytest.mark.parametrize("subject", ASYNC_STREAMS, ids=lambda one: one.span)


def echo() -> Generator[str, str, str]:
    """Tells what it hears, survives a `ValueError`, and says goodbye when it is closed."""
    heard = "start"
    while heard != "stop":
        with lo.span(f"child-{heard}"):
            pass
        try:
            heard = yield heard
        except ValueError as error:
            heard = f"caught {error}"
    return "done"


async def echo_async() -> AsyncGenerator[str, str]:
    """As `echo`."""
    heard = "start"
    while heard != "stop":
        with lo.span(f"child-{heard}"):
            await asyncio.sleep(0)
        try:
            heard = yield heard
        except ValueError as error:
            heard = f"caught {error}"


def stubborn(seen: list[str]) -> Generator[str]:
    """Yields when it is closed."""
    try:
        yield "first"
    except GeneratorExit:
        seen.append("closing")
        yield "not yet"


def yielding_to_close() -> Generator[str]:
    """Returns when it is closed."""
    try:
        yield "first"
    except GeneratorExit:
        return


def abandoned(captured: CapturedSpans, subject: Subject) -> None:
    """Says that the one span of the subject ended as abandoned."""
    span = captured.span(subject.name)
    assert span.status.status_code is StatusCode.UNSET
    seen = captured.attributes(subject.name)
    assert "error.type" not in seen
    assert seen.get("llm.outcome", "abandoned") == "abandoned"
    assert seen.get("agent.outcome", "cancelled") == "cancelled"


@STREAM
def test_send_throw_and_the_return_value(subject: Subject, captured: CapturedSpans) -> None:
    generator = subject.decorated(echo)()
    assert (next(generator), generator.send("a"), generator.throw(ValueError("x"))) == ("start", "a", "caught x")
    with pytest.raises(StopIteration) as stopped:
        generator.send("stop")
    assert stopped.value.value == "done"
    assert captured.outline() == [subject.name, "  child-start", "  child-a", "  child-caught x"]


@ASYNC_STREAM
async def test_asend_and_athrow(subject: Subject, captured: CapturedSpans) -> None:
    generator = subject.decorated(echo_async)()
    assert await anext(generator) == "start"
    assert await generator.asend("a") == "a"
    assert await generator.athrow(ValueError("x")) == "caught x"
    with pytest.raises(StopAsyncIteration):
        await generator.asend("stop")
    assert captured.outline() == [subject.name, "  child-start", "  child-a", "  child-caught x"]


@STREAM
@pytest.mark.parametrize("kind", [LookupError, StopIteration, KeyboardInterrupt, GeneratorExit])
def test_what_is_thrown_comes_out_as_from_the_bare_one(
    subject: Subject, captured: CapturedSpans, kind: type[BaseException]
) -> None:
    def thrown_into(generator: Generator[str, Any, Any]) -> BaseException:
        next(generator)
        with pytest.raises(BaseException) as raised:  # noqa: PT011
            generator.throw(kind("x"))
        return raised.value

    bare, decorated = thrown_into(shout_slowly()), thrown_into(subject.decorated()())
    assert (type(bare), str(bare)) == (type(decorated), str(decorated))
    assert len(captured.spans()) == 1


@STREAM
def test_its_span_is_current_inside_and_nowhere_else(subject: Subject, captured: CapturedSpans) -> None:
    with lo.span("consumer") as consumer:
        for item in subject.decorated(echo)():
            assert lo.current() is consumer
            with lo.span(f"consumed-{item}"):
                pass
            break
    assert captured.outline() == ["consumer", f"  {subject.name}", "    child-start", "  consumed-start"]


def leave(generator: Generator[Any, Any, Any]) -> None:
    for _ in generator:
        break


def close_twice(generator: Generator[Any, Any, Any]) -> None:
    next(generator)
    generator.close()
    generator.close()


def close_in_a_thread(generator: Generator[Any, Any, Any]) -> None:
    next(generator)
    thread = threading.Thread(target=generator.close)
    thread.start()
    thread.join(20)


def close_in_another_context(generator: Generator[Any, Any, Any]) -> None:
    contextvars.copy_context().run(next, generator)
    contextvars.copy_context().run(generator.close)


def start_in_a_span(generator: Generator[Any, Any, Any]) -> None:
    with lo.span("early"):
        next(generator)
    with lo.span("late") as late:
        generator.close()
        assert lo.current() is late


def collect_a_cycle(generator: Generator[Any, Any, Any]) -> None:
    next(generator)
    loop: list[Any] = [generator]
    loop.append(loop)
    del generator, loop
    gc.collect()


WAYS: list[Callable[[Generator[Any, Any, Any]], None]] = [
    leave,
    close_twice,
    close_in_a_thread,
    close_in_another_context,
    start_in_a_span,
    collect_a_cycle,
]


@STREAM
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", [echo, yielding_to_close])
def test_one_that_is_left_ends_as_abandoned(
    subject: Subject, captured: CapturedSpans, way: Callable[[Any], None], function: Callable[[], Any]
) -> None:
    way(subject.decorated(function)())
    gc.collect()
    abandoned(captured, subject)
    assert trace.get_current_span() is trace.INVALID_SPAN


@STREAM
def test_one_that_does_not_let_itself_be_closed(subject: Subject, captured: CapturedSpans) -> None:
    seen: list[str] = []
    generator = subject.decorated(stubborn)(seen)
    next(generator)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        generator.close()
    assert seen == ["closing"]
    assert list(generator) == []
    assert len(captured.spans()) == 1


@STREAM
def test_a_context_variable_that_it_sets_stays_set_as_ever(subject: Subject, captured: CapturedSpans) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    def setting() -> Generator[int]:
        variable.set(1)
        yield 1

    leave(subject.decorated(setting)())
    assert variable.get() == 1
    assert len(captured.spans()) == 1


@STREAM
def test_interleaved_ones_keep_apart(subject: Subject, captured: CapturedSpans) -> None:
    first, second = subject.decorated(echo)(), subject.decorated(echo)()
    assert (next(first), next(second), first.send("a"), second.send("b")) == ("start", "start", "a", "b")
    first.close()
    assert second.send("c") == "c"
    second.close()
    assert captured.outline() == [
        *[subject.name, "  child-start", "  child-a"],
        *[subject.name, "  child-start", "  child-b", "  child-c"],
    ]


async def leave_async(generator: AsyncGenerator[Any, Any]) -> None:
    async for _ in generator:
        break
    del generator
    await asyncio.sleep(0.01)


async def close_in_another_task(generator: AsyncGenerator[Any, Any]) -> None:
    await anext(generator)
    await asyncio.create_task(cast("Any", generator.aclose()))


async def step_in_other_tasks(generator: AsyncGenerator[Any, Any]) -> None:
    await asyncio.create_task(cast("Any", anext(generator)))
    await asyncio.create_task(cast("Any", generator.asend("a")))
    await generator.aclose()


async def leave_to_the_loop(generator: AsyncGenerator[Any, Any]) -> None:
    await anext(generator)
    cast("Any", asyncio.get_running_loop()).kept_by_a_test = generator


ASYNC_WAYS = [leave_async, close_in_another_task, step_in_other_tasks, leave_to_the_loop]


@ASYNC_STREAM
@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_an_async_one_that_is_left_ends_as_abandoned(
    subject: Subject, captured: CapturedSpans, way: Callable[[Any], Any]
) -> None:
    asyncio.run(way(subject.decorated(echo_async)()))
    abandoned(captured, subject)


@ASYNC_STREAM
def test_one_whose_loop_was_closed_under_it(subject: Subject, captured: CapturedSpans) -> None:
    loop = asyncio.new_event_loop()
    generator = subject.decorated(echo_async)()
    loop.run_until_complete(anext(generator))
    loop.close()
    del generator
    gc.collect()
    abandoned(captured, subject)


@ASYNC_STREAM
def test_one_that_is_driven_without_a_loop(subject: Subject, captured: CapturedSpans) -> None:
    generator = subject.decorated(shout_slowly_async)()
    step = generator.__anext__()
    step.send(None)
    with pytest.raises(StopIteration, match="HI"):
        step.send(None)
    del step, generator
    gc.collect()
    abandoned(captured, subject)


@ASYNC_STREAM
async def test_one_that_is_cancelled_while_it_waits(subject: Subject, captured: CapturedSpans) -> None:
    waiting = asyncio.Event()

    async def hang() -> AsyncGenerator[str]:
        yield "first"
        waiting.set()
        await asyncio.Event().wait()

    async def consume() -> None:
        async for _ in subject.decorated(hang)():
            pass

    task = asyncio.create_task(consume())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen = captured.attributes(subject.name)
    assert captured.span(subject.name).status.status_code is StatusCode.UNSET
    assert seen.get("llm.outcome", "cancelled") == seen.get("agent.outcome", "cancelled") == "cancelled"


@ASYNC_STREAM
async def test_its_span_is_current_only_inside(subject: Subject, captured: CapturedSpans) -> None:
    with lo.span("consumer") as consumer:
        generator = subject.decorated(echo_async)()
        async for item in generator:
            assert lo.current() is consumer
            with lo.span(f"consumed-{item}"):
                await asyncio.sleep(0)
            break
        await generator.aclose()
    assert captured.outline() == ["consumer", f"  {subject.name}", "    child-start", "  consumed-start"]


@ASYNC_STREAM
async def test_many_in_tasks_at_once(subject: Subject, captured: CapturedSpans) -> None:
    async def consume(number: int) -> None:
        with lo.span(f"consumer-{number}"):
            generator = subject.decorated(echo_async)()
            for _ in range(number % 3 + 1):
                await anext(generator)
            await generator.aclose()

    await asyncio.gather(*(consume(number) for number in range(12)))
    lines = captured.outline()
    assert [line for line in lines if not line.startswith(" ")] == [f"consumer-{number}" for number in range(12)]
    assert lines.count(f"  {subject.name}") == 12


@STREAM
def test_many_items_are_counted_and_not_all_kept(subject: Subject, captured: CapturedSpans) -> None:
    def endless() -> Generator[dict[str, str]]:
        for _ in range(3_000):
            yield {"text": "x" * 1_000}

    assert len(list(subject.decorated(endless)())) == 3_000
    output = str(captured.attributes(subject.name)["langfuse.observation.output"])
    assert "more>" in output
    assert len(output) < 1_500_000


def test_the_identity_of_a_run_does_not_reach_the_consumer(captured: CapturedSpans) -> None:
    @trace_agent(name="writer")
    def run() -> Generator[str | None]:
        yield current_identity().agent_id
        yield current_identity().agent_id

    with lo.session("s-1") as outer:
        for agent in run():
            assert (agent, current_identity()) == ("writer", outer)
    first, second = run(), run()
    assert [next(first), next(second), next(first)] == ["writer"] * 3
    assert current_identity() == NOBODY
    del first, second
    assert len({dict(span.attributes or {})["agent.task.id"] for span in captured.spans()}) == 3  # pyright: ignore[reportUnhashable]


def test_generators_inside_generators(captured: CapturedSpans) -> None:
    @trace_tool
    def outer() -> Generator[int]:
        with lo.span("before"):
            pass
        yield from inner()
        with lo.span("after"):
            pass

    @trace_tool
    def inner() -> Generator[int]:
        yield 1
        with lo.span("deep"):
            pass
        yield 2

    with lo.span("consumer") as consumer:
        for _ in outer():
            assert lo.current() is consumer
    assert captured.outline() == [
        *["consumer", "  tool.execute", "    before", "    tool.execute", "      deep", "    after"],
    ]


LEFT_OPEN = """
import asyncio, looopy_otel as lo
from looopy_otel.instrument.decorators import trace_agent, trace_llm
lo.configure(exporters="console")
@trace_agent
def run():
    yield "left open"
@trace_llm
async def ask():
    yield "left open too"
kept = [run(), ask()]
kept.append(kept)
next(kept[0])
loop = asyncio.new_event_loop()
loop.run_until_complete(anext(kept[1]))
loop.close()
"""


def test_what_is_open_when_the_interpreter_ends_is_recorded_as_abandoned() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", LEFT_OPEN]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said = done.stdout + done.stderr
    assert ("agent.outcome = cancelled" in said, "llm.outcome = abandoned" in said) == (True, True)
    assert not [word for word in ("Traceback", "Exception", "fault") if word in said]

"""What is current, in whatever order and place things end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider

import looopy_otel as lo
from looopy_otel.core.hooks import Recorder, innermost
from looopy_otel.core.identity import current_identity
from looopy_otel.testing import CapturedSpans
from tests.instrument.context.conftest import place
from tests.instrument.context.operations import ANSWER, llm, run, step


def test_what_ends_out_of_turn_leaves_nothing_current(captured: CapturedSpans) -> None:
    before = place()
    first, second, third = step("first"), step("second"), step("third")
    first.end()
    assert innermost() is third
    second.end()
    step("part of third").end()
    third.end()
    assert place() == before
    assert captured.outline() == ["first", "  second", "    third", "      part of third"]


def test_runs_that_overlap_leave_the_identity_as_it_was(captured: CapturedSpans) -> None:
    with lo.session(session_id="s", user_id="u"):
        before = place()
        first = run("one", "t1")
        second = run("two", "t2")
        assert current_identity().agent_id == "two"
        first.end()
        assert current_identity().agent_id == "two"
        second.end()
        assert place() == before
    assert [(span.attributes or {})["session.id"] for span in captured.spans()] == ["s", "s"]


def test_a_run_is_the_identity_of_what_is_inside_it(captured: CapturedSpans) -> None:
    outer = run("agent", "task-1")
    step("inside").end()
    outer.end()
    step("outside").end()
    inside, outside = captured.attributes("inside"), captured.attributes("outside")
    assert (inside["agent.id"], inside["agent.task.id"], inside["session.id"]) == ("agent", "task-1", "task-1")
    assert not outside.keys() & {"agent.id", "agent.task.id", "session.id"}


def test_a_run_that_steps_out_takes_its_identity_along(captured: CapturedSpans) -> None:
    outer = run()
    outer.suspend()
    assert current_identity().agent_id is None
    with lo.session(session_id="consumer"):
        outer.resume()
        assert current_identity().agent_id == "a"
        outer.suspend()
        assert current_identity().session_id == "consumer"
    outer.resume()
    outer.end()


def test_stepping_out_or_in_twice_is_stepping_once(captured: CapturedSpans) -> None:
    before = place()
    recorder = step("stream")
    recorder.resume()
    recorder.suspend()
    recorder.suspend()
    assert place() == before
    recorder.resume()
    step("inside").end()
    recorder.suspend()
    recorder.end()
    assert captured.outline() == ["stream", "  inside"]


def test_stepping_out_inside_the_block_of_another_instrumentation(captured: CapturedSpans) -> None:
    before = place()
    other = TracerProvider().get_tracer("other")
    recorder = step("stream")
    with other.start_as_current_span("theirs"):
        recorder.suspend()
    recorder.suspend()
    assert place() == before
    step("consume").end()
    recorder.end()
    assert captured.outline() == ["stream", "consume"]


def test_an_end_in_another_thread_leaves_that_thread_alone(captured: CapturedSpans) -> None:
    outer, recorder = step("outer"), step("inner")

    def elsewhere() -> None:
        mine = step("mine")
        recorder.end()
        assert innermost() is mine
        mine.end()

    in_thread(elsewhere)
    outer.end()
    assert innermost() is None
    assert captured.outline() == ["outer", "  inner", "mine"]


async def test_an_end_in_a_task_leaves_the_context_that_it_started_in_to_the_one_around_it(
    captured: CapturedSpans,
) -> None:
    before = place()
    outer, inner = step("outer"), step("inner")

    async def elsewhere() -> None:
        inner.end()

    await asyncio.create_task(elsewhere())
    outer.end()
    assert place() == before


async def test_a_task_that_outlives_the_span_it_was_started_in_stays_under_it(captured: CapturedSpans) -> None:
    over = asyncio.Event()

    async def work() -> None:
        await over.wait()
        step("late").end()
        step("later").end()

    outer = step("outer")
    task = asyncio.create_task(work())
    outer.end()
    over.set()
    await task
    assert captured.outline() == ["outer", "  late", "  later"]


def test_only_the_first_end_counts_also_among_threads(captured: CapturedSpans) -> None:
    recorders = [step(f"step {number}", current=False) for number in range(50)]
    barrier = threading.Barrier(4)

    def end_all() -> None:
        barrier.wait()
        for recorder in recorders:
            recorder.end()

    threads = [threading.Thread(target=end_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(captured.outline()) == sorted(f"step {number}" for number in range(50))


def test_a_finaliser_may_end_a_span_while_it_ends(captured: CapturedSpans) -> None:
    recorder = step("once")

    class Output:
        def __str__(self) -> str:
            recorder.end(error=RuntimeError("from the finaliser"))
            return "told"

        __repr__ = __str__

    recorder.record(output="x", metadata={"object": Output()})
    recorder.end()
    assert captured.outline() == ["once"]


def test_a_stream_that_is_collected_ends_its_call(captured: CapturedSpans) -> None:
    class Stream:
        pass

    before = place()
    call = llm()
    call.suspend()
    stream = Stream()
    weakref.finalize(stream, call.end, None, GeneratorExit())
    other = step("other")
    del stream
    gc.collect()
    assert innermost() is other
    other.end()
    assert place() == before
    assert captured.attributes("llm.call")["llm.outcome"] == "abandoned"


def test_a_span_that_somebody_else_has_ended_is_not_ended_again(captured: CapturedSpans) -> None:
    recorder = step("step")
    trace.get_current_span().end()
    recorder.end()
    assert captured.outline() == ["step"]


def test_what_the_inside_adds_to_the_context_goes_with_it(captured: CapturedSpans) -> None:
    recorder = step("stream")
    context.attach(baggage.set_baggage("key", "value"))
    recorder.suspend()
    assert baggage.get_baggage("key") is None
    recorder.resume()
    assert baggage.get_baggage("key") == "value"
    recorder.end()
    assert baggage.get_baggage("key") is None


def numbers() -> Generator[int]:
    recorder = step("numbers")
    try:
        for number in range(5):
            step("produce").end()
            recorder.suspend()
            try:
                yield number
            finally:
                recorder.resume()
    finally:
        recorder.end()


def test_a_consumer_is_not_a_part_of_what_it_consumes(captured: CapturedSpans) -> None:
    outer = step("outer")
    for number in numbers():
        step("consume").end()
        if number == 1:
            break
    gc.collect()
    outer.end()
    assert captured.outline() == [
        "outer", "  numbers", "    produce", "    produce", "  consume", "  consume",
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["thread", "context"])
def test_a_generator_may_be_closed_elsewhere(captured: CapturedSpans, how: str) -> None:
    before = place()
    generator = numbers()
    next(generator)
    if how == "thread":
        in_thread(generator.close)
    else:
        contextvars.Context().run(generator.close)
    assert place() == before
    assert captured.outline() == ["numbers", "  produce"]


async def ticks() -> AsyncGenerator[int]:
    recorder = step("ticks")
    try:
        for number in range(5):
            await asyncio.sleep(0)
            step("tick").end()
            recorder.suspend()
            try:
                yield number
            finally:
                recorder.resume()
    finally:
        recorder.end()


async def test_an_async_generator_may_be_consumed_and_closed_by_different_tasks(captured: CapturedSpans) -> None:
    before = place()
    generator = ticks()

    async def consume() -> None:
        consumer = step("consumer")
        await anext(generator)
        assert innermost() is consumer
        consumer.end()

    for _ in range(2):
        await asyncio.create_task(consume())
    await asyncio.create_task(generator.aclose())
    assert place() == before
    assert captured.outline() == ["consumer", "  ticks", "    tick", "    tick", "consumer"]


def test_an_async_generator_that_the_loop_closes_at_its_end(captured: CapturedSpans) -> None:
    kept: list[AsyncGenerator[int]] = []

    async def main() -> None:
        kept.append(ticks())
        await anext(kept[0])

    asyncio.run(main())
    assert captured.outline() == ["ticks", "  tick"]


def test_generators_that_consume_each_other_end(captured: CapturedSpans) -> None:
    outer = step("outer")
    recorders: list[Recorder] = []
    for number in range(3):
        recorders.append(step(f"generator {number}"))
        recorders[-1].suspend()
    for recorder in (*recorders, *reversed(recorders)):
        recorder.resume()
    for recorder in recorders:
        recorder.end(ANSWER)
    outer.end()
    assert len(captured.outline()) == 4


def in_thread(work: Callable[[], object]) -> None:
    """Runs something in a thread of its own, and raises what it raised."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()

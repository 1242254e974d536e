"""Leaving a call at each stage: one end for the observer, a closed connection, the partial answer kept."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from looopy_otel.core.types import ContentDelta, LLMResponse, StreamEvent
from looopy_otel.providers import LiteLLMError, ProviderCall, RecordedRequest, Reply, ScriptedServer
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]
SLOW_HEADERS = Reply(text="never", delay=60)
SLOW_CHUNKS = Reply(text="one two three four", chunk_size=4, chunk_delay=0.02)


async def gone(server: ScriptedServer) -> None:
    assert await asyncio.to_thread(server.wait_for_disconnects, 1), "the connection stayed open"


async def arrived(server: ScriptedServer) -> None:
    assert await asyncio.to_thread(server.wait_for_requests, 1), "no request arrived"


def partial(observer: RememberingObserver) -> LLMResponse:
    result = observer.only.result
    assert result is not None
    return result


def one_place(observer: RememberingObserver) -> bool:
    """True when the call was announced and ended in the same task."""
    return len(set(map(id, observer.only.places))) == 1


async def consume(call: ProviderCall, seen: list[StreamEvent], first: asyncio.Event | None = None) -> None:
    async for event in call:
        seen.append(event)
        if first is not None:
            first.set()


async def test_cancelling_a_plain_call(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(SLOW_HEADERS)
    task = asyncio.create_task(connect(server).call(messages=HELLO))
    await arrived(server)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(server)
    assert isinstance(observer.only.error, asyncio.CancelledError)
    assert observer.only.result is None
    assert one_place(observer)


async def test_cancelling_a_plain_call_before_it_started(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve()
    task = asyncio.create_task(connect(server).call(messages=HELLO))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (server.requests, observer.handles) == ([], [])


async def test_cancelling_a_stream_before_its_headers(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(SLOW_HEADERS)
    seen: list[StreamEvent] = []
    task = asyncio.create_task(consume(connect(server).call(messages=HELLO), seen))
    await arrived(server)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(observer.only.error, asyncio.CancelledError)
    assert observer.only.result is None
    assert one_place(observer)
    await gone(server)


async def test_cancelling_a_stream_half_way(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(text="one two", chunk_size=4, chunk_delay=0.3))
    seen: list[StreamEvent] = []
    first = asyncio.Event()
    task = asyncio.create_task(consume(connect(server).call(messages=HELLO), seen, first))
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [ContentDelta("one ")]
    assert isinstance(observer.only.error, asyncio.CancelledError)
    assert (partial(observer).message.content, partial(observer).outcome) == ("one ", "cancelled")
    assert one_place(observer)
    await gone(server)


async def test_a_timeout_of_the_consumer_cancels(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(SLOW_HEADERS)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await consume(connect(server).call(messages=HELLO), [])
    assert isinstance(observer.only.error, asyncio.CancelledError)
    await gone(server)


@pytest.mark.parametrize("keep_the_call", [True, False])
async def test_break(serve: Serve, connect: Connect, observer: RememberingObserver, keep_the_call: bool) -> None:
    server = serve(SLOW_CHUNKS)
    call = connect(server).call(messages=HELLO)
    kept = call if keep_the_call else None
    async for event in call:
        assert event == ContentDelta("one ")
        del call
        break
    await observer.only.wait()
    assert isinstance(observer.only.error, GeneratorExit)
    assert partial(observer).outcome == "abandoned"
    assert str(partial(observer).message.content).startswith("one ")
    assert one_place(observer)
    await gone(server)
    assert kept is None or repr(kept) == "<ProviderCall model='gpt-4' used>"


async def test_aclose_of_the_stream_waits_for_the_end(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(SLOW_CHUNKS)
    stream = aiter(connect(server).call(messages=HELLO))
    await anext(stream)
    await stream.aclose()
    assert partial(observer).outcome == "abandoned"
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.aclose()
    await gone(server)


async def test_aclose_of_the_call(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(SLOW_CHUNKS)
    async with aclosing(connect(server).call(messages=HELLO)) as call:
        async for _ in call:
            break
    assert partial(observer).outcome == "abandoned"
    await gone(server)


async def test_aclose_while_another_task_waits_for_an_event(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(SLOW_HEADERS)
    call = connect(server).call(messages=HELLO)
    seen: list[StreamEvent] = []
    waiting = asyncio.create_task(consume(call, seen))
    await arrived(server)
    await call.aclose()
    await waiting
    assert seen == []
    assert isinstance(observer.only.error, GeneratorExit)


async def test_aclose_before_the_first_event(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    stream = aiter(connect(server).call(messages=HELLO))
    await stream.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    call = connect(server).call(messages=HELLO)
    pending = aiter(call)
    await call.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(pending)
    assert (server.requests, observer.handles) == ([], [])


async def test_a_generator_around_a_stream_that_is_dropped(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(SLOW_CHUNKS)

    async def texts() -> AsyncIterator[str]:
        async for event in connect(server).call(messages=HELLO):
            if isinstance(event, ContentDelta):
                yield event.text

    async for text in texts():
        assert text == "one "
        break
    gc.collect()
    await observer.only.wait()
    assert partial(observer).outcome == "abandoned"
    await gone(server)


async def test_an_error_in_the_body_of_the_loop(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(SLOW_CHUNKS)

    async def fail() -> None:
        async for _ in connect(server).call(messages=HELLO):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine") as caught:
        await fail()
    del caught
    gc.collect()
    await observer.only.wait()
    assert partial(observer).outcome == "abandoned"
    await gone(server)


REPLIES = (
    Reply(text="x" * 40, chunk_delay=0.05),
    Reply(text="late", delay=0.01),
    Reply(text="x" * 40, cut_after=3),
    Reply(status=500),
    Reply(text="x" * 40, stream_error="failed"),
)


def reply_by_number(request: RecordedRequest) -> Reply:
    return REPLIES[int(request.json["messages"][0]["content"]) // 4 % len(REPLIES)]


async def leave(call: ProviderCall, number: int) -> None:
    """Awaits, streams, breaks off or times out, by turns."""
    match number % 4:
        case 0:
            await call
        case 1:
            await consume(call, [])
        case 2:
            async for _ in call:
                break
        case _:
            async with asyncio.timeout(0.002 * (number % 20)):
                await consume(call, [])


async def test_many_calls_left_in_every_way_each_end_once(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    provider = connect(serve(script=reply_by_number))
    calls = [provider.call(messages=[{"role": "user", "content": f"{number}"}]) for number in range(100)]
    endings = await asyncio.gather(*map(leave, calls, range(100)), return_exceptions=True)
    assert all(ending is None or isinstance(ending, LiteLLMError | TimeoutError) for ending in endings)
    for handle in observer.handles:
        await handle.wait()
        assert len(handle.ends) == 1
        assert len(set(map(id, handle.places))) == 1
    outcomes = {handle.result.outcome for handle in observer.handles if handle.result is not None}
    assert {"completed", "abandoned", "truncated", "error"} <= outcomes


def test_the_end_of_the_loop_ends_a_stream_that_was_left_open(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(Reply(text="one two", chunk_size=4, chunk_delay=30))

    async def leave_open() -> object:
        stream = aiter(connect(server).call(messages=HELLO))
        pending = asyncio.ensure_future(anext(stream))
        await arrived(server)
        return pending

    asyncio.run(leave_open())
    assert observer.only.ended.wait(10)
    assert server.wait_for_disconnects(1)


async def test_a_stream_that_ended_well_is_not_abandoned(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(Reply(text="all of it"))
    await consume(connect(server).call(messages=HELLO), [])
    gc.collect()
    assert observer.only.error is None
    assert partial(observer).outcome == "completed"
    assert one_place(observer)
    assert server.disconnects == 0

"""One call, used in every way that Python has for awaiting, streaming and subscribing, and only once."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import warnings
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

import pytest
import reactivex

from looopy_otel.core.errors import AlreadyUsedError, MissingExtraError
from looopy_otel.core.types import LLMProvider, LLMResponse
from looopy_otel.providers import LiteLLMProvider, ProviderCall, Reply, ScriptedProvider
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]


async def test_a_call_that_is_not_used_does_nothing(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call = connect(server).call(messages=HELLO)
        assert repr(call) == "<ProviderCall model='gpt-4' not sent yet>"
        stream = aiter(connect(server).call(messages=HELLO))
        del call, stream
        gc.collect()
    assert not caught
    assert (server.requests, observer.handles) == ([], [])


async def test_a_call_is_a_coroutine_for_asyncio(serve: Serve, connect: Connect) -> None:
    provider = connect(serve())

    def call() -> ProviderCall:
        return provider.call(messages=HELLO)

    async with asyncio.TaskGroup() as group:
        grouped = group.create_task(call())
    gathered = await asyncio.gather(call(), call())
    responses = [
        await call(),
        await asyncio.create_task(call()),
        await asyncio.ensure_future(call()),
        await asyncio.wait_for(call(), 10),
        await asyncio.shield(call()),
        grouped.result(),
        *gathered,
    ]
    assert [response.message.content for response in responses] == ["Hello!"] * 8
    assert isawaitable(call())


def test_a_call_is_a_coroutine_for_asyncio_run(serve: Serve, connect: Connect) -> None:
    assert asyncio.run(connect(serve()).call(messages=HELLO)).message.content == "Hello!"


async def stream_of(call: ProviderCall) -> None:
    async for _ in call:
        pass


async def task_of(call: ProviderCall) -> LLMResponse:
    return await asyncio.create_task(call)


async def await_of(call: ProviderCall) -> LLMResponse:
    return await call


async def subscription_of(call: ProviderCall) -> None:
    await asyncio.to_thread(call.subscribe().wait)


async def sync_of(call: ProviderCall) -> LLMResponse:
    return call.result()


async def sync_stream_of(call: ProviderCall) -> None:
    for _ in call.events():
        pass


USES: list[Callable[[ProviderCall], Awaitable[object]]] = [await_of, task_of, stream_of, sync_of, sync_stream_of]


@pytest.mark.parametrize("first", [*USES, subscription_of])
@pytest.mark.parametrize("second", USES)
async def test_a_second_use_says_so(
    serve: Serve,
    connect: Connect,
    first: Callable[[ProviderCall], Awaitable[object]],
    second: Callable[[ProviderCall], Awaitable[object]],
) -> None:
    server = serve()
    call = connect(server).call(messages=HELLO)
    await first(call)
    with pytest.raises(AlreadyUsedError, match="used already"):
        await second(call)
    assert len(server.requests) == 1
    assert repr(call) == "<ProviderCall model='gpt-4' used>"


async def test_two_tasks_cannot_share_a_call(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi", delay=0.05))
    call = connect(server).call(messages=HELLO)
    first, second = asyncio.create_task(call), asyncio.create_task(call)
    with pytest.raises(AlreadyUsedError):
        await second
    assert (await first).message.content == "hi"


async def test_subscribe_inside_a_loop(serve: Serve, connect: Connect) -> None:
    told: list[object] = []
    completed = asyncio.Event()
    subscription = (
        connect(serve())
        .call(messages=HELLO)
        .subscribe(lambda response: told.append(response.message.content), told.append, completed.set)
    )
    await asyncio.wait_for(completed.wait(), 10)
    assert told == ["Hello!"]
    with pytest.raises(RuntimeError, match="would block the event loop"):
        subscription.wait()


def test_subscribe_without_a_loop(serve: Serve, connect: Connect) -> None:
    told: list[object] = []
    subscription = (
        connect(serve())
        .call(messages=HELLO)
        .subscribe(
            lambda response: told.append(response.message.content), told.append, lambda: told.append("completed")
        )
    )
    assert subscription.wait(10)
    assert told == ["Hello!", "completed"]


def test_a_subscribed_error(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    told: list[BaseException] = []
    provider = connect(serve(Reply(status=500, text="broken")))
    assert provider.call(messages=HELLO).subscribe(on_error=told.append).wait(10)
    assert [str(error) for error in told] == ["LiteLLM API error: 500 Internal Server Error: broken"]
    assert not caplog.records
    with pytest.raises(Exception, match="broken"):
        provider.call(messages=HELLO).subscribe().wait(10)
    assert "has no on_error" in caplog.text


def test_unsubscribe_ends_the_call(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(delay=60))
    told: list[object] = []
    subscription = connect(server).call(messages=HELLO).subscribe(told.append, told.append)
    assert server.wait_for_requests(1)
    assert not subscription.wait(0.01)
    subscription.unsubscribe()
    assert subscription.wait(10)
    assert server.wait_for_disconnects(1)
    assert told == []


def test_to_observable(serve: Serve, connect: Connect) -> None:
    call = connect(serve()).call(messages=HELLO)
    observable: reactivex.Observable[LLMResponse] = call.to_observable()
    assert observable.run().message.content == "Hello!"
    with pytest.raises(AlreadyUsedError):
        observable.run()


def test_to_observable_without_reactivex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "reactivex", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'looopy-otel\[reactivex\]'"):
        ScriptedProvider([Reply()]).call(messages=HELLO).to_observable()


def test_sync_forms_without_a_loop(serve: Serve, connect: Connect) -> None:
    provider = connect(serve())
    assert provider.call_sync(messages=HELLO).message.content == "Hello!"
    with provider.stream_sync(messages=HELLO) as events:
        assert [event.kind for event in events] == ["content-delta", "content-complete"]
        assert list(events) == []


async def test_sync_forms_inside_a_running_loop(serve: Serve, connect: Connect) -> None:
    provider = connect(serve())
    assert provider.call_sync(messages=HELLO).message.content == "Hello!"
    assert [event.kind for event in provider.stream_sync(messages=HELLO)] == ["content-delta", "content-complete"]


def test_sync_forms_from_many_threads(serve: Serve, connect: Connect) -> None:
    server = serve(script=lambda request: Reply(text=request.json["messages"][0]["content"]))
    provider = connect(server)
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        answers[number] = provider.call_sync(messages=[{"role": "user", "content": f"{number}"}]).message.content

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: f"{number}" for number in range(8)}


def test_errors_of_the_sync_forms(serve: Serve, connect: Connect) -> None:
    provider = connect(serve(Reply(status=401, text="no")))
    with pytest.raises(Exception, match="401 Unauthorized: no"):
        provider.call_sync(messages=HELLO)
    with pytest.raises(Exception, match="401 Unauthorized: no"):
        list(provider.stream_sync(messages=HELLO))


def test_leaving_a_sync_stream_ends_the_call(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(text="x" * 80, chunk_delay=30))
    with connect(server).stream_sync(messages=HELLO) as events:
        events.close()
    assert (server.requests, observer.handles) == ([], [])
    server = serve(Reply(text="x" * 80, chunk_delay=0.01))
    for number, _ in enumerate(connect(server).stream_sync(messages=HELLO)):
        if number == 2:
            break
    assert observer.only.ended.wait(10)
    assert observer.only.result is not None
    assert observer.only.result.outcome == "abandoned"
    assert server.wait_for_disconnects(1)


@pytest.mark.parametrize("streamed", [False, True])
def test_an_interrupt_ends_a_sync_call(
    serve: Serve, connect: Connect, observer: RememberingObserver, streamed: bool
) -> None:
    server = serve(Reply(delay=60))
    main = threading.get_ident()

    def interrupt() -> None:
        server.wait_for_requests(1)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    call = connect(server).call(messages=HELLO)
    with pytest.raises(KeyboardInterrupt):
        list(call.events()) if streamed else call.result()
    assert observer.only.ended.wait(10)
    assert isinstance(observer.only.error, asyncio.CancelledError)
    assert server.wait_for_disconnects(1)


async def test_sync_forms_in_a_callback_on_the_thread_of_sync_forms(serve: Serve, connect: Connect) -> None:
    provider = connect(serve(Reply(text="Hello!")))
    answered: list[str | None] = []
    refused: list[BaseException] = []

    def again(_: LLMResponse) -> None:
        answered.append(str(provider.call_sync(messages=HELLO).message.content))
        try:
            next(provider.stream_sync(messages=HELLO))
        except RuntimeError as error:
            refused.append(error)

    await asyncio.to_thread(lambda: provider.call(messages=HELLO).subscribe(again).wait(10))
    assert answered == ["Hello!"]
    assert "on the thread that runs sync forms" in str(refused[0])


def test_both_providers_are_llm_providers() -> None:
    assert isinstance(LiteLLMProvider(base_url="http://localhost", model="gpt-4"), LLMProvider)
    assert isinstance(ScriptedProvider([Reply()]), LLMProvider)

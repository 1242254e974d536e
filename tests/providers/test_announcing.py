"""What the observer is told, and where the middleware stands."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from looopy_otel.core import hooks
from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.core.types import ContentComplete, ContentDelta, LLMResponse, Message
from looopy_otel.providers import LiteLLMAPIError, LiteLLMProvider, Reply, ScriptedProvider
from tests.providers.conftest import KEY, Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]
TOOL = {"name": "f", "description": "d", "parameters": {"type": "object"}}


async def test_a_plain_call_is_announced(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    provider = connect(server, extra_params={"seed": 7, "api_key": "sk-inner-secret", "tool_choice": "none"})
    response = await provider.call(messages=HELLO, tools=[TOOL], metadata={"a": 1}, response_format={"type": "text"})
    call = observer.only.call
    assert list(call.messages) == HELLO
    assert (call.model, call.system, call.provider_name, call.stream) == ("gpt-4", "openai", "openai", False)
    assert call.parameters == {"temperature": 0.7, "max_tokens": 4096, "top_p": 1.0, "seed": 7}
    assert [tool["function"]["name"] for tool in call.tools if not hasattr(tool, "name")] == ["f"]  # pyright: ignore[reportIndexIssue]
    assert (call.server_address, call.server_port) == ("127.0.0.1", urlsplit(server.url).port)
    assert (call.metadata, call.response_format) == ({"a": 1}, {"type": "text"})
    assert (observer.only.result, observer.only.error) == (response, None)
    assert observer.only.chunks == 0
    assert server.requests[0].json["api_key"] == "sk-inner-secret"
    assert "sk-inner-secret" not in repr(call)


async def test_a_streamed_call_is_announced_once(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    last = [event async for event in connect(serve()).call(messages=HELLO)][-1]
    assert isinstance(last, ContentComplete)
    assert observer.only.call.stream
    assert observer.only.result is last.response
    assert len(set(map(id, observer.only.places))) == 1


@pytest.mark.parametrize(
    ("url", "address", "port"),
    [("https://proxy.example/litellm", "proxy.example", 443), ("http://proxy.example", "proxy.example", 80)],
)
async def test_the_address_of_the_endpoint(url: str, address: str, port: int, observer: RememberingObserver) -> None:
    async def refuse(operation: Any, call_next: CallNext) -> Any:
        raise PermissionError("no network here")

    provider = LiteLLMProvider(base_url=url, model="gpt-4", middleware=[refuse])
    with pytest.raises(PermissionError):
        await provider.call(messages=HELLO)
    assert (observer.only.call.server_address, observer.only.call.server_port) == (address, port)
    assert isinstance(observer.only.error, PermissionError)


async def test_tracing_false_announces_nothing(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(status=500), Reply(text="hi"))
    provider = connect(server, tracing=False, max_retries=1)
    await provider.call(messages=HELLO)
    await ScriptedProvider([Reply(text="hi")], tracing=False).call(messages=HELLO)
    with hooks.suppressed():
        await connect(server).call(messages=HELLO)
        async for _ in connect(server).call(messages=HELLO):
            pass
    assert observer.handles == []
    assert "traceparent" not in server.requests[0].headers


async def test_both_providers_say_that_they_announce() -> None:
    assert LiteLLMProvider.announces_calls
    assert ScriptedProvider.announces_calls


async def test_middleware_stands_inside_the_announcement_and_sees_the_deltas(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    order: list[str] = []

    async def outer(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        order.append(f"outer {len(observer.handles)}")
        response: LLMResponse = await call_next(replace(operation, model="gpt-4o", parameters={"seed": 1}))
        return replace(response, message=Message("assistant", "changed"))

    async def inner(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        order.append(f"inner {operation.model}")
        operation.emit(ContentDelta("first "))
        return await call_next(operation)

    server = serve(Reply(text="answer"))
    provider = connect(server, middleware=[outer, inner], extra_params={"presence_penalty": 0.1})
    events = [event async for event in provider.call(messages=HELLO)]
    assert order == ["outer 1", "inner gpt-4o"]
    assert events[:2] == [ContentDelta("first "), ContentDelta("answer")]
    assert isinstance(events[-1], ContentComplete)
    assert events[-1].response.message.content == "changed"
    assert observer.only.result == events[-1].response
    assert (server.requests[0].json["model"], server.requests[0].json["seed"]) == ("gpt-4o", 1)
    assert not {"temperature", "presence_penalty"} & server.requests[0].json.keys()


async def test_a_middleware_that_answers_itself(serve: Serve, connect: Connect) -> None:
    async def cached(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return LLMResponse(Message("assistant", "from the cache"))

    server = serve()
    events = [event async for event in connect(server, middleware=[cached]).call(messages=HELLO)]
    assert [event.kind for event in events] == ["content-delta", "content-complete"]
    assert server.requests == []


async def test_calls_at_once_do_not_mix(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(script=lambda request: Reply(text=request.json["messages"][0]["content"], chunk_delay=0.01))
    provider = connect(server)

    async def ask(number: int) -> str:
        text = ""
        async for event in provider.call(messages=[{"role": "user", "content": f"number {number:04}"}]):
            text += event.text if isinstance(event, ContentDelta) else ""
        return text

    assert await asyncio.gather(*map(ask, range(20))) == [f"number {number:04}" for number in range(20)]
    for handle in observer.handles:
        assert handle.result is not None
        assert [{"role": "user", "content": handle.result.message.content}] == list(handle.call.messages)


@pytest.mark.parametrize("max_retries", [0, 2])
async def test_one_key_is_in_nothing_that_the_observer_sees(
    serve: Serve, connect: Connect, observer: RememberingObserver, max_retries: int
) -> None:
    server = serve(Reply(status=500, text=f"bad {KEY}", headers={"retry-after": "0"}))
    with pytest.raises(LiteLLMAPIError, match=r"bad \*\*\*"):
        await connect(server, max_retries=max_retries).call(messages=HELLO)
    assert len(observer.handles) == (4 if max_retries else 1)
    for handle in observer.handles:
        assert "bad ***" in handle.said
        assert KEY not in f"{handle.operation!r} {handle.said}"

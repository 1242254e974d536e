"""The scripted provider and the scripted server answer alike, and the server can be watched."""

from __future__ import annotations

import socket
import threading
from decimal import Decimal

import httpx
import pytest

from looopy_otel.core.types import ContentComplete, LLMResponse
from looopy_otel.providers import (
    LiteLLMAuthenticationError,
    LiteLLMStreamError,
    ProviderCall,
    RecordedRequest,
    Reply,
    ScriptedProvider,
    ScriptedServer,
)
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]
FULL = Reply(
    text="392",
    reasoning="hm",
    tool_calls=(("calculate", {"expression": "15 * 23 + 47"}),),
    usage={"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
    cost=0.0068,
)


async def streamed(call: ProviderCall) -> LLMResponse:
    last = [event async for event in call][-1]
    assert isinstance(last, ContentComplete)
    return last.response


async def test_provider_and_server_answer_alike(serve: Serve, connect: Connect) -> None:
    scripted, real = ScriptedProvider([FULL], model="gpt-4"), connect(serve(FULL))
    assert await scripted.call(messages=HELLO) == await real.call(messages=HELLO)
    assert await streamed(scripted.call(messages=HELLO)) == await streamed(real.call(messages=HELLO))
    assert scripted.call_sync(messages=HELLO).cost == Decimal("0.0068")
    kinds = [event.kind for event in scripted.stream_sync(messages=HELLO)]
    assert kinds == ["thought-stream", "content-delta", "tool-call", "llm-usage", "content-complete"]


async def test_replies_in_order_and_the_last_one_repeats(observer: RememberingObserver) -> None:
    provider = ScriptedProvider([Reply(text="a"), Reply(text="b")])
    assert provider.model == "scripted-model"
    assert [(await provider.call(messages=HELLO)).message.content for _ in range(3)] == ["a", "b", "b"]
    assert [request.json["messages"] for request in provider.requests] == [HELLO] * 3
    assert len(observer.handles) == 3


async def test_failures_of_the_scripted_provider(observer: RememberingObserver) -> None:
    replies = [Reply(status=401), Reply(text="half an ", cut_after=2), Reply(text="half", stream_error="e")]
    provider = ScriptedProvider(replies)
    with pytest.raises(LiteLLMAuthenticationError, match="401 Unauthorized: scripted error"):
        await provider.call(messages=HELLO)
    with pytest.raises(LiteLLMStreamError, match="the connection was closed"):
        await streamed(provider.call(messages=HELLO))
    with pytest.raises(LiteLLMStreamError, match="the stream failed: 500 internal_server_error: e"):
        await streamed(provider.call(messages=HELLO))
    with pytest.raises(LiteLLMStreamError, match="no finish_reason"):
        await streamed(ScriptedProvider([Reply(text="x", finish_reason=None)]).call(messages=HELLO))
    outcomes = [handle.result.outcome if handle.result else None for handle in observer.handles]
    assert outcomes == [None, "truncated", "error", "truncated"]


async def test_a_script_may_be_a_function_of_the_request() -> None:
    def script(request: RecordedRequest) -> Reply:
        return Reply(text=f"{request.setting('model')} {request.streamed}")

    provider = ScriptedProvider(script)
    assert (await provider.call(messages=HELLO)).message.content == "scripted-model False"
    assert (await streamed(provider.call(messages=HELLO))).message.content == "scripted-model True"


def test_an_empty_script_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one Reply"):
        ScriptedProvider([])


def test_the_server_says_that_it_lives_and_what_it_does_not_know(serve: Serve) -> None:
    server = serve()
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/health/liveliness").status_code == 200
        assert server.requests == []
        assert (
            client.post("/chat/completions", json={"model": "m"}).json()["choices"][0]["message"]["content"] == "Hello!"
        )
        assert client.get("/v1/models").status_code == 404
        assert client.post("/v1/chat/completions", content=b"\xff{").status_code == 200
    assert [request.path for request in server.requests] == ["/chat/completions", "/v1/models", "/v1/chat/completions"]
    assert (server.requests[2].json, server.requests[2].body, server.requests[2].streamed) == (None, b"\xff{", False)


def test_the_server_outlives_a_client_that_sends_nonsense(serve: Serve) -> None:
    server = serve()
    address = ("127.0.0.1", httpx.URL(server.url).port or 0)
    for nonsense in (b"", b"\x16\x03\x01", b"POST\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n"):
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1024):
                pass
    with httpx.Client() as client:
        assert client.get(f"{server.url}/health/liveliness").status_code == 200


def test_a_port_that_is_taken_is_an_error(serve: Serve) -> None:
    taken = httpx.URL(serve().url).port
    assert taken is not None
    with pytest.raises(OSError, match="in use"):
        ScriptedServer([Reply()], port=taken)


def test_close_ends_replies_under_way_and_may_come_twice(serve: Serve) -> None:
    server = serve(Reply(delay=60))
    closer = threading.Thread(target=lambda: server.wait_for_requests(1) and server.close())
    closer.start()
    with pytest.raises(httpx.HTTPError):
        httpx.post(f"{server.url}/v1/chat/completions", json={})
    closer.join()
    server.close()
    assert not server.wait_for_disconnects(1, timeout=0.01)

"""The timeout: one deadline for a plain call; for a stream, to the first chunk and then between chunks."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

from looopy_otel.core.types import ContentComplete, ContentDelta
from looopy_otel.providers import LiteLLMProvider, LiteLLMTimeoutError, ProviderCall, Reply
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver
from tests.providers.raw_server import raw_server

HELLO = [{"role": "user", "content": "Hello!"}]
EVENT_STREAM = {"content-type": "text/event-stream"}


async def stream(call: ProviderCall) -> str:
    return "".join([event.text async for event in call if isinstance(event, ContentDelta)])


@pytest.mark.parametrize("reply", [Reply(delay=60), Reply(text="x" * 1000, drip=0.02)], ids=["silent", "dripping"])
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_a_slow_server_cannot_evade_the_deadline(
    serve: Serve, connect: Connect, observer: RememberingObserver, reply: Reply, streamed: bool
) -> None:
    server = serve(reply)
    call = connect(server, timeout=0.3).call(messages=HELLO)
    started = time.monotonic()
    with pytest.raises(LiteLLMTimeoutError, match=r"^LiteLLM request timeout after 0\.3s") as caught:
        await (stream(call) if streamed else call)
    assert time.monotonic() - started < 10
    assert "timeout=" in caught.value.hint
    assert observer.only.error is caught.value
    assert await asyncio.to_thread(server.wait_for_disconnects, 1)


@pytest.mark.parametrize(("timeout", "words"), [(0.25, "0.25s"), (1, "1.0s")])
async def test_the_words_of_the_message(serve: Serve, connect: Connect, timeout: float, words: str) -> None:
    with pytest.raises(LiteLLMTimeoutError) as caught:
        await connect(serve(Reply(delay=60)), timeout=timeout).call(messages=HELLO)
    assert str(caught.value) == f"LiteLLM request timeout after {words}"


COMPLETE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    b'data: {"choices": [{"index": 0, "delta": {"content": "all of it"}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 3}}\n\n'
)


@pytest.mark.parametrize("timeout", [0.5, 60.0])
@pytest.mark.parametrize("dripped", [b"", b": ping\n\n"], ids=["silence", "pings"])
@pytest.mark.parametrize("sync", [False, True], ids=["async client", "sync client"])
async def test_a_complete_answer_does_not_wait_for_the_end_of_the_stream(
    timeout: float, dripped: bytes, sync: bool
) -> None:
    with raw_server(COMPLETE, dripped) as url, httpx.Client() as client:
        provider = LiteLLMProvider(base_url=url, model="gpt-4", timeout=timeout, http_client=client if sync else None)
        started = time.monotonic()
        events = [event async for event in provider.call(messages=HELLO)]
        assert time.monotonic() - started < 20
    last = events[-1]
    assert isinstance(last, ContentComplete)
    assert (last.response.message.content, last.response.outcome) == ("all of it", "completed")
    assert last.response.usage is not None


async def test_usage_that_comes_after_the_finish_reason_is_waited_for(serve: Serve, connect: Connect) -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 3}
    server = serve(Reply(text="hi", usage=usage, chunk_delay=1.2))
    events = [event async for event in connect(server).call(messages=HELLO)]
    assert "llm-usage" in [event.kind for event in events]


async def test_a_long_stream_is_fine_while_chunks_keep_coming(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="x" * 24, chunk_size=2, chunk_delay=0.1))
    assert await stream(connect(server, timeout=1.0).call(messages=HELLO)) == "x" * 24


async def test_a_stream_that_stalls(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(text="one two", chunk_size=4, chunk_delay=60))
    with pytest.raises(LiteLLMTimeoutError):
        await stream(connect(server, timeout=0.3).call(messages=HELLO))
    assert observer.only.result is not None
    assert observer.only.result.outcome == "error"


@pytest.mark.parametrize(
    "noise", [": ping\n\n", 'data: {"choices": [{"delta": {}}]}\n\n'], ids=["comments", "empty deltas"]
)
async def test_pings_are_no_progress(serve: Serve, connect: Connect, noise: str) -> None:
    chunk = json.dumps({"choices": [{"delta": {"content": "one "}}]})
    body = f"data: {chunk}\n\n{noise * 2000}".encode()
    server = serve(Reply(body=body, headers=EVENT_STREAM, drip=0.0005))
    with pytest.raises(LiteLLMTimeoutError):
        await stream(connect(server, timeout=0.4).call(messages=HELLO))


async def test_a_slow_consumer_is_no_slow_server(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="one two", chunk_size=4))
    texts: list[str] = []
    async for event in connect(server, timeout=0.3).call(messages=HELLO):
        if isinstance(event, ContentDelta):
            texts.append(event.text)
            await asyncio.sleep(0.4)
    assert "".join(texts) == "one two"

"""The timeout: one deadline for a plain call; for a stream, to the first chunk and then between chunks."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from looopy_otel.core.types import ContentDelta
from looopy_otel.providers import LiteLLMTimeoutError, ProviderCall, Reply
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

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


def test_the_words_of_the_message(serve: Serve, connect: Connect) -> None:
    error = LiteLLMTimeoutError(f"LiteLLM request timeout after {connect(serve()).options.timeout}s")
    assert str(error) == "LiteLLM request timeout after 60.0s"
    assert "timeout" in str(error)


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

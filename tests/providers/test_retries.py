"""Retries: what is tried again, when, and until when."""

from __future__ import annotations

import socket
import time

import pytest

from looopy_otel.core.types import ContentComplete
from looopy_otel.providers import (
    LiteLLMAPIError,
    LiteLLMConnectionError,
    LiteLLMProvider,
    LiteLLMRateLimitError,
    LiteLLMStreamError,
    LiteLLMTimeoutError,
    Reply,
)
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]
AT_ONCE = {"retry-after": "0"}


async def test_no_retry_by_default(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(status=500, headers=AT_ONCE))
    with pytest.raises(LiteLLMAPIError):
        await connect(server).call(messages=HELLO)
    assert len(server.requests) == 1
    assert observer.attempts == []


@pytest.mark.parametrize(
    "failure",
    [Reply(status=status, headers=AT_ONCE) for status in (408, 429, 500, 502, 503, 529)]
    + [Reply(cut_after=-1), Reply(text="x", cut_after=0)],
    ids=["408", "429", "500", "502", "503", "529", "closed", "cut"],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_what_is_tried_again(
    serve: Serve,
    connect: Connect,
    observer: RememberingObserver,
    failure: Reply,
    streamed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("looopy_otel.providers.sending.FIRST_DELAY", 0.001)
    server = serve(failure, Reply(text="at last"))
    call = connect(server, max_retries=1).call(messages=HELLO)
    if streamed:
        last = [event async for event in call][-1]
        assert isinstance(last, ContentComplete)
        response = last.response
    else:
        response = await call
    assert response.message.content == "at last"
    assert [(attempt.number, attempt.delay > 0.01) for attempt in observer.attempts] == [(1, False), (2, False)]
    assert [handle.ends[0][1] is None for handle in observer.handles] == [True, False, True]
    assert observer.only.result == response


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_is_not(serve: Serve, connect: Connect, status: int) -> None:
    server = serve(Reply(status=status, headers=AT_ONCE))
    with pytest.raises(LiteLLMAPIError):
        await connect(server, max_retries=3).call(messages=HELLO)
    assert len(server.requests) == 1


async def test_the_last_error_is_raised(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(status=500, headers=AT_ONCE, text="first"), Reply(status=503, headers=AT_ONCE, text="second"))
    with pytest.raises(LiteLLMAPIError, match="503 Service Unavailable: second"):
        await connect(server, max_retries=1).call(messages=HELLO)
    assert len(server.requests) == 2
    assert len(observer.attempts) == 2


async def test_nothing_is_tried_again_once_something_was_streamed(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="half an answer", cut_after=2), Reply(text="whole"))
    with pytest.raises(LiteLLMStreamError):
        async for _ in connect(server, max_retries=3).call(messages=HELLO):
            pass
    assert len(server.requests) == 1


async def test_retry_after_is_waited_for(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(status=429, headers={"retry-after": "0.3"}), Reply(text="hi"))
    started = time.monotonic()
    await connect(server, max_retries=1).call(messages=HELLO)
    assert time.monotonic() - started >= 0.3
    assert [attempt.delay for attempt in observer.attempts] == [0.0, 0.3]


async def test_a_wait_beyond_the_deadline_is_not_begun(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(status=429, headers={"retry-after": "3600"}))
    with pytest.raises(LiteLLMRateLimitError) as caught:
        await connect(server, max_retries=3, timeout=20.0).call(messages=HELLO)
    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


async def test_all_tries_share_one_deadline(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(status=500, headers=AT_ONCE), Reply(delay=60))
    with pytest.raises(LiteLLMTimeoutError, match=r"after 0\.4s"):
        await connect(server, max_retries=9, timeout=0.4).call(messages=HELLO)
    assert len(server.requests) == 2


async def test_leaving_during_a_try_is_seen_as_such(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(Reply(text="one two", chunk_size=4, chunk_delay=0.3))
    stream = aiter(connect(server, max_retries=1).call(messages=HELLO))
    await anext(stream)
    await stream.aclose()
    assert [type(handle.ends[0][1]) for handle in observer.handles] == [GeneratorExit, GeneratorExit]


async def test_a_refused_connection_is_tried_again(
    observer: RememberingObserver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("looopy_otel.providers.sending.FIRST_DELAY", 0.001)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with pytest.raises(LiteLLMConnectionError, match="ECONNREFUSED"):
        await LiteLLMProvider(base_url=f"http://127.0.0.1:{port}", model="gpt-4", max_retries=2).call(messages=HELLO)
    assert [attempt.number for attempt in observer.attempts] == [1, 2, 3]

"""A sync client of the user: its connections stay in good order, and no thread of ours holds anything up."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from looopy_otel.core.types import ContentComplete, ContentDelta
from looopy_otel.providers import (
    LiteLLMConfigError,
    LiteLLMConnectionError,
    LiteLLMProvider,
    LiteLLMStreamError,
    LiteLLMTimeoutError,
    Reply,
)
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver
from tests.providers.raw_server import raw_server

HELLO = [{"role": "user", "content": "Hello!"}]
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "on and on "}}]}\n\n'


async def test_every_form_of_a_call(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve(Reply(text="hi", usage={"prompt_tokens": 1, "completion_tokens": 2}))
    with httpx.Client(headers={"x-mine": "yes"}) as client:
        provider = connect(server, http_client=client)
        plain = await provider.call(messages=HELLO)
        events = [event async for event in provider.call(messages=HELLO)]
        assert (await asyncio.gather(provider.call(messages=HELLO), provider.call(messages=HELLO)))[0] is not None
        assert provider.call_sync(messages=HELLO).message == plain.message
    assert isinstance(events[-1], ContentComplete)
    assert events[-1].response.message == plain.message
    assert {request.headers["x-mine"] for request in server.requests} == {"yes"}
    assert all(handle.error is None for handle in observer.handles)


async def test_failures(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(cut_after=-1), Reply(text="half an answer", cut_after=2), Reply(delay=2))
    with httpx.Client() as client:
        provider = connect(server, http_client=client)
        with pytest.raises(LiteLLMConnectionError, match="ECONNRESET"):
            await provider.call(messages=HELLO)
        with pytest.raises(LiteLLMStreamError, match="before the answer was complete"):
            async for _ in provider.call(messages=HELLO):
                pass
        provider.update_config(timeout=0.2)
        with pytest.raises(LiteLLMTimeoutError, match=r"after 0\.2s"):
            await provider.call(messages=HELLO)


def test_calls_one_after_the_other_share_a_connection(serve: Serve, connect: Connect) -> None:
    server = serve()
    with httpx.Client() as client:
        provider = connect(server, http_client=client)
        for _ in range(10):
            provider.call_sync(messages=HELLO)
    assert (len(server.requests), server.connections) == (10, 1)


async def test_many_calls_at_once_do_not_disturb_each_other(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi", delay=0.02))
    with httpx.Client(limits=httpx.Limits(max_connections=4)) as client:
        provider = connect(server, http_client=client)
        responses = await asyncio.gather(*(provider.call(messages=HELLO) for _ in range(40)))
    assert [response.message.content for response in responses] == ["hi"] * 40
    assert server.disconnects == 0


def test_requests_of_the_user_go_on_beside_calls(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi", delay=0.01))
    body = {"model": "mine", "messages": HELLO}
    outcomes: Counter[str] = Counter()
    over = threading.Event()

    def own_requests(client: httpx.Client) -> None:
        while not over.is_set():
            try:
                outcomes[str(client.post(f"{server.url}/v1/chat/completions", json=body).status_code)] += 1
            except httpx.HTTPError as error:
                outcomes[repr(error)] += 1

    with httpx.Client(limits=httpx.Limits(max_connections=1)) as client:
        thread = threading.Thread(target=own_requests, args=(client,))
        thread.start()
        provider = connect(server, http_client=client)
        try:
            for _ in range(20):
                provider.call_sync(messages=HELLO)
        finally:
            over.set()
            thread.join()
    assert set(outcomes) == {"200"}


async def test_leaving_a_stream_half_way_closes_its_connection(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve(Reply(text="one two", chunk_size=4, chunk_delay=0.3), Reply(text="hi"))
    with httpx.Client() as client:
        provider = connect(server, http_client=client)
        stream = aiter(provider.call(messages=HELLO))
        assert await anext(stream) == ContentDelta("one ")
        pending = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        pending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pending
        assert await asyncio.to_thread(server.wait_for_disconnects, 1)
        assert isinstance(observer.only.error, asyncio.CancelledError)
        assert observer.only.result is not None
        assert (observer.only.result.message.content, observer.only.result.outcome) == ("one ", "cancelled")
        assert (await provider.call(messages=HELLO)).message.content == "hi"


async def test_leaving_a_stream_that_has_fallen_silent_ends_its_thread() -> None:
    before = set(threading.enumerate())
    said = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + CHUNK
    with raw_server(said) as url, httpx.Client() as client:
        stream = aiter(LiteLLMProvider(base_url=url, model="gpt-4", http_client=client).call(messages=HELLO))
        await anext(stream)
        (thread,) = [new for new in set(threading.enumerate()) - before if new.name == "looopy-otel-request"]
        await stream.aclose()
        await asyncio.to_thread(thread.join, 10.0)
        assert not thread.is_alive()


class _Endless(httpx.SyncByteStream):
    """A body that goes on for as long as it is read, without a socket below it."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        while not self.closed.wait(0.01):
            yield CHUNK

    def close(self) -> None:
        self.closed.set()


async def test_the_thread_stops_reading_once_the_call_was_left() -> None:
    body = _Endless()
    headers = {"content-type": "text/event-stream"}
    with httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, headers=headers, stream=body))
    ) as mock:
        stream = aiter(LiteLLMProvider(base_url="http://x", model="gpt-4", http_client=mock).call(messages=HELLO))
        await anext(stream)
        await stream.aclose()
        try:
            assert await asyncio.to_thread(body.closed.wait, 10.0)
        finally:
            body.close()


class _Shared(httpx.BaseTransport):
    """Answers as HTTP/2 does, where one connection serves several requests."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.body = _Endless()

    def get_extra_info(self, name: str) -> object:
        return self._connection if name == "socket" else None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        trace: Any = request.extensions["trace"]
        trace("http2.send_request_headers.started", {})
        return httpx.Response(
            200,
            headers={"content-type": "text/event-stream"},
            stream=self.body,
            extensions={"http_version": b"HTTP/2", "network_stream": self},
        )


async def test_a_connection_that_serves_others_too_is_not_shut_down() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, httpx.Client(transport=(transport := _Shared(ours))) as client:
        stream = aiter(LiteLLMProvider(base_url="http://x", model="gpt-4", http_client=client).call(messages=HELLO))
        await anext(stream)
        await stream.aclose()
        assert await asyncio.to_thread(transport.body.closed.wait, 10.0)
        theirs.sendall(b"still open")
        assert ours.recv(100) == b"still open"


class _Watched(httpx.HTTPTransport):
    """Counts the requests that reach the connection pool."""

    def __init__(self, limits: httpx.Limits) -> None:
        super().__init__(limits=limits)
        self.arrived = threading.Semaphore(0)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.arrived.release()
        return super().handle_request(request)


async def test_a_call_that_was_left_in_the_queue_for_a_connection_sends_nothing(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi", delay=0.5), Reply(text="hi"))
    transport = _Watched(httpx.Limits(max_connections=1))
    with httpx.Client(transport=transport) as client:
        provider = connect(server, http_client=client)
        first = asyncio.create_task(provider.call(messages=[{"role": "user", "content": "first"}]))
        assert await asyncio.to_thread(server.wait_for_requests, 1)
        left = asyncio.create_task(provider.call(messages=[{"role": "user", "content": "left"}]))
        for _ in range(2):
            assert await asyncio.to_thread(transport.arrived.acquire, timeout=10.0)
        left.cancel()
        await asyncio.wait({left})
        await first
        await provider.call(messages=[{"role": "user", "content": "last"}])
    assert [request.json["messages"][0]["content"] for request in server.requests] == ["first", "last"]


def test_a_call_does_not_wait_for_the_threads_of_the_program(serve: Serve, connect: Connect) -> None:
    server = serve()
    release = threading.Event()

    async def call_while_the_pool_is_busy(client: httpx.Client) -> str | None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, release.wait, 20.0)
        try:
            response = await connect(server, http_client=client, timeout=5.0).call(messages=HELLO)
        finally:
            release.set()
            await busy
        return str(response.message.content)

    with httpx.Client() as client:
        assert asyncio.run(call_while_the_pool_is_busy(client)) == "Hello!"


PROGRAM = """
import asyncio, sys
import httpx
from looopy_otel.providers import LiteLLMProvider, LiteLLMTimeoutError

provider = LiteLLMProvider(base_url=sys.argv[1], model="gpt-4", timeout=0.3, http_client=httpx.Client())
messages = [{"role": "user", "content": "Hello!"}]
try:
    asyncio.run(provider.call(messages=messages)) if sys.argv[2] == "async" else provider.call_sync(messages=messages)
except LiteLLMTimeoutError as error:
    print(error)
"""


@pytest.mark.parametrize("form", ["async", "sync"])
def test_headers_that_come_byte_by_byte_hold_up_no_program(form: str) -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a") as url:
        ended = subprocess.run([sys.executable, "-c", PROGRAM, url, form], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("LiteLLM request timeout after 0.3s\n", "", 0)


async def test_a_closed_client_is_named() -> None:
    with httpx.Client() as closed:
        pass
    async with httpx.AsyncClient() as closed_async:
        pass
    for client in (closed, closed_async):
        with pytest.raises(LiteLLMConfigError, match="http_client: it is closed"):
            await LiteLLMProvider(base_url="http://127.0.0.1:9", model="gpt-4", http_client=client).call(messages=HELLO)

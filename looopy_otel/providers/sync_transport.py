"""HTTP with a sync client that the user gives: each request in a thread of its own.

The connections are the user's: one whose response is complete is back in the client's pool, where it may serve
another request already. So only the connection of an unfinished response is ever shut down.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any

import httpx

from looopy_otel.core.daemon_thread import in_daemon_thread
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.transport import (
    HTTPRequest,
    Incoming,
    SyncHTTPClient,
    SyncHTTPResponse,
    head_of,
    refuse_closed,
)

CLOSING_SECONDS = 1.0
"""How long the end of a call waits for its thread to close the connection."""


@asynccontextmanager
async def open_on_thread(client: SyncHTTPClient, request: HTTPRequest) -> AsyncGenerator[Incoming]:
    """Sends a request with a sync client.

    A call that ends before its request is on the wire sends none. One that ends within the response shuts its
    connection down. Between the two that is not possible, and the thread lives on until the headers are there or
    nothing came for the request's timeout.

    Raises:
        LiteLLMConfigError: If the client is closed.
    """
    refuse_closed(client)
    work = _ThreadedRequest(client, request, asyncio.get_running_loop())
    worker = asyncio.ensure_future(in_daemon_thread(work.run, name="looopy-otel-request"))
    worker.add_done_callback(lambda task: work.arrivals.put_nowait(None))
    try:
        yield Incoming(await _head(work, worker), _pieces(work, worker))
    finally:
        worker.add_done_callback(lambda task: task.cancelled() or task.exception())
        if work.leave() and not worker.done():
            await asyncio.wait({worker}, timeout=CLOSING_SECONDS)
        worker.cancel()


class _LeftError(Exception):
    """The call has ended; nobody hears of this."""


class _ThreadedRequest:
    """What the thread of one request and its event loop know of each other."""

    def __init__(self, client: SyncHTTPClient, request: HTTPRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.arrivals: asyncio.Queue[ResponseHead | bytes | None] = asyncio.Queue()
        self._client = client
        self._request = request
        self._loop = loop
        self._left = threading.Event()
        self._lock = threading.Lock()
        self._traced = False
        self._socket: socket.socket | None = None  # while a response is unfinished

    def run(self) -> None:
        """Sends the request and hands over what comes; on the thread."""
        if self._left.is_set():
            return
        with self._stream() as response:
            self._socket = _socket_of(response) if self._traced else None
            if self._left.is_set():
                return
            self._hand_over(head_of(response))
            for piece in response.iter_bytes():
                if self._left.is_set():
                    return
                self._hand_over(piece)

    def leave(self) -> bool:
        """Makes the thread stop; True when its connection was shut down, so that it stops at once."""
        with self._lock:
            self._left.set()
            if self._socket is None:
                return False
            with suppress(OSError):
                # Not SSLSocket's own, which takes the TLS away from under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            return True

    def _stream(self) -> AbstractContextManager[SyncHTTPResponse]:
        client, request = self._client, self._request
        if isinstance(client, httpx.Client):
            return client.stream(
                "POST",
                request.url,
                content=request.body,
                headers=dict(request.headers),
                timeout=request.timeout,
                extensions={"trace": self._trace},
            )
        return client.stream(
            "POST", request.url, content=request.body, headers=request.headers, timeout=request.timeout
        )

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follows what httpx does: https://www.python-httpx.org/advanced/extensions/#trace."""
        if event in _BEFORE_SENDING and self._left.is_set():
            # It waited for a connection of the pool meanwhile.
            raise _LeftError
        self._traced = True
        if event == _RESPONSE_IS_OVER:
            with self._lock:
                self._socket = None

    def _hand_over(self, item: ResponseHead | bytes) -> None:
        # A closed loop waits for nothing.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.arrivals.put_nowait, item)


_BEFORE_SENDING = frozenset(
    {"connection.connect_tcp.started", "http11.send_request_headers.started", "http2.send_request_headers.started"}
)
_RESPONSE_IS_OVER = "http11.response_closed.started"
"""What comes next gives the connection back to the pool, or closes it."""


async def _head(work: _ThreadedRequest, worker: asyncio.Future[None]) -> ResponseHead:
    head = await work.arrivals.get()
    if not isinstance(head, ResponseHead):
        worker.result()
        raise RuntimeError("the http client gave no response")
    return head


async def _pieces(work: _ThreadedRequest, worker: asyncio.Future[None]) -> AsyncIterator[bytes]:
    while isinstance(piece := await work.arrivals.get(), bytes):
        yield piece
    worker.result()


def _socket_of(response: SyncHTTPResponse) -> socket.socket | None:
    """The socket below a response of httpx: https://www.python-httpx.org/advanced/extensions/#network_stream.

    None with HTTP/2, where other requests may be on the same connection.
    """
    extensions: Any = getattr(response, "extensions", None) or {}
    if not extensions.get("http_version", b"").startswith(b"HTTP/1"):
        return None
    stream: Any = extensions.get("network_stream")
    found: Any = stream.get_extra_info("socket") if stream is not None else None
    return found if isinstance(found, socket.socket) else None

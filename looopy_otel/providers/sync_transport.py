"""HTTP with a sync client that the user gives: each request on a worker thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.transport import HTTPRequest, Incoming, SyncHTTPClient, SyncHTTPResponse, head_of

CLOSING_SECONDS = 1.0
"""How long the end of a call waits for its thread to close the connection."""


@asynccontextmanager
async def open_on_thread(client: SyncHTTPClient, request: HTTPRequest) -> AsyncGenerator[Incoming]:
    """Sends a request with a sync client.

    A call that ends early shuts its connection down; before the response's headers that is not possible, and the
    thread lives on until they come or the request's timeout is over.
    """
    work = _ThreadedRequest(client, request, asyncio.get_running_loop())
    worker = asyncio.ensure_future(asyncio.to_thread(work.run))
    worker.add_done_callback(lambda task: work.arrivals.put_nowait(None))
    try:
        yield Incoming(await _head(work, worker), _pieces(work, worker))
    finally:
        if work.leave() and not worker.done():
            await asyncio.wait({worker}, timeout=CLOSING_SECONDS)
        worker.add_done_callback(lambda task: task.cancelled() or task.exception())


class _ThreadedRequest:
    """What the thread of one request and its event loop know of each other."""

    def __init__(self, client: SyncHTTPClient, request: HTTPRequest, loop: asyncio.AbstractEventLoop) -> None:
        self.arrivals: asyncio.Queue[ResponseHead | bytes | None] = asyncio.Queue()
        self._client = client
        self._request = request
        self._loop = loop
        self._left = threading.Event()
        self._socket: socket.socket | None = None

    def run(self) -> None:
        """Sends the request and hands over what comes; on the thread."""
        request = self._request
        with self._client.stream(
            "POST", request.url, content=request.body, headers=request.headers, timeout=request.timeout
        ) as response:
            self._socket = _socket_of(response)
            self._hand_over(head_of(response))
            for piece in response.iter_bytes():
                if self._left.is_set():
                    return
                self._hand_over(piece)

    def leave(self) -> bool:
        """Makes the thread stop reading; False when nothing is known of its connection."""
        self._left.set()
        if self._socket is None:
            return False
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        return True

    def _hand_over(self, item: ResponseHead | bytes) -> None:
        # A closed loop waits for nothing.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.arrivals.put_nowait, item)


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
    """The socket below a response of httpx: https://www.python-httpx.org/advanced/extensions/#network_stream."""
    extensions: Any = getattr(response, "extensions", None) or {}
    stream: Any = extensions.get("network_stream")
    found: Any = stream.get_extra_info("socket") if stream is not None else None
    return found if isinstance(found, socket.socket) else None

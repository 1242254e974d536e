"""HTTP: one httpx client per event loop, closed when its loop ends, or the client that the user gives."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol, TypeAlias

import httpx

from looopy_otel.providers.response_head import ResponseHead


class HTTPResponse(Protocol):
    """What every response of an HTTP client has."""

    @property
    def status_code(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header names and values."""
        ...


class AsyncHTTPResponse(HTTPResponse, Protocol):
    """A streamed response of an async client."""

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """The decoded body, piece by piece."""
        ...


class SyncHTTPResponse(HTTPResponse, Protocol):
    """A streamed response of a sync client."""

    def iter_bytes(self) -> Iterator[bytes]:
        """The decoded body, piece by piece."""
        ...


class AsyncHTTPClient(Protocol):
    """What is used of an async client; ``httpx.AsyncClient`` is one."""

    def stream(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> AbstractAsyncContextManager[AsyncHTTPResponse]:
        """Sends a request and gives the response once its headers are there."""
        ...

    async def aclose(self) -> None:
        """Closes the client's connections."""
        ...


class SyncHTTPClient(Protocol):
    """What is used of a sync client; ``httpx.Client`` is one."""

    def stream(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str], timeout: float | None
    ) -> AbstractContextManager[SyncHTTPResponse]:
        """Sends a request and gives the response once its headers are there."""
        ...

    def close(self) -> None:
        """Closes the client's connections."""
        ...


HTTPClient: TypeAlias = AsyncHTTPClient | SyncHTTPClient


@dataclass(frozen=True, slots=True)
class HTTPRequest:
    """One POST.

    Attributes:
        url: Where to.
        headers: Header names and values.
        body: The bytes to send.
        timeout: Seconds; only for clients that cannot be cancelled.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float


@dataclass(frozen=True, slots=True)
class Incoming:
    """A response whose headers are there.

    Attributes:
        head: Status and headers.
        pieces: The decoded body, as it arrives.
    """

    head: ResponseHead
    pieces: AsyncIterator[bytes]


OpenResponse: TypeAlias = Callable[[HTTPRequest], AbstractAsyncContextManager[Incoming]]


def head_of(response: HTTPResponse) -> ResponseHead:
    """Status and headers of a response."""
    return ResponseHead(response.status_code, {name.lower(): value for name, value in response.headers.items()})


@asynccontextmanager
async def open_with(client: AsyncHTTPClient, request: HTTPRequest) -> AsyncGenerator[Incoming]:
    """Sends a request with an async client; without a timeout of its own, for the call's deadline rules."""
    async with client.stream(
        "POST", request.url, content=request.body, headers=request.headers, timeout=None
    ) as response:
        yield Incoming(head_of(response), response.aiter_bytes())


@dataclass(frozen=True, slots=True)
class _Kept:
    client: httpx.AsyncClient
    keeper: AsyncGenerator[None]


class ClientPool:
    """One ``httpx.AsyncClient`` per event loop, since a connection belongs to the loop that opened it.

    Each is closed with its loop, by ``loop.shutdown_asyncgens()``, which ``asyncio.run`` calls; or when the pool is
    dropped; or by `aclose`.
    """

    def __init__(self) -> None:
        self._kept: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._lock = threading.Lock()

    @asynccontextmanager
    async def open(self, request: HTTPRequest) -> AsyncGenerator[Incoming]:
        """Sends a request with the client of the running loop."""
        async with open_with(await self._client(), request) as incoming:
            yield incoming

    async def aclose(self) -> None:
        """Closes the client of the running loop, and has the others close on theirs."""
        with self._lock:
            mine = self._kept.pop(asyncio.get_running_loop(), None)
            self._kept.clear()
        if mine is not None:
            await mine.keeper.aclose()

    def close(self) -> None:
        """Has every client close on its loop, as soon as that runs."""
        with self._lock:
            self._kept.clear()

    async def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            kept = self._kept.get(loop)
            if kept is not None:
                return kept.client
            for other in [other for other in self._kept if other.is_closed()]:
                del self._kept[other]
            client = httpx.AsyncClient(verify=_tls(), timeout=None, limits=httpx.Limits(max_keepalive_connections=20))
            kept = self._kept[loop] = _Kept(client, _keep(client))
        await anext(kept.keeper)
        return client


async def _keep(client: httpx.AsyncClient) -> AsyncGenerator[None]:
    """Stands for the client among the loop's async generators, which the loop closes when it ends."""
    try:
        yield
    finally:
        await client.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """Loading the certificates takes milliseconds: once per process."""
    return httpx.create_ssl_context()

"""HTTP: one httpx client per event loop, closed when its loop ends, or the client that the user gives."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol, TypeAlias
from weakref import WeakSet

import httpx

from looopy_otel.providers.errors import LiteLLMConfigError
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


def is_http_client(value: object) -> bool:
    """True for what has the methods of an ``httpx.AsyncClient`` or of an ``httpx.Client``."""
    closes = getattr(value, "aclose", None) or getattr(value, "close", None)
    return callable(getattr(value, "stream", None)) and callable(closes) and not isinstance(value, type)


def refuse_closed(client: HTTPClient) -> None:
    """Says that a client cannot be used any more, where it tells.

    Raises:
        LiteLLMConfigError: If the client is closed.
    """
    if getattr(client, "is_closed", False) is True:
        raise LiteLLMConfigError("http_client: it is closed; give the provider one that is open, or None")


@asynccontextmanager
async def open_with(client: AsyncHTTPClient, request: HTTPRequest) -> AsyncGenerator[Incoming]:
    """Sends a request with an async client; without a timeout of its own, for the call's deadline rules.

    Raises:
        LiteLLMConfigError: If the client is closed, or belongs to another event loop.
    """
    refuse_closed(client)
    try:
        async with client.stream(
            "POST", request.url, content=request.body, headers=request.headers, timeout=None
        ) as response:
            yield Incoming(head_of(response), response.aiter_bytes())
    except RuntimeError as error:
        # asyncio's words for a connection that was opened on a loop that has ended, or that runs elsewhere.
        if "event loop" not in str(error).lower():
            raise
        raise LiteLLMConfigError(
            "http_client: its connections belong to another event loop; give none (the provider keeps one client per "
            f"loop), one per loop, or an httpx.Client ({error})"
        ) from error


class ClientUser:
    """Stands for one provider among the users of a client."""


class _Kept:
    """The client of one event loop, who uses it, and what closes it when the loop ends."""

    def __init__(self) -> None:
        self.client = httpx.AsyncClient(
            verify=_tls(),
            timeout=None,
            limits=httpx.Limits(max_keepalive_connections=20),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )
        self.keeper = _keep(self.client)
        self.users: WeakSet[ClientUser] = WeakSet()


class ClientPool:
    """One ``httpx.AsyncClient`` per event loop, since a connection belongs to the loop that opened it.

    All providers share it; it keeps no cookies. It is closed with its loop, by ``loop.shutdown_asyncgens()``, which
    ``asyncio.run`` calls, or when the last provider that used it is closed.
    """

    def __init__(self) -> None:
        self._kept: dict[asyncio.AbstractEventLoop, _Kept] = {}
        self._lock = threading.Lock()

    @asynccontextmanager
    async def open(self, user: ClientUser, request: HTTPRequest) -> AsyncGenerator[Incoming]:
        """Sends a request with the client of the running loop."""
        async with open_with(await self._client(user), request) as incoming:
            yield incoming

    async def leave(self, user: ClientUser) -> None:
        """Closes the client of the running loop, if nobody but `user` has used it."""
        with self._lock:
            loop = asyncio.get_running_loop()
            kept = self._kept.get(loop)
            if kept is None:
                return
            kept.users.discard(user)
            if kept.users:
                return
            del self._kept[loop]
        await kept.keeper.aclose()

    async def _client(self, user: ClientUser) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            kept = self._kept.get(loop)
            known = kept is not None
            if kept is None:
                for other in [other for other in self._kept if other.is_closed()]:
                    del self._kept[other]
                kept = self._kept[loop] = _Kept()
            kept.users.add(user)
        if not known:
            await anext(kept.keeper)
        return kept.client


clients = ClientPool()


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

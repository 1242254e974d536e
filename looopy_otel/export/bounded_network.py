"""Connections that keep one deadline over all steps of a request: httpcore's own limits are for each step."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

from looopy_otel.export.proxy import Proxy

_CHUNK = 64 * 1024


class BoundedNetwork(httpcore.NetworkBackend):
    """Opens connections on which no step lasts beyond `deadline`; the look-up of a name is the system's to bound.

    Attributes:
        deadline: A value of `time.monotonic`, set before each request; one request at a time.
    """

    def __init__(self) -> None:
        self.deadline = math.inf
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connects, within what is left."""
        left = self.left(httpcore.ConnectTimeout)
        return BoundedStream(self._network.connect_tcp(host, port, left, local_address, socket_options), self)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Connects, within what is left."""
        left = self.left(httpcore.ConnectTimeout)
        return BoundedStream(self._network.connect_unix_socket(path, left, socket_options), self)

    def sleep(self, seconds: float) -> None:
        """Sleeps, not beyond what is left."""
        time.sleep(min(seconds, self.left(httpcore.ConnectTimeout)))

    def left(self, error: type[httpcore.TimeoutException]) -> float:
        """Seconds until the deadline.

        Raises:
            TimeoutException: Of that class, when it has passed.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise error("the request took too long")
        return left


class BoundedStream(httpcore.NetworkStream):
    """A connection of a `BoundedNetwork`."""

    def __init__(self, stream: httpcore.NetworkStream, network: BoundedNetwork) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads what comes, within what is left."""
        return self._stream.read(max_bytes, self._network.left(httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Writes all, within what is left."""
        for start in range(0, len(buffer), _CHUNK):
            self._stream.write(buffer[start : start + _CHUNK], self._network.left(httpcore.WriteTimeout))

    def close(self) -> None:
        """Closes the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Begins TLS, within what is left."""
        left = self._network.left(httpcore.ConnectTimeout)
        return BoundedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._network)

    def get_extra_info(self, info: str) -> Any:
        """What the connection tells of itself."""
        return self._stream.get_extra_info(info)


def opened_pool(url: httpx.URL, network: BoundedNetwork, authority: str | None) -> httpcore.ConnectionPool:
    """Opens a pool for one endpoint, through the proxy that the environment names for it.

    Args:
        url: The endpoint.
        network: Opens the connections.
        authority: Path of a CA bundle; None for the one that httpx trusts.

    Raises:
        OSError: If the bundle cannot be read.
        ValueError: If the proxy's URL is none.
        ImportError: If the proxy speaks SOCKS, and the package for that is not installed.
    """
    context = trust(authority)
    proxy = Proxy.of(url.scheme, url.host)
    if proxy is None:
        return httpcore.ConnectionPool(ssl_context=context, network_backend=network)
    user, password = proxy.credentials or ("", "")
    auth = (user.encode(), password.encode()) if user else None
    kind = httpcore.SOCKSProxy if proxy.speaks_socks else httpcore.HTTPProxy
    return kind(proxy_url=proxy.url, proxy_auth=auth, ssl_context=context, network_backend=network)


def trust(authority: str | None) -> ssl.SSLContext:
    """What is trusted: the CA bundle at that path, else what httpx trusts, which is told by ``SSL_CERT_FILE`` too.

    Raises:
        OSError: If the bundle cannot be read.
    """
    return ssl.create_default_context(cafile=authority) if authority else httpx.create_ssl_context()

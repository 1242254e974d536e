"""One POST to an OTLP/HTTP endpoint, and what its answer means."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Iterable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from opentelemetry import context

from looopy_otel.core.config import library_version
from looopy_otel.core.endpoint import LANGFUSE_OTLP_PATH
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.encoded import GZIP_MAGIC
from looopy_otel.export.verdict import Verdict, judge, masked, public_url, secrets_in

if TYPE_CHECKING:
    import httpcore
    import httpx

    from looopy_otel.export.bounded_network import BoundedNetwork

PROTOBUF: Final = "application/x-protobuf"
SUPPRESS_INSTRUMENTATION: Final = "suppress_instrumentation"
"""OpenTelemetry's context key under which its HTTP client instrumentations make no spans."""
_ANSWER_LIMIT = 64 * 1024


class Post:
    """Posts to one endpoint over connections of its own, which are opened at the first request; one request at a time.

    Args:
        destination: The endpoint.
        things: What is sent, as messages call it.
    """

    def __init__(self, destination: HTTPDestination, *, things: str = "spans") -> None:
        self._destination = destination
        self._things = things
        self._secrets = secrets_in(destination.headers)
        self._langfuse = LANGFUSE_OTLP_PATH in destination.endpoint
        self.reset()

    def reset(self) -> None:
        """Forgets the connections, which in a forked child are the parent's."""
        self._posting = threading.Lock()
        self._pool: httpcore.ConnectionPool | None = None
        self._network: BoundedNetwork | None = None

    def send(self, body: bytes, *, timeout: float | None = None) -> Verdict:
        """Posts one body, compressed or not; raises nothing that a network can cause.

        Args:
            body: The export request.
            timeout: Seconds for the whole request, where less than the destination's own is left.
        """
        timeout = self._destination.timeout if timeout is None else min(self._destination.timeout, timeout)
        if not self._posting.acquire(timeout=timeout):
            return Verdict("retry", "busy", "another request is under way")
        try:
            return self._send(body, timeout)
        finally:
            self._posting.release()

    def _send(self, body: bytes, timeout: float) -> Verdict:
        # Loaded on a thread of ours, at the first batch, so that no start of a program pays for it.
        try:
            import httpcore
        except ImportError as error:
            return self._unreachable("client", "no HTTP client", error)
        try:
            status, headers, answer = self._exchange(body, time.monotonic() + timeout)
        except httpcore.TimeoutException as error:
            return self._unreachable("timeout", f"no answer within {timeout:g} s", error)
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
            return self._unreachable("connection", "no connection", error)
        except (OSError, ImportError, ValueError, RuntimeError, httpcore.UnsupportedProtocol) as error:
            return self._unreachable("client", "no HTTP client", error)
        url = self._destination.endpoint
        return judge(status, headers, answer, endpoint=url, langfuse=self._langfuse, things=self._things)

    def _exchange(self, body: bytes, deadline: float) -> tuple[int, dict[str, str], bytes]:
        import httpcore
        import httpx

        url = httpx.URL(self._destination.endpoint)
        pool, network = self._opened(url)
        network.deadline = deadline
        address = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        headers = request_headers(self._destination, url, body)
        with pool.stream("POST", address, headers=headers, content=body) as response:
            answer = _beginning(response, deadline)
        return response.status, plain_headers(response.headers), answer

    def message(self, verdict: Verdict) -> str:
        """What a verdict says, without the secrets of the headers."""
        return masked(verdict.message, self._secrets)

    def close(self) -> None:
        """Closes the connections, unless a request is under way."""
        if self._posting.acquire(blocking=False):
            try:
                pool, self._pool = self._pool, None
                if pool is not None:
                    pool.close()
            finally:
                self._posting.release()

    def _opened(self, url: httpx.URL) -> tuple[httpcore.ConnectionPool, BoundedNetwork]:
        from looopy_otel.export.bounded_network import BoundedNetwork, opened_pool

        if self._pool is None or self._network is None:
            self._network = BoundedNetwork()
            self._pool = opened_pool(url, self._network, self._destination.certificate)
        return self._pool, self._network

    def _unreachable(self, reason: str, what: str, error: Exception) -> Verdict:
        text = str(error)
        hint = ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "; its certificate is not trusted here: set OTEL_EXPORTER_OTLP_CERTIFICATE to your CA bundle"
        elif "WRONG_VERSION_NUMBER" in text:
            hint = "; it does not speak TLS: http:// instead of https://?"
        where = public_url(self._destination.endpoint)
        return Verdict("retry", reason, f"{where}: {what} ({type(error).__name__}: {text}){hint}")


def request_headers(
    destination: HTTPDestination, url: httpx.URL, body: bytes | None, further: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[bytes, bytes]]:
    """All headers of a request but those that HTTP itself needs, as they go out.

    Args:
        destination: Whose headers are sent.
        url: What is asked; its user and password stand in for an authorization that is not set.
        body: What is posted, compressed or not; None for a GET.
        further: Headers to add or replace; their names in lower case.
    """
    headers = {name.lower(): value for name, value in destination.headers.items()}
    if url.userinfo and "authorization" not in headers:
        headers["authorization"] = f"Basic {b64encode(f'{url.username}:{url.password}'.encode()).decode()}"
    headers["user-agent"] = f"looopy-otel/{library_version()}"
    headers["accept"] = "*/*"
    if body is not None:
        headers["content-type"] = PROTOBUF
        if body.startswith(GZIP_MAGIC):
            headers["content-encoding"] = "gzip"
    headers |= further
    return [(name.encode("ascii"), value.encode("utf-8")) for name, value in headers.items()]


def plain_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers of an answer as texts, with lower-case names."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def suppress_instrumentation() -> None:
    """Has no HTTP client instrumentation make spans of the requests of this thread."""
    context.attach(context.set_value(SUPPRESS_INSTRUMENTATION, True))


def _beginning(response: httpcore.Response, deadline: float) -> bytes:
    """The first bytes of an answer, for as long as it takes at most."""
    found = b""
    for piece in response.iter_stream():
        found += piece
        if len(found) >= _ANSWER_LIMIT or time.monotonic() > deadline:
            break
    return found[:_ANSWER_LIMIT]


def load_network() -> None:
    """Imports what requests are made with."""
    import_module("looopy_otel.export.bounded_network")

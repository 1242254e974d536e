"""One POST to an OTLP/HTTP endpoint, and what its answer means."""

from __future__ import annotations

import ssl
import threading
import time
from typing import TYPE_CHECKING, Final

from opentelemetry import context

from looopy_otel.core.config import library_version
from looopy_otel.core.endpoint import LANGFUSE_OTLP_PATH
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.verdict import Verdict, judge, masked, public_url, secrets_in

if TYPE_CHECKING:
    import httpx

PROTOBUF: Final = "application/x-protobuf"
GZIP_MAGIC: Final = b"\x1f\x8b"
SUPPRESS_INSTRUMENTATION: Final = "suppress_instrumentation"
"""OpenTelemetry's context key under which its HTTP client instrumentations make no spans."""
_ANSWER_LIMIT = 64 * 1024


class Post:
    """Posts to one endpoint over one client, which is opened at the first request; one request at a time.

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
        """Forgets the client, which in a forked child is the parent's."""
        self._posting = threading.Lock()
        self._client: httpx.Client | None = None

    def send(self, body: bytes, *, timeout: float | None = None) -> Verdict:
        """Posts one body, compressed or not; raises nothing that a network can cause.

        Args:
            body: The export request.
            timeout: Seconds for each step, where less than the destination's own is left.
        """
        # Loaded on a thread of ours, at the first batch, so that no start of a program pays for it.
        import httpx

        compressed = body.startswith(GZIP_MAGIC)
        headers = {
            **self._destination.headers,
            "content-type": PROTOBUF,
            "user-agent": f"looopy-otel/{library_version()}",
            **({"content-encoding": "gzip"} if compressed else {}),
        }
        timeout = self._destination.timeout if timeout is None else min(self._destination.timeout, timeout)
        url = self._destination.endpoint
        try:
            with self._posting:
                client = self._opened()
                with client.stream("POST", url, content=body, headers=headers, timeout=timeout) as response:
                    answer = _beginning(response, timeout)
        except httpx.TimeoutException as error:
            return self._unreachable("timeout", f"no answer within {timeout:g} s", error)
        except httpx.RequestError as error:
            return self._unreachable("connection", "no connection", error)
        except (OSError, ImportError, ValueError) as error:
            return self._unreachable("client", "no HTTP client", error)
        names = {name.lower(): value for name, value in response.headers.items()}
        return judge(response.status_code, names, answer, endpoint=url, langfuse=self._langfuse, things=self._things)

    def message(self, verdict: Verdict) -> str:
        """What a verdict says, without the secrets of the headers."""
        return masked(verdict.message, self._secrets)

    def close(self) -> None:
        """Closes the client, unless a request is under way."""
        if self._posting.acquire(blocking=False):
            try:
                client, self._client = self._client, None
                if client is not None:
                    client.close()
            finally:
                self._posting.release()

    def _opened(self) -> httpx.Client:
        import httpx

        if self._client is None:
            authority = self._destination.certificate
            verify = ssl.create_default_context(cafile=authority) if authority else True
            self._client = httpx.Client(verify=verify)
        return self._client

    def _unreachable(self, reason: str, what: str, error: Exception) -> Verdict:
        text = str(error)
        hint = ""
        if "CERTIFICATE_VERIFY_FAILED" in text:
            hint = "; its certificate is not trusted here: set OTEL_EXPORTER_OTLP_CERTIFICATE to your CA bundle"
        elif "WRONG_VERSION_NUMBER" in text:
            hint = "; it does not speak TLS: http:// instead of https://?"
        where = public_url(self._destination.endpoint)
        return Verdict("retry", reason, f"{where}: {what} ({type(error).__name__}: {text}){hint}")


def suppress_instrumentation() -> None:
    """Has no HTTP client instrumentation make spans of the requests of this thread."""
    context.attach(context.set_value(SUPPRESS_INSTRUMENTATION, True))


def _beginning(response: httpx.Response, seconds: float) -> bytes:
    """The first bytes of an answer, for as long as it takes at most."""
    until = time.monotonic() + seconds
    found = b""
    for piece in response.iter_raw():
        found += piece
        if len(found) >= _ANSWER_LIMIT or time.monotonic() > until:
            break
    return found[:_ANSWER_LIMIT]

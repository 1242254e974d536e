"""One request to an endpoint and its answer, with the destination's own headers and trust, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from looopy_otel.cli.checks.check import within
from looopy_otel.core.config import library_version
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.deadline import remaining
from looopy_otel.export.post import plain_headers, request_headers

if TYPE_CHECKING:
    import httpcore

ANSWER_LIMIT: Final = 256 * 1024
_JSON: Final = {"accept": "application/json"}
_PLAIN: Final = {"accept-encoding": "identity"}
"""An answer that is compressed can be of any size."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: The HTTP status.
        headers: With lower-case names.
        body: At most `ANSWER_LIMIT` bytes of it.
        sent_at: Unix time in seconds, before the request.
        seconds: How long it took.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_at: float
    seconds: float

    @property
    def kind(self) -> str:
        """The content type, without parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing came back that can be read as HTTP.

    Attributes:
        reason: ``timeout``, ``garbage`` (an answer that is not HTTP), ``proxy`` or ``connection``.
        said: In one line, without secrets.
    """

    reason: Literal["timeout", "garbage", "proxy", "connection"]
    said: str


def ask(
    destination: HTTPDestination,
    deadline: float,
    *,
    url: str | None = None,
    body: bytes | None = None,
) -> Answer | Silence:
    """Makes one request; follows no redirect, so that credentials go to the configured host alone.

    Args:
        destination: The endpoint; its headers are sent.
        deadline: A value of `time.monotonic`; kept also where an answer drips in.
        url: Another URL of the same host.
        body: Posted as protobuf, compressed or not; None for a GET of JSON.
    """
    results: list[Answer | Silence] = []
    seconds = remaining(deadline)

    def exchange() -> None:
        results.append(_exchanged(destination, url or destination.endpoint, body, seconds))

    if not within(deadline, exchange):
        return Silence("timeout", f"no whole answer in {seconds:.0f} s")
    return results[0]


def _exchanged(destination: HTTPDestination, url: str, body: bytes | None, seconds: float) -> Answer | Silence:
    # The very request that the sender makes: what one of the two can send, so can the other.
    import httpcore
    import httpx

    from looopy_otel.export.bounded_network import BoundedNetwork, opened_pool

    further = {**_PLAIN, **(_JSON if body is None else {}), "user-agent": f"looopy-otel/{library_version()} doctor"}
    sent_at, started = time.time(), time.monotonic()
    try:
        asked, network = httpx.URL(url), BoundedNetwork()
        network.deadline = started + seconds
        address = httpcore.URL(scheme=asked.raw_scheme, host=asked.raw_host, port=asked.port, target=asked.raw_path)
        headers = request_headers(destination, asked, body, further)
        with (
            opened_pool(asked, network, destination.certificate) as pool,
            pool.stream("GET" if body is None else "POST", address, headers=headers, content=body) as response,
        ):
            answer = _beginning(response)
    except httpcore.TimeoutException:
        return Silence("timeout", f"no answer in {seconds:.0f} s")
    except httpcore.ProxyError as error:
        return Silence("proxy", str(error))
    except httpcore.RemoteProtocolError as error:
        return Silence("garbage", str(error))
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ImportError, ValueError, RuntimeError) as error:
        return Silence("connection", f"{type(error).__name__}: {error}")
    return Answer(response.status, plain_headers(response.headers), answer, sent_at, time.monotonic() - started)


def _beginning(response: httpcore.Response) -> bytes:
    found = b""
    for piece in response.iter_stream():
        found += piece
        if len(found) >= ANSWER_LIMIT:
            break
    return found[:ANSWER_LIMIT]

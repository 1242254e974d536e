"""What the answer of an OTLP/HTTP endpoint means: delivered, try again, or never; with the likely cause in words."""

from __future__ import annotations

import binascii
import math
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

from looopy_otel.core.endpoint import METRICS_PATH, TRACES_PATH
from looopy_otel.core.secrets import redact_or_hide

LONGEST_RETRY_AFTER = 300.0
MASK = "***"
_SHORTEST_SECRET = 6
_RETRIED = frozenset({408, 425, 429})
_MOST_READ = 4000
_MESSAGE_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a batch.

    Attributes:
        kind: ``delivered``; ``retry`` for what may pass later; ``rejected`` for what never will.
        reason: Low-cardinality name of the failure, such as ``http-401`` or ``connection``; empty when delivered.
        message: The failure and its likely cause in one line, to be shown past `masked`; empty when delivered.
        wait: Seconds that the endpoint asks to wait before the next try, or None.
        divisible: True where the fault may lie in one span of the batch, so that parts of it may be accepted.
        rejected_spans: Spans that the endpoint left out of a batch that it took.
    """

    kind: Literal["delivered", "retry", "rejected"]
    reason: str = ""
    message: str = ""
    wait: float | None = None
    divisible: bool = False
    rejected_spans: int = 0


def judge(
    status: int, headers: Mapping[str, str], body: bytes, *, endpoint: str, langfuse: bool, things: str = "spans"
) -> Verdict:
    """Judges an answer.

    408, 425, 429 and every 5xx may pass later (Langfuse answers 500 when its own queue fails); any other answer than
    2xx never will. A 2xx of Langfuse means "stored and queued": it never reports a partial success, and its body is
    the JSON of a queue job. A web page, such as that of a login, is no answer of an OTLP endpoint, whatever its status.

    Args:
        status: The HTTP status.
        headers: The response headers, with lower-case names.
        body: The beginning of the response's body.
        endpoint: The URL that was asked.
        langfuse: True when the endpoint is a Langfuse.
        things: What was sent: ``spans``, or ``metrics``.
    """
    where = public_url(endpoint)
    route = METRICS_PATH if things == "metrics" else TRACES_PATH
    if 200 <= status < 300:
        if _is_page(headers, body):
            cause = f"with a web page, which took nothing; an OTLP endpoint usually ends in {route}"
            return Verdict("retry", "web-page", f"{where} answered {status} {cause}")
        return _partial_success(headers, body, things)
    cause = _cause(status, langfuse, route)
    said = _one_line(body) if "html" not in headers.get("content-type", "") else ""
    message = f"{where} answered {status}" + (f": {cause}" if cause else "") + (f" (it says: {said})" if said else "")
    if status in _RETRIED or status >= 500:
        return Verdict("retry", f"http-{status}", message, wait=retry_after(headers.get("retry-after")))
    return Verdict("rejected", f"http-{status}", message, divisible=status in (400, 413))


def _is_page(headers: Mapping[str, str], body: bytes) -> bool:
    return "html" in headers.get("content-type", "") and body.lstrip().startswith(b"<")


def retry_after(value: str | None) -> float | None:
    """Reads a ``Retry-After`` header, seconds or a date, as seconds from now (0 to 300); None when there is none."""
    if not value:
        return None
    try:
        seconds = _seconds_until(value)
    except (ValueError, OverflowError, IndexError, TypeError):
        # The header's parser raises the last three for numbers out of range and dates with parts missing.
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None


def _seconds_until(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()


def public_url(url: str) -> str:
    """A URL without user, password, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def secrets_in(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Every form in which a secret of these headers could appear in a text, longest first."""
    found: set[str] = set()
    for value in headers.values():
        token = value.rpartition(" ")[2]
        found.update((value, token))
        if value.lower().startswith("basic "):
            found.update(_decoded(token))
    return tuple(sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True))


def masked(text: str, secrets: tuple[str, ...]) -> str:
    """The text, kept short, without these secrets and without any that the endpoint echoes from what was sent."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    # Cut short only now: half a secret is not known for one.
    text = redact_or_hide(text, "export.verdict")
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "…"


def _decoded(token: str) -> tuple[str, ...]:
    try:
        pair = b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ()
    return pair, pair.partition(":")[2]


def _cause(status: int, langfuse: bool, route: str) -> str:
    keys = (
        "check LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY, and that they belong to this host and region"
        if langfuse
        else "check the authorization in the exporter's headers"
    )
    causes = {
        401: f"the keys are wrong or missing; {keys}",
        403: f"the keys may not write here; {keys}",
        404: f"nothing listens at this path; an OTLP endpoint usually ends in {route}"
        + (", at Langfuse in /api/public/otel/v1/traces" if langfuse else ""),
        405: f"this path takes no POST; an OTLP endpoint usually ends in {route}",
        413: "the request is too large for it or for a proxy before it; raise its body limit",
        415: "it does not take OTLP over HTTP with protobuf; a gRPC port (4317) is not an HTTP port (4318)",
        429: "too many requests; it asks to slow down",
    }
    if 300 <= status < 400:
        return "it redirects; set the URL that it redirects to as the endpoint (http instead of https?)"
    return causes.get(status, "")


def _one_line(said: bytes) -> str:
    text = said[:_MOST_READ].decode("utf-8", errors="replace")
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def _partial_success(headers: Mapping[str, str], body: bytes, things: str) -> Verdict:
    if not body or "protobuf" not in headers.get("content-type", ""):
        return Verdict("delivered")
    # Loaded here because the encoder's classes shall load on the worker's and the sender's threads only.
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    # The answer to metrics has the same two fields under the same numbers.
    response = ExportTraceServiceResponse()
    try:
        response.ParseFromString(body)
    except DecodeError:
        return Verdict("delivered")
    partial = response.partial_success
    if partial.rejected_spans <= 0:
        return Verdict("delivered")
    said = _one_line(partial.error_message.encode())
    message = f"the endpoint took the batch without {partial.rejected_spans} {things}: {said}"
    return Verdict("delivered", "partial-success", message, rejected_spans=partial.rejected_spans)

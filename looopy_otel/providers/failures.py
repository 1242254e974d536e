"""The error that a response means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import orjson

from looopy_otel.core.shapes.fields import as_text
from looopy_otel.providers.errors import (
    AUTHENTICATION_HINT,
    KEYLESS_HINT,
    NOT_FOUND_HINT,
    RATE_LIMIT_HINT,
    REQUEST_HINT,
    SERVER_HINT,
    STREAM_HINT,
    TIMEOUT_HINT,
    LiteLLMAPIError,
    LiteLLMAuthenticationError,
    LiteLLMRateLimitError,
    LiteLLMStreamError,
)
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.shape import as_object

MOST_READ = 4000
"""Characters of an error page that are looked at."""
LONGEST_MESSAGE = 380
"""Characters of an error's message."""


def error_of(body: bytes, head: ResponseHead, *, keyed: bool = True) -> LiteLLMAPIError:
    """The error that a response means.

    Its status is that of the response; of one that says 200 and holds an error, the error's own code.

    Args:
        body: Its body, or the beginning of it: JSON in LiteLLM's shape, or any error page.
        head: Its status and headers.
        keyed: False when the request had no key.
    """
    message, kind, code = _error_facts(body)
    status = _status_of(head, code)
    text = f"LiteLLM API error: {status} {phrase(status)}" + (f": {message}" if message else "")
    rejected = status in (401, 403) or "no_db_connection" in (kind, code) or "no connected db" in message.lower()
    which, hint = LiteLLMAPIError, _hint(status)
    if status == 500 and not keyed:
        hint = f"{hint} {KEYLESS_HINT}"
    if rejected:
        which, hint = LiteLLMAuthenticationError, AUTHENTICATION_HINT
    elif status == 429:
        which, hint = LiteLLMRateLimitError, RATE_LIMIT_HINT
    return which(text, status=status, type=kind, code=code, retry_after=retry_after(head), hint=hint, **head.origin)


def stream_error_of(chunk: Mapping[str, Any], head: ResponseHead) -> LiteLLMStreamError:
    """The error that an error object inside a stream means."""
    message, kind, code = _error_facts(orjson.dumps(dict(chunk)))
    said = " ".join(filter(None, (code, kind)))
    return LiteLLMStreamError(
        ": ".join(filter(None, ("LiteLLM API error: the stream failed", said, message))),
        status=_status_of(head, code),
        type=kind,
        code=code,
        hint=STREAM_HINT,
        **head.origin,
    )


def truncation(reason: str, head: ResponseHead) -> LiteLLMStreamError:
    """The error of a stream that ended without a finish reason."""
    error = LiteLLMStreamError(
        f"LiteLLM API error: the stream ended before the answer was complete: {reason}",
        status=head.status,
        hint=STREAM_HINT,
        **head.origin,
    )
    error.truncated = error.retryable = True
    return error


def malformed_stream(reason: str, head: ResponseHead) -> LiteLLMStreamError:
    """The error of a stream that cannot be read."""
    return LiteLLMStreamError(
        f"LiteLLM API error: the stream cannot be read: {reason}",
        status=head.status,
        hint=STREAM_HINT,
        **head.origin,
    )


def retry_after(head: ResponseHead) -> float | None:
    """Seconds that the endpoint asks to wait (``Retry-After``, as seconds or as a date), or None."""
    value = head.headers.get("retry-after") or head.headers.get("llm_provider-retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = _seconds_until(value)
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def excerpt(text: bytes | str) -> str:
    """The beginning of a text on one line, for a message; `shortened` later, when its secrets are masked."""
    text = text[:MOST_READ]
    return " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else text).split())


def shortened(message: str) -> str:
    """A message at the length that an error shows."""
    return message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "…"


def phrase(status: int) -> str:
    """The standard reason phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown Status"


def unusable(reason: str, head: ResponseHead) -> LiteLLMAPIError:
    """The error of a reply that is no completion."""
    return LiteLLMAPIError(
        f"LiteLLM API error: {head.status} {phrase(head.status)}: {reason}",
        status=head.status,
        hint=SERVER_HINT,
        **head.origin,
    )


def _error_facts(body: bytes) -> tuple[str, str | None, str | None]:
    """Message, type and code of an error body."""
    try:
        decoded = as_object(orjson.loads(body))
    except orjson.JSONDecodeError:
        return excerpt(body), None, None
    error = decoded.get("error", decoded)
    facts = as_object(error)
    if not facts:
        return excerpt(str(error) if error else body), None, None
    message = as_text(facts.get("message")) or as_text(facts.get("detail")) or excerpt(body)
    code = facts.get("code")
    return excerpt(message), as_text(facts.get("type")), None if code is None else str(code)


def _status_of(head: ResponseHead, code: str | None) -> int:
    told = int(code) if code and code.isdecimal() else 0
    return told if 200 <= head.status < 300 and 400 <= told < 600 else head.status


def _hint(status: int) -> str:
    return {408: TIMEOUT_HINT, 404: NOT_FOUND_HINT, 405: NOT_FOUND_HINT, 504: TIMEOUT_HINT}.get(
        status, NOT_FOUND_HINT if status < 400 else REQUEST_HINT if status < 500 else SERVER_HINT
    )


def _seconds_until(date: str) -> float:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - datetime.now(UTC).timestamp()

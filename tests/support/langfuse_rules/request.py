"""Rules of the endpoint: route, headers, ids, times and the types of values (section 1)."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from tests.support.otlp_sink import LANGFUSE_PATH, Received
from tests.support.spans import attribute_lists


def path(request: Received) -> Iterator[str]:
    """Only this route exists; any other answers 404 or 405."""
    if request.method != "POST" or not request.path.endswith(f"{LANGFUSE_PATH}/v1/traces"):
        yield f"{request.method} {request.path}"


def authorization(request: Received) -> Iterator[str]:
    """Basic, with public and secret key; Bearer gets 403."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    try:
        public, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        public = secret = ""
    if scheme != "Basic" or not public or not secret:
        yield "authorization is not Basic base64(public:secret)"


def content_type(request: Received) -> Iterator[str]:
    """Protobuf; the JSON form is taken too but is not what is sent here."""
    if request.headers.get("content-type") != "application/x-protobuf":
        yield f"content-type {request.headers.get('content-type')!r}"


def encoding(request: Received) -> Iterator[str]:
    """Neither deflate nor zstd is decoded."""
    if request.headers.get("content-encoding", "gzip") != "gzip":
        yield f"content-encoding {request.headers['content-encoding']!r}"
    if request.error is not None:
        yield f"cannot be decoded: {request.error}"


def ingestion_version(request: Received) -> Iterator[str]:
    """4 chooses the direct pipeline; without it spans come minutes late."""
    if request.headers.get("x-langfuse-ingestion-version") != "4":
        yield f"x-langfuse-ingestion-version {request.headers.get('x-langfuse-ingestion-version')!r}"


def no_sdk_name(request: Received) -> Iterator[str]:
    """The names of Langfuse's own SDKs switch other decoding rules on."""
    if "x-langfuse-sdk-name" in request.headers:
        yield f"x-langfuse-sdk-name {request.headers['x-langfuse-sdk-name']!r}"


def identifiers(request: Received) -> Iterator[str]:
    """One bad id refuses the whole batch; a repeated span inflates the metrics."""
    for span in request.spans:
        if not re.fullmatch(r"[0-9a-f]{32}", span.trace_id) or not int(span.trace_id, 16):
            yield f"{span.name} trace id {span.trace_id!r}"
        for identifier in (span.span_id, span.parent_id or "f" * 16):
            if not re.fullmatch(r"[0-9a-f]{16}", identifier) or not int(identifier, 16):
                yield f"{span.name} span id {identifier!r}"
    counts = Counter((span.trace_id, span.span_id) for span in request.spans)
    yield from (f"span {key} sent {count} times" for key, count in counts.items() if count > 1)


def times(request: Received) -> Iterator[str]:
    """A missing edge is filled from the other one."""
    for span in request.spans:
        if not 0 < span.start <= span.end:
            yield f"{span.name} runs from {span.start} to {span.end}"


def values(request: Received) -> Iterator[str]:
    """A key without a value kills the batch; dicts, bytes, None and empty lists show as the raw OTLP wrapper."""
    for place, pairs in attribute_lists(request.message):
        for pair in pairs:
            problem = "has no value" if not pair.HasField("value") else _value_problem(pair.value)
            if problem:
                yield f"{place} {pair.key} {problem}"


def _value_problem(value: AnyValue) -> str | None:
    match value.WhichOneof("value"):
        case "string_value" | "bool_value" | "double_value":
            return None
        case "int_value":
            return None if abs(value.int_value) <= 2**53 else "is beyond what JavaScript's numbers hold"
        case "array_value":
            kinds = {item.WhichOneof("value") for item in value.array_value.values}
            if not kinds:
                return "is an empty list"
            return (
                None
                if len(kinds) == 1 and kinds < {"string_value", "int_value", "double_value", "bool_value"}
                else ("is a list of other things than texts or numbers")
            )
        case other:
            return f"is {other or 'an empty AnyValue'}"


REQUEST_RULES: Final[Mapping[str, Callable[[Received], Iterator[str]]]] = {
    "1.path": path,
    "1.authorization": authorization,
    "1.content-type": content_type,
    "1.encoding": encoding,
    "1.ingestion-version": ingestion_version,
    "1.sdk-name": no_sdk_name,
    "1.ids": identifiers,
    "1.times": times,
    "1.values": values,
}

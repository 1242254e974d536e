"""Encoded batches, opened again: counted, halved, and rid of their content."""

from __future__ import annotations

import gzip
import io
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from looopy_otel.core.semconv import CONTENT_KEYS, CONTENT_PREFIXES, CONTENT_SHED
from looopy_otel.export.shed_content import LONGEST_KEPT

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

GZIP_MAGIC: Final = b"\x1f\x8b"
MOST_BYTES: Final = 128 * 1024 * 1024
"""Bytes of a message that are read at most: a file of a few kilobytes may say that it holds terabytes."""

_RESOURCE_SPANS = 0x0A
_SERIAL_BYTES = 10


class CorruptBatchError(ValueError):
    """A body that is no batch: truncated, damaged, or something else."""


def span_count(body: bytes) -> int:
    """Counts the spans of a body, compressed or not.

    Raises:
        CorruptBatchError: If it is no batch.
    """
    return sum(_count(_parsed(piece)) for piece in _pieces(_plain(body)))


def halves(body: bytes) -> tuple[tuple[bytes, int], tuple[bytes, int]] | None:
    """Divides a body in two, each with its number of spans and in the same order; None for a single span.

    Raises:
        CorruptBatchError: If it is no batch.
    """
    message = _parsed(_plain(body))
    spans = _count(message)
    if spans < 2:
        return None
    middle = spans // 2
    first, second = _cut(message, 0, middle), _cut(message, middle, spans)
    return (_packed(first, body), middle), (_packed(second, body), spans - middle)


def without_content(body: bytes) -> tuple[bytes, int] | None:
    """Takes all content out of a body and marks the spans that had any, with `CONTENT_SHED`.

    Goes piece by piece, and gives the interpreter lock away between them.

    Returns:
        The new body and how many spans had content; None when none had.

    Raises:
        CorruptBatchError: If it is no batch.
    """
    bare, shed = bytearray(), 0
    for piece in _pieces(_plain(body)):
        message = _parsed(piece)
        found = sum(_strip(span) for span in _spans(message))
        bare += message.SerializeToString() if found else piece
        shed += found
        time.sleep(0)
    return (_packed(bytes(bare), body), shed) if shed else None


def _plain(body: bytes) -> bytes:
    if not body.startswith(GZIP_MAGIC):
        return body
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            message = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptBatchError(f"{type(error).__name__}: {error}") from error
    if len(message) > MOST_BYTES:
        raise CorruptBatchError("it is too large")
    return message


def _packed(message: bytes, like: bytes) -> bytes:
    return gzip.compress(message, 1, mtime=0) if like.startswith(GZIP_MAGIC) else message


def _pieces(message: bytes) -> Iterator[bytes]:
    """The messages of one slice that a body was joined from, each a whole request.

    https://protobuf.dev/programming-guides/encoding/#structure
    """
    if not message:
        raise CorruptBatchError("it is empty")
    start = 0
    while start < len(message):
        tag, at = _number(message, start)
        length, at = _number(message, at)
        if tag != _RESOURCE_SPANS or at + length > len(message):
            raise CorruptBatchError("it is no export request, or cut short")
        yield message[start : at + length]
        start = at + length


def _number(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(message[at : at + _SERIAL_BYTES]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, at + place + 1
    raise CorruptBatchError("it is cut short")


def _parsed(message: bytes) -> ExportTraceServiceRequest:
    # Loaded on threads of ours only, so that no start of a program pays for it.
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        return ExportTraceServiceRequest.FromString(message)
    except DecodeError as error:
        raise CorruptBatchError(str(error)) from error


def _spans(message: ExportTraceServiceRequest) -> Iterator[Any]:
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            yield from scope.spans


def _count(message: ExportTraceServiceRequest) -> int:
    return sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)


def _cut(message: ExportTraceServiceRequest, begin: int, end: int) -> bytes:
    part = type(message)()
    at = 0
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            taken = scope.spans[max(0, begin - at) : max(0, end - at)]
            at += len(scope.spans)
            if taken:
                around = part.resource_spans.add(resource=resource.resource, schema_url=resource.schema_url)
                around.scope_spans.add(scope=scope.scope, schema_url=scope.schema_url, spans=taken)
    return part.SerializeToString()


def _strip(span: Any) -> bool:
    found = _strip_attributes(span.attributes)
    for part in (*span.events, *span.links):
        found = _strip_attributes(part.attributes) or found
    if len(span.name) > LONGEST_KEPT:
        span.name, found = span.name[:LONGEST_KEPT], True
    if len(span.status.message) > LONGEST_KEPT:
        span.status.message, found = span.status.message[:LONGEST_KEPT], True
    if found:
        span.attributes.add(key=CONTENT_SHED).value.bool_value = True
    return found


def _strip_attributes(attributes: Any) -> bool:
    found = [number for number, attribute in enumerate(attributes) if _is_content(attribute)]
    for number in reversed(found):
        del attributes[number]
    return bool(found)


def _is_content(attribute: Any) -> bool:
    key: str = attribute.key
    text: str = attribute.value.string_value
    # Of lists and structures the bytes: four to a character at most, and a few for each item.
    long = len(text) > LONGEST_KEPT or attribute.value.ByteSize() > 4 * LONGEST_KEPT
    return long or key in CONTENT_KEYS or key.startswith(CONTENT_PREFIXES)

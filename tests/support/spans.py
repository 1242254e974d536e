"""Spans as they arrived, decoded from OTLP with the official classes into plain Python values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUSES: Final = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """One event of a span; `time` is Unix time in nanoseconds."""

    name: str
    time: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SpanLink:
    """One link of a span; ids in hex."""

    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it arrived.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits, or None without a parent.
        name: The span's name.
        kind: ``INTERNAL``, ``CLIENT``, …
        start: Unix time in nanoseconds.
        end: Unix time in nanoseconds.
        attributes: Values as Python has them; an empty ``AnyValue`` is None.
        status: ``UNSET``, ``OK`` or ``ERROR``.
        status_message: The status description; empty without one.
        events: In the order sent.
        links: In the order sent.
        resource: The resource's attributes.
        scope: Name of the instrumentation scope.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str = "INTERNAL"
    start: int = 0
    end: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    status: str = "UNSET"
    status_message: str = ""
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    resource: Mapping[str, Any] = field(default_factory=dict[str, Any])
    scope: str = ""


def decode(request: ExportTraceServiceRequest) -> list[Span]:
    """Gives the spans of one export request, in the order sent."""
    return [
        _span(span, batch.resource, scope)
        for batch in request.resource_spans
        for scope in batch.scope_spans
        for span in scope.spans
    ]


def _span(span: WireSpan, resource: Resource, scope: ScopeSpans) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=KINDS[span.kind],
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=attributes(span.attributes),
        status=STATUSES[span.status.code],
        status_message=span.status.message,
        events=tuple(
            SpanEvent(event.name, event.time_unix_nano, attributes(event.attributes)) for event in span.events
        ),
        links=tuple(
            SpanLink(link.trace_id.hex(), link.span_id.hex(), attributes(link.attributes)) for link in span.links
        ),
        resource=attributes(resource.attributes),
        scope=scope.scope.name,
    )


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Gives attributes as a dict; of a key sent twice the last value."""
    return {pair.key: plain(pair.value) for pair in pairs}


def plain(value: AnyValue) -> Any:
    """Gives a value as Python has it; None for an empty ``AnyValue``."""
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
        case simple:
            return getattr(value, simple)


def attribute_lists(request: ExportTraceServiceRequest) -> Iterator[tuple[str, Iterable[KeyValue]]]:
    """Gives every list of attributes in a request with the name of its place: resource, scope, span, event, link."""
    for batch in request.resource_spans:
        yield "resource", batch.resource.attributes
        for scope in batch.scope_spans:
            yield f"scope {scope.scope.name}", scope.scope.attributes
            for span in scope.spans:
                yield span.name, span.attributes
                yield from ((f"{span.name} event {event.name}", event.attributes) for event in span.events)
                yield from ((f"{span.name} link", link.attributes) for link in span.links)

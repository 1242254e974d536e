"""Spans past the gate, in every part, before any dialect is rendered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from looopy_otel.core.draft import Draft
from looopy_otel.core.semconv import EXCEPTION_EVENT, EXCEPTION_MESSAGE, EXCEPTION_TYPE
from looopy_otel.core.text import valid_text
from looopy_otel.export.carried import INSIDE
from looopy_otel.export.foreign import foreign_attributes, valid_scope


class SpanGate:
    """Gives spans past the gate, those of others as well as our own.

    Args:
        redact_attributes: Gives attributes, of whoever's making, past the gate.
        redact_text: Gives a text past the gate.
        redact_name: Gives a span's or an event's name past the gate.
        is_own: True for the keys that were set from the draft's own facts at the start of a span.
    """

    def __init__(
        self,
        redact_attributes: Callable[[Mapping[str, Any]], dict[str, Any]],
        redact_text: Callable[[str], str],
        redact_name: Callable[[str], str],
        is_own: Callable[[str], bool],
    ) -> None:
        self._redact_attributes = redact_attributes
        self._redact_text = redact_text
        self._redact_name = redact_name
        self._is_own = is_own

    def passed(self, span: ReadableSpan, draft: Draft | None) -> ReadableSpan:
        """A copy of the span without anything that may not go out.

        Args:
            span: Ended.
            draft: Past the gate already; what the copy says of an error comes from it, and of its own attributes none
                is left, since rendering sets them again. None for spans of others.
        """
        return ReadableSpan(
            name=valid_text(self._redact_name(span.name)),
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._others_attributes(span, draft),
            events=self._events(span, draft),
            links=self._links(span),
            kind=span.kind,
            status=self._status(span, draft),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=valid_scope(span.instrumentation_scope),
        )

    def _others_attributes(self, span: ReadableSpan, draft: Draft | None) -> Mapping[str, AttributeValue]:
        attributes: Mapping[str, Any] = span.attributes or {}
        if not INSIDE.isdisjoint(attributes):
            attributes = {key: value for key, value in attributes.items() if key not in INSIDE}
        if draft is not None:
            attributes = {key: value for key, value in attributes.items() if not self._is_own(key)}
        return foreign_attributes(attributes, self._redact_attributes)

    def _status(self, span: ReadableSpan, draft: Draft | None) -> Status:
        if draft is not None and draft.error is not None:
            return Status(StatusCode.ERROR, valid_text(draft.error.message) or None)
        description = span.status.description
        return Status(span.status.status_code, valid_text(self._redact_text(description)) if description else None)

    def _events(self, span: ReadableSpan, draft: Draft | None) -> list[Event]:
        events = [
            Event(
                valid_text(self._redact_name(event.name)),
                foreign_attributes(event.attributes, self._redact_attributes),
                event.timestamp,
            )
            for event in span.events
        ]
        if draft is not None and draft.error is not None:
            facts = {EXCEPTION_TYPE: draft.error.type, EXCEPTION_MESSAGE: valid_text(draft.error.message)}
            events.append(Event(EXCEPTION_EVENT, {key: value for key, value in facts.items() if value}, span.end_time))
        return events

    def _links(self, span: ReadableSpan) -> list[Link]:
        return [Link(link.context, foreign_attributes(link.attributes, self._redact_attributes)) for link in span.links]


def with_attributes(span: ReadableSpan, added: Mapping[str, AttributeValue]) -> ReadableSpan:
    """The same span with further attributes."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={**(span.attributes or {}), **added},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )

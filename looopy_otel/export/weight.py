"""How much memory a span takes while it waits, in bytes: cheap enough for the caller's path, and rather too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from opentelemetry.sdk.trace import ReadableSpan

from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.drafted import DraftedSpan

SPAN_BYTES: Final = 4096
"""A span and its draft without their texts."""

_CONTAINER: Final = 200
_ENTRY: Final = 64
"""A place in a mapping."""
_NUMBER: Final = 32
"""A number, and its place in what holds it."""
_LONG: Final = 32
"""Items of a list that may be a vector, of which all are looked at together."""
_LINK: Final = 400
_NUMBERS: Final = frozenset({float, int, bool, type(None)})
_text_bytes = str.__sizeof__


def span_bytes(span: ReadableSpan) -> int:
    """What a finished span takes, with its draft if it has one."""
    size = SPAN_BYTES + len(span.name) + value_bytes(span.attributes) + value_bytes(span.status.description)
    for event in span.events:
        size += _CONTAINER + len(event.name) + value_bytes(event.attributes)
    for link in span.links:
        size += _LINK + value_bytes(link.attributes)
    if isinstance(span, DraftedSpan):
        size += draft_bytes(span.draft)
    return size


def outgoing_bytes(outgoing: Outgoing) -> int:
    """What a span takes on its way to a destination, with its draft if that still goes along."""
    return span_bytes(outgoing.span) + (0 if outgoing.draft is None else draft_bytes(outgoing.draft))


def draft_bytes(draft: Draft) -> int:
    """What the texts of a draft take; those that several drafts share are counted in each."""
    size = len(draft.name) + value_bytes(draft.input) + value_bytes(draft.output)
    if draft.metadata:
        size += value_bytes(draft.metadata)
    if draft.error is not None:
        size += value_bytes(draft.error.message)
    if isinstance(draft, LLMDraft):
        size += value_bytes(draft.tools) + value_bytes(draft.parameters)
    return size


def value_bytes(value: object) -> int:
    """What a value made of texts, numbers, mappings and sequences takes."""
    if value is None:
        return 0
    size, values = 0, [value]
    # The list grows while it is walked.
    for item in values:
        kind = type(item)
        if kind is str:
            size += _text_bytes(cast("str", item))
        elif kind is list or kind is tuple:
            items = cast("list[object]", item)
            size += _CONTAINER
            if len(items) > _LONG and _NUMBERS.issuperset(map(type, items)):
                size += _NUMBER * len(items)
            else:
                values.extend(items)
        elif kind is dict or isinstance(item, Mapping):
            mapping = cast("Mapping[object, object]", item)
            size += _CONTAINER + _ENTRY * len(mapping)
            values.extend(mapping)
            values.extend(mapping.values())
        else:
            size += _NUMBER
    return size

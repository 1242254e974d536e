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
_text_bytes = str.__sizeof__


def span_bytes(span: ReadableSpan) -> int:
    """What a finished span takes, with its draft if it has one."""
    size = SPAN_BYTES + value_bytes(span.attributes)
    for event in span.events:
        size += _CONTAINER + value_bytes(event.attributes)
    if isinstance(span, DraftedSpan):
        size += draft_bytes(span.draft)
    return size


def outgoing_bytes(outgoing: Outgoing) -> int:
    """What a span takes on its way to a destination that reads its attributes; the draft's texts are the same."""
    return span_bytes(outgoing.span)


def draft_bytes(draft: Draft) -> int:
    """What the texts of a draft take; those that several drafts share are counted in each."""
    size = value_bytes(draft.input) + value_bytes(draft.output)
    if draft.metadata:
        size += value_bytes(draft.metadata)
    if draft.error is not None:
        size += len(draft.error.message)
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
        elif kind is dict:
            values.extend(cast("dict[object, object]", item).values())
            size += _CONTAINER
        elif kind is list or kind is tuple:
            values.extend(cast("list[object]", item))
            size += _CONTAINER
        elif isinstance(item, Mapping):
            values.extend(cast("Mapping[object, object]", item).values())
    return size

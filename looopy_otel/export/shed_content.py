"""Makes what waits lighter where memory is short: content goes, everything that is counted and searched for stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, Final, cast

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status
from opentelemetry.util.types import AttributeValue

from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.semconv import CONTENT_SHED
from looopy_otel.core.snapshot import Shape, shape_of
from looopy_otel.core.types import Json
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.drafted import DraftedSpan

LONGEST_KEPT: Final = 512
"""Characters of a text, or items of a list, that count as facts, not as content."""

MOST_KEPT: Final = 128
"""How many attributes, events and links one span keeps."""


def without_content(span: ReadableSpan) -> ReadableSpan:
    """The span without its content, and marked as such; the one given stays as it is, since others may hold it."""
    light = _light_copy(span)
    return DraftedSpan.of(light, light_draft(span.draft)) if isinstance(span, DraftedSpan) else light


def outgoing_without_content(outgoing: Outgoing) -> Outgoing:
    """As `without_content`, past the gate."""
    draft = None if outgoing.draft is None else light_draft(outgoing.draft)
    return Outgoing(_light_copy(outgoing.span), draft, outgoing.project)


def light_draft(draft: Draft) -> Draft:
    """The draft with the shapes of its content; facts keep their place unless they are long or structures."""
    light = replace(
        draft,
        name=draft.name[:LONGEST_KEPT],
        input=None,
        output=None,
        input_shape=draft.input_shape or _shape(draft.input),
        output_shape=draft.output_shape or _shape(draft.output),
        metadata={key: value for key, value in draft.metadata.items() if _is_fact(value)},
        error=draft.error and replace(draft.error, message=draft.error.message[:LONGEST_KEPT]),
    )
    if isinstance(light, LLMDraft):
        parameters = {key: value for key, value in light.parameters.items() if _is_fact(value)}
        light = replace(light, tools=None, parameters=parameters)
    return light


def light_attributes(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
    """The attributes but for long texts, and the mark."""
    return {**without_long(attributes), CONTENT_SHED: True}


def without_long(attributes: Mapping[str, AttributeValue] | None) -> dict[str, AttributeValue]:
    """The attributes but for long texts and long lists; of very many the first ones."""
    facts = ((key, value) for key, value in (attributes or {}).items() if _is_fact(key) and _is_fact(value))
    return dict(islice(facts, MOST_KEPT))


def _is_fact(value: object) -> bool:
    match value:
        case str():
            return len(value) <= LONGEST_KEPT
        case tuple():
            items = cast("tuple[object, ...]", value)
            return len(items) + sum(len(item) for item in items if isinstance(item, str)) <= LONGEST_KEPT
        case dict() | list():
            return False
        case _:
            return True


def _shape(content: Json) -> Shape | None:
    if content is None:
        return None
    messages = cast("list[Any]", content) if isinstance(content, list) else []
    roles = [cast("dict[str, Any]", message).get("role") for message in messages if isinstance(message, dict)]
    return shape_of(content, [role for role in roles if isinstance(role, str)])


def _light_copy(span: ReadableSpan) -> ReadableSpan:
    copy = ReadableSpan.__new__(ReadableSpan)
    vars(copy).update(vars(span))
    vars(copy)["_attributes"] = light_attributes(span.attributes)
    vars(copy)["_name"] = span.name[:LONGEST_KEPT]
    vars(copy)["_events"] = [_light_event(event) for event in span.events[:MOST_KEPT]]
    vars(copy)["_links"] = [Link(link.context, without_long(link.attributes)) for link in span.links[:MOST_KEPT]]
    description = span.status.description
    if description is not None and len(description) > LONGEST_KEPT:
        vars(copy)["_status"] = Status(span.status.status_code, description[:LONGEST_KEPT])
    return copy


def _light_event(event: Event) -> Event:
    return Event(event.name[:LONGEST_KEPT], without_long(event.attributes), event.timestamp)

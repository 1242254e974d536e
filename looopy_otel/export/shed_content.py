"""Makes what waits lighter where memory is short: content goes, everything that is counted and searched for stays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.util.types import AttributeValue

from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.semconv import CONTENT_SHED
from looopy_otel.core.snapshot import Shape, shape_of
from looopy_otel.core.types import Json
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.drafted import DraftedSpan

LONGEST_KEPT: Final = 512
"""Characters of a text that counts as a fact, not as content."""


def without_content(span: ReadableSpan) -> ReadableSpan:
    """The span without its content, and marked as such; the one given stays as it is, since others may hold it."""
    light = _copy(span, light_attributes(span.attributes))
    return DraftedSpan.of(light, light_draft(span.draft)) if isinstance(span, DraftedSpan) else light


def outgoing_without_content(outgoing: Outgoing) -> Outgoing:
    """As `without_content`, past the gate."""
    draft = None if outgoing.draft is None else light_draft(outgoing.draft)
    return Outgoing(_copy(outgoing.span, light_attributes(outgoing.span.attributes)), draft)


def light_draft(draft: Draft) -> Draft:
    """The draft with the shapes of its content; facts keep their place unless they are long or structures."""
    light = replace(
        draft,
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
    kept = {key: value for key, value in (attributes or {}).items() if _is_fact(value)}
    return {**kept, CONTENT_SHED: True}


def _is_fact(value: object) -> bool:
    match value:
        case str():
            return len(value) <= LONGEST_KEPT
        case tuple():
            items = cast("tuple[object, ...]", value)
            return len(items) <= LONGEST_KEPT and all(map(_is_fact, items))
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


def _copy(span: ReadableSpan, attributes: Mapping[str, AttributeValue]) -> ReadableSpan:
    copy = ReadableSpan.__new__(ReadableSpan)
    vars(copy).update(vars(span))
    vars(copy)["_attributes"] = attributes
    return copy

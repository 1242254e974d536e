"""What remains where content is not recorded: names, numbers, shapes, and the settings of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from decimal import Decimal
from typing import Any, TypeVar, cast

import orjson

from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.secrets import marker
from looopy_otel.core.semconv import CONTENT_KEYS, CONTENT_PREFIXES
from looopy_otel.core.snapshot import Shape
from looopy_otel.core.types import Json
from looopy_otel.privacy.fields import free_fields

_T = TypeVar("_T")

CONTENT = marker("content")
"""What stands in the place of text that is not recorded."""

_LONGEST_FACT = 256
_NAME = re.compile(r"(?:[A-Za-z0-9_.:/<>@+=-]|\[REDACTED:[a-z0-9-]+\]){1,128}")
_STRUCTURE = re.compile(r"\s*(?:\{|\[(?!REDACTED:))")
_GIVEN = frozenset({"name", "identity", "request_model", "metadata", "parameters"})
"""Fields that the user's own code fills with names and facts; every other text is the model's or the endpoint's."""
_SETTINGS = frozenset(
    {
        "effort",
        "encoding_format",
        "format",
        "modalities",
        "quality",
        "reasoning",
        "reasoning_effort",
        "response_format",
        "service_tier",
        "size",
        "thinking",
        "tool_choice",
        "truncation",
        "type",
        "verbosity",
        "voice",
    }
)
"""Request parameters whose text is one of a few words of the API, and structures that hold such ones."""


def without_content(draft: Draft) -> Draft:
    """Gives a draft of which only shapes, names, numbers and the types of errors remain.

    Text that a model or an endpoint made up is kept where it looks like a name, else it becomes `CONTENT`; metadata
    keep numbers and short texts, parameters numbers and settings.
    """
    error = draft.error and replace(draft.error, message=draft.error.type)
    identity = replace(draft.identity, metadata=_scalars(draft.identity.metadata))
    facts = replace(
        draft,
        input=None,
        output=None,
        input_shape=draft.input_shape or shape_of(draft.input),
        output_shape=draft.output_shape or shape_of(draft.output),
        metadata=_scalars(draft.metadata),
        identity=identity,
        error=error,
    )
    if isinstance(facts, LLMDraft):
        facts = replace(facts, tools=None, parameters=_settings(facts.parameters))
    return _named_fields(facts, besides=_GIVEN)


def looks_like_name(text: str) -> bool:
    """True for an identifier, a model's or a type's name, a path or an address: one word of ASCII, not long."""
    return _NAME.fullmatch(text) is not None


def is_content(key: str) -> bool:
    """True for a span attribute that is known to carry content, in any of the dialects that are about."""
    return key in CONTENT_KEYS or key.startswith(CONTENT_PREFIXES)


def fact(value: Any) -> Any:
    """Gives a value of someone's metadata or attributes: a scalar, short text, or a list of them; else `CONTENT`.

    Text that is the JSON of a structure is the structure; numbers under names, such as token counts, are no content.
    """
    match value:
        case str() if _STRUCTURE.match(value):
            return value if _holds_numbers(value) else CONTENT
        case str() if len(value) > _LONGEST_FACT:
            return CONTENT
        case list() | tuple():
            return [fact(item) for item in cast("list[Any]", value)]
        case None | str() | bool() | int() | float():
            return value
        case _:
            return CONTENT


def shape_of(content: Json) -> Shape | None:
    """Says how large content is and whose messages it holds; None for no content."""
    if content is None:
        return None
    size = len(content.encode("utf-8", "replace")) if isinstance(content, str) else _json_bytes(content)
    messages = cast("list[Any]", content) if isinstance(content, list) else []
    roles = [cast("dict[str, Any]", message).get("role") for message in messages if isinstance(message, dict)]
    return Shape(bytes=size, roles=tuple(role for role in roles if isinstance(role, str)))


def _scalars(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: fact(value) for key, value in metadata.items() if isinstance(value, str | bool | int | float)}


def _settings(parameters: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: _setting(name, value) for name, value in parameters.items() if looks_like_name(name)}
    return {name: value for name, value in settings.items() if value is not None}


def _setting(name: str, value: Any) -> Any:
    """The value, or what of it may be kept; None for nothing."""
    match value:
        case bool() | int() | float():
            return value
        case str() if name in _SETTINGS and looks_like_name(value):
            return value
        case dict() if name in _SETTINGS:
            return _settings(cast("dict[str, Any]", value)) or None
        case list() if name in _SETTINGS:
            words = [_setting(name, item) for item in cast("list[Any]", value)]
            return [word for word in words if word is not None] or None
        case _:
            return None


def _named_fields(record: _T, *, besides: frozenset[str] = frozenset()) -> _T:
    values = {name: getattr(record, name) for name in free_fields(type(record)) if name not in besides}
    return cast("_T", replace(cast("Any", record), **{name: _named(value) for name, value in values.items()}))


def _named(value: Any) -> Any:
    match value:
        case None | bool() | int() | float() | Decimal():
            return value
        case str():
            return value if not value or looks_like_name(value) else CONTENT
        case tuple():
            return tuple(_named(item) for item in cast("tuple[Any, ...]", value))
        case Mapping():
            return {key: _named(item) for key, item in cast("Mapping[str, Any]", value).items()}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _named_fields(value)
        case _:
            return CONTENT


def _holds_numbers(text: str) -> bool:
    try:
        decoded = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(decoded, dict):
        return False
    items = cast("dict[str, Any]", decoded).items()
    return all(looks_like_name(key) and isinstance(value, bool | int | float) for key, value in items)


def _json_bytes(content: Json) -> int:
    try:
        return len(orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:
        return len(str(content))

"""What others set on a span, in terms that every wire can carry and every backend shows as it was meant."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import orjson
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from looopy_otel.core.snapshot import snapshot
from looopy_otel.core.text import valid_text

AttributeValue: TypeAlias = str | bool | int | float | list[str] | list[bool] | list[int] | list[float]

_SCALARS: Final = ({str}, {bool}, {int}, {float})


def foreign_attributes(
    attributes: Mapping[str, Any] | None, redact: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> dict[str, AttributeValue]:
    """Makes attributes of others fit for a span, an event or a link.

    None and empty lists and dicts are left out. A list of one scalar type stays one; any other structure becomes its
    JSON text, since backends show nested values in the wire's own notation. Bytes become a short text, integers beyond
    64 bits their digits; text and keys become valid UTF-8.

    Args:
        attributes: As they were set; None for none.
        redact: Gives plain attributes past the gate, while structures still are structures.
    """
    if not attributes:
        return {}
    passed = redact({key: snapshot(value) for key, value in attributes.items()})
    values = {valid_text(key): _value(value) for key, value in passed.items()}
    return {key: value for key, value in values.items() if value is not None}


def valid_scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    """Gives an instrumentation scope with a valid name and version; the same one where they are valid already."""
    if scope is None:
        return None
    name, version = valid_text(scope.name), scope.version and valid_text(scope.version)
    if (name, version) == (scope.name, scope.version):
        return scope
    return InstrumentationScope(name, version, scope.schema_url)


def _value(value: Any) -> AttributeValue | None:
    match value:
        case None:
            return None
        case list() | dict() if not value:
            return None
        case str():
            return valid_text(value)
        case bool() | int() | float():
            return value
        case [*items] if {type(item) for item in items} in _SCALARS:
            return [valid_text(item) if isinstance(item, str) else item for item in items]
        case _:
            return _json(value)


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except TypeError:
        # Lone surrogates, which orjson refuses.
        return valid_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))

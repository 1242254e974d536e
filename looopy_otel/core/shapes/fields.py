"""Reading what a foreign API shapes, SDK objects and decoded JSON alike; nothing here raises for a strange shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

_UNSET = frozenset({"NotGiven", "Omit"})
"""Classes by which SDKs say that an argument was not given; told by name, since no SDK is imported here."""

_DEPTH = 40
_NOT_PYDANTIC: Any = object()
_EXTRAS_OF_MODELS: frozenset[type] = frozenset({dict, type(None)})


def get(source: object, name: str) -> Any:
    """A field of a mapping or an attribute of an object; None where there is none, or an SDK's marker for that."""
    if type(source) is dict or isinstance(source, Mapping):
        value = cast("Mapping[str, Any]", source).get(name)
    else:
        extra: Any = getattr(source, "__pydantic_extra__", _NOT_PYDANTIC)
        # A pydantic model is slow to say that it has no such attribute.
        is_model = type(extra) in _EXTRAS_OF_MODELS
        value = source.__dict__.get(name) if is_model else getattr(source, name, None)
        if value is None and is_model and extra:
            value = extra.get(name)
    return None if value is None or type(value).__name__ in _UNSET else value


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that are there: neither None nor an SDK's marker for an unset one."""
    return {
        name: value for name, value in arguments.items() if value is not None and type(value).__name__ not in _UNSET
    }


def chosen(arguments: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of the named arguments that are there."""
    return {name: arguments[name] for name in names if name in arguments}


def as_list(value: object) -> Sequence[Any]:
    """`value` where it is a list, else an empty one; an iterator, which could be read only once, is none."""
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def is_list(value: object) -> bool:
    """True for a list, as `as_list` takes it."""
    return isinstance(value, list | tuple)


def is_object(value: object) -> bool:
    """True for a decoded JSON object."""
    return isinstance(value, Mapping)


def as_text(value: object) -> str | None:
    """`value` where it is a text that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def as_index(value: object, default: int = 0) -> int:
    """`value` where it is a whole number, else `default`."""
    return value if isinstance(value, int) else default


def as_json(value: object) -> str:
    """A decoded value, or an SDK's object, as JSON text again."""
    return json.dumps(value, ensure_ascii=False, default=_encodable)


def _encodable(value: object) -> Any:
    return str(value) if isinstance(value, bytes) else plain(value)


def plain(value: object, depth: int = _DEPTH) -> Any:
    """An SDK's object as decoded JSON; what is that already is not copied.

    Fields without a value are left out. Texts are shared.
    """
    if depth == 0 or value is None or isinstance(value, str | int | float | dict | bytes):
        return cast("Any", value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, list | tuple):
        return [plain(item, depth - 1) for item in cast("Sequence[object]", value)]
    fields = _fields(value)
    return str(value) if fields is None else {name: plain(item, depth - 1) for name, item in fields.items()}


def plain_object(value: object) -> dict[str, Any]:
    """As `plain`, where that gives an object; else an empty one."""
    result = plain(value)
    return cast("dict[str, Any]", result) if isinstance(result, dict) else {}


def _fields(value: object) -> dict[str, Any] | None:
    """The public fields of an object, those beyond a pydantic model's schema included."""
    own = getattr(value, "__dict__", None)
    if not isinstance(own, dict) or isinstance(value, type):
        return None
    extra = getattr(value, "__pydantic_extra__", None)
    fields = {**cast("dict[str, Any]", own), **(cast("dict[str, Any]", extra) if isinstance(extra, dict) else {})}
    return {name: item for name, item in given(fields).items() if not name.startswith("_")}

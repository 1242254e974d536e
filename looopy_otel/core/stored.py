"""What an object keeps, read where it is stored: no property, ``__getattr__`` or other code of it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final, cast

from pydantic import BaseModel

_MISSING: Final = object()


def stored(value: object, name: str) -> Any:
    """What an object keeps under a name: in its dictionary, a slot, or as a default of its class; no code of it runs.

    Returns:
        The value; None where there is none, or where it would have to be computed.
    """
    found = _stored(value, name)
    return None if found is _MISSING else found


def _stored(value: object, name: str) -> Any:
    own = _dictionary(value)
    if name in own:
        return own[name]
    for kind in type(value).__mro__:
        found: Any = vars(kind).get(name, _MISSING)
        if isinstance(found, MemberDescriptorType):
            try:
                return found.__get__(value)
            except AttributeError:
                return _MISSING
        if found is not _MISSING:
            return _MISSING if hasattr(cast("type[Any]", type(found)), "__get__") else found
    return _MISSING


def _dictionary(value: object) -> Mapping[str, Any]:
    """The object's own dictionary, also where its class has put something else under that name."""
    for kind in type(value).__mro__:
        found: Any = vars(kind).get("__dict__")
        if isinstance(found, GetSetDescriptorType):
            return found.__get__(value)
    return {}


def shown_fields(value: object) -> dict[str, Any] | None:
    """What a dataclass, a model of pydantic, or an object of a class of attrs keeps in the fields that it shows.

    Fields that its own `repr` leaves out, or that a model never dumps, stay out; so do a model's fields without a
    value, and what would have to be computed.

    Returns:
        The fields in their order, also those that a model was not made for; None for any other object.
    """
    kind = cast("type[Any]", type(value))
    if issubclass(kind, BaseModel):
        return _model_fields(cast("BaseModel", value), kind)
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.repr]
    else:
        attributes: Any = next((found for base in kind.__mro__ if (found := vars(base).get("__attrs_attrs__"))), None)
        if attributes is None:
            return None
        names = [attribute.name for attribute in attributes if attribute.repr]
    fields = ((name, _stored(value, name)) for name in names)
    return {name: item for name, item in fields if item is not _MISSING}


def _model_fields(value: BaseModel, kind: type[BaseModel]) -> dict[str, Any]:
    shown = {name for name, field in kind.__pydantic_fields__.items() if field.repr and not field.exclude}
    extra = cast("Mapping[str, Any] | None", object.__getattribute__(value, "__pydantic_extra__"))
    fields = {name: item for name, item in _dictionary(value).items() if name in shown}
    return {name: item for name, item in (*fields.items(), *(extra or {}).items()) if item is not None}

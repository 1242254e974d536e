"""Which fields of a record may hold text of any origin."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import Any, Literal, get_origin, get_type_hints

_NO_TEXT = (int, float, bool)


@cache
def free_fields(kind: type[Any]) -> tuple[str, ...]:
    """Names the fields of a dataclass that are neither one of a few words (`Literal`) nor a plain number.

    It goes by the types, so that a field that is added later is among them.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    return tuple(name for name in names if get_origin(hints[name]) is not Literal and hints[name] not in _NO_TEXT)

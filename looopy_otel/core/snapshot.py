"""Structural snapshots: content as it was at this moment, made of JSON values, without a deep copy and without raising.

Containers are copied, strings are shared, other objects become plain at once, all under a budget of nodes and depth.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from pydantic import BaseModel

from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.types import Json, Message, MessageLike

MAX_NODES = 200_000
MAX_DEPTH = 64
MAX_TEXT_OF_OBJECT = 2_000
"""Characters kept of an object that only has a `repr`."""

_INT64 = range(-(2**63), 2**63)
_TEXTUAL = (Decimal, UUID, PurePath)


@dataclass(frozen=True, slots=True)
class Shape:
    """What remains of content that is not recorded.

    Attributes:
        bytes: Length of the text in UTF-8, or of its JSON, approximately.
        roles: The messages' roles in order; empty for content that is no conversation.
    """

    bytes: int
    roles: tuple[str, ...] = ()


class _Budget:
    """What one snapshot may still take."""

    __slots__ = ("nodes", "open")

    def __init__(self) -> None:
        self.nodes = MAX_NODES
        self.open: set[int] = set()


def snapshot(value: object) -> Json:
    """Makes a JSON value of any object; never raises.

    Args:
        value: Anything. Objects without a plain form become a short text that names their class.

    Returns:
        The value in JSON terms; strings are shared with `value`, containers are not.
    """
    return _plain(value, _Budget(), 0)


def snapshot_messages(messages: Sequence[MessageLike]) -> Json:
    """Makes the canonical list of messages, in the shape of OpenAI's chat completions; never raises."""
    return snapshot([message_to_dict(message) if isinstance(message, Message) else message for message in messages])


def shape_of(value: object, roles: Iterable[str] = ()) -> Shape:
    """Says how large a value is without keeping any of it; never raises.

    Args:
        value: Anything.
        roles: The roles, where the value is a conversation.
    """
    return Shape(bytes=_size(snapshot(value)), roles=tuple(roles))


def text_of(error: BaseException) -> str:
    """The text of an exception; never raises."""
    try:
        return str(error)
    except Exception:
        return f"<unprintable {type(error).__name__}>"


def _plain(value: object, budget: _Budget, depth: int) -> Json:
    budget.nodes -= 1
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and not isinstance(value, Enum):
        return _number(value)
    if budget.nodes <= 0 or depth >= MAX_DEPTH:
        return "…"
    if id(value) in budget.open:
        return "<cycle>"
    budget.open.add(id(value))
    try:
        return _composite(value, budget, depth + 1)
    except Exception as error:
        return f"<unprintable {type(value).__name__}: {type(error).__name__}>"
    finally:
        budget.open.discard(id(value))


def _number(value: float) -> Json:
    if isinstance(value, int):
        return int(value) if value in _INT64 else str(value)
    return float(value) if math.isfinite(value) else str(value)


def _composite(value: object, budget: _Budget, depth: int) -> Json:
    match value:
        case Mapping():
            items = list(cast("Mapping[object, object]", value).items())
            return {_key(key): _plain(item, budget, depth) for key, item in items}
        case list() | tuple() | AbstractSet():
            return [_plain(item, budget, depth) for item in list(cast("Iterable[object]", value))]
        case bytes() | bytearray():
            return f"<{len(value)} bytes>"
        case memoryview():
            return f"<{value.nbytes} bytes>"
        case Enum():
            return _plain(value.value, budget, depth)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case _:
            return _object(value, budget, depth)


def _object(value: object, budget: _Budget, depth: int) -> Json:
    if isinstance(value, _TEXTUAL):
        return str(value)
    if isinstance(value, Message):
        return _plain(message_to_dict(value), budget, depth)
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(exclude_none=True), budget, depth)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _plain(fields, budget, depth)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {text_of(value)}"[:MAX_TEXT_OF_OBJECT]
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return f"<{type(value).__name__} {cast('tuple[Any, ...]', shape)}>"
    return repr(value)[:MAX_TEXT_OF_OBJECT]


def _key(key: object) -> str:
    if isinstance(key, str):
        return key
    return str(key.value if isinstance(key, Enum) else key)


def _size(value: Json) -> int:
    match value:
        case str():
            return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        case dict():
            return 2 + sum(_size(key) + _size(item) + 2 for key, item in value.items())
        case list():
            return 2 + sum(_size(item) + 1 for item in value)
        case _:
            return len(str(value))

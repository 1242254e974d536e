"""Structural snapshots: content as it was at this moment, made of JSON values, without a deep copy and without raising.

Containers are copied, strings are shared, other objects become plain at once, all under a budget of nodes, depth and
bytes. An object is judged by its type and read from where its data is stored: its ``__class__``, properties and other
attributes that run code are not asked. Its ``__repr__`` is, where there is no better form, since it is made for that;
what is traced inside that is not recorded. Only Python's own containers are read, without code of a class that is made
of one: a mapping or sequence that answers for itself may have to fetch each item, so its kind and length are kept.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import islice
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any, cast
from uuid import UUID

from looopy_otel.core.guard import guard, is_from_signal
from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.outcome import is_interruption
from looopy_otel.core.stored import shown_fields
from looopy_otel.core.suppression import suppression
from looopy_otel.core.types import Json, Message, MessageLike

MAX_NODES = 200_000
MAX_DEPTH = 64
MAX_TEXT_OF_OBJECT = 2_000
"""Characters kept of an object that only has a `repr`."""

SHORT = 1_000
"""Bytes of a text that is kept as long as there is room for it."""

_INT64 = range(-(2**63), 2**63)
_TEXTUAL = (Decimal, Fraction, UUID, PurePath)
_NAMED = (FunctionType, BuiltinFunctionType, MethodType)
_NONE: dict[str, str] = {}
_KEYS, _ITEMS = type(_NONE.keys()), type(_NONE.items())
_KEYED: tuple[type[Any], ...] = (OrderedDict, dict, MappingProxyType)
_LISTED: tuple[type[Any], ...] = (list, tuple, deque, set, frozenset, _KEYS, _ITEMS)
_READING = ("__getitem__", "__iter__", "__len__", "items")
"""The methods by which containers are read."""

_ARRAYS = frozenset({"cupy", "jax", "jaxlib", "numpy", "pandas", "polars", "pyarrow", "scipy", "tensorflow", "torch"})
"""Packages whose objects say their shape at no cost, and whose `repr` may cost a lot."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one snapshot may take.

    Attributes:
        nodes: Values, those inside others included.
        bytes: Of text, in UTF-8.
    """

    nodes: int = MAX_NODES
    bytes: float = math.inf


WHOLE = Limits()
"""For what is needed whole, such as conversations: only runaway structures are cut."""

VALUE = Limits(nodes=10_000, bytes=1_000_000)
"""For arguments, results and other values of the user's code, which may be of any size: some milliseconds at most."""

SIZES = Limits(nodes=VALUE.nodes)
"""For measuring: texts are not copied."""


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

    __slots__ = ("bytes", "measured", "nodes", "open")

    def __init__(self, limits: Limits) -> None:
        self.nodes = limits.nodes
        self.bytes = limits.bytes
        self.measured = limits.bytes != math.inf
        self.open: set[int] = set()


def snapshot(value: object, limits: Limits = WHOLE) -> Json:
    """Makes a JSON value of any object; never raises.

    Args:
        value: Anything. Objects without a plain form become a short text that names their class.
        limits: What the snapshot may take. No text takes more than half of the bytes that are left, so that one huge
            argument leaves room for the others; a text that is cut says how long it was, a container how many more
            entries it had.

    Returns:
        The value in JSON terms; strings are shared with `value`, containers are not.
    """
    return _plain(value, _Budget(limits), 0)


def snapshot_messages(messages: Sequence[MessageLike]) -> Json:
    """Makes the canonical list of messages, in the shape of OpenAI's chat completions; never raises."""
    return snapshot([_message(message) for message in messages])


def _message(message: MessageLike) -> object:
    """A message as a dictionary, also one that is another mapping: it is there to be read."""
    if isinstance(message, Message):
        return message_to_dict(message)
    return _read(message)


def _read(value: object) -> object:
    """A mapping that is given as such, so that it is read, as a dictionary; anything else as it is."""
    if issubclass(type(value), Mapping) and not issubclass(type(value), dict):
        with guard("snapshot.read"):
            return dict(cast("Mapping[object, object]", value))
    return value


def facts_of(metadata: object) -> dict[str, Json]:
    """The values of metadata by their names, within the limits of a value; what has no names is the one ``value``.

    Args:
        metadata: A mapping, or anything else; None is no metadata.
    """
    if metadata is None:
        return {}
    facts = snapshot(_read(metadata), VALUE)
    return facts if isinstance(facts, dict) else {"value": facts}


class Series:
    """Values that come one after another, such as the items of a generator, each as it was when it came.

    Args:
        limits: What all of them together may take; what comes after that is only counted.
    """

    __slots__ = ("_budget", "_count", "_only_text", "_values")

    def __init__(self, limits: Limits = VALUE) -> None:
        self._budget = _Budget(limits)
        self._values: list[Json] = []
        self._count = 0
        self._only_text = True

    def __len__(self) -> int:
        return self._count

    def add(self, value: object) -> None:
        """Takes the next value; never raises."""
        self._count += 1
        self._only_text = self._only_text and isinstance(value, str)
        if self._budget.nodes > 0 and self._budget.bytes > 0:
            self._values.append(_plain(value, self._budget, 0))

    def values(self) -> list[Json]:
        """The values so far; a last text says how many there were besides."""
        more = self._count - len(self._values)
        return [*self._values, _more(more)] if more else list(self._values)

    def text(self) -> str | None:
        """The texts so far as one; None where something else came."""
        if not self._only_text:
            return None
        more = self._count - len(self._values)
        return "".join(cast("list[str]", self._values)) + (_more(more) if more else "")


def shape_of(value: object, roles: Iterable[str] = ()) -> Shape:
    """Says how large a value is without keeping any of it; never raises.

    Args:
        value: Anything.
        roles: The roles, where the value is a conversation.
    """
    return Shape(bytes=_size(snapshot(value, SIZES)), roles=tuple(roles))


def text_of(error: BaseException) -> str:
    """The text of an exception; never raises."""
    try:
        return _unrecorded(str, error)
    except BaseException as failure:
        if _is_interrupt(failure):
            raise
        return f"<unprintable {type(error).__name__}>"


def _unrecorded(form: Callable[[object], str], value: object) -> str:
    """What code of an object's own gives, which may itself be traced."""
    token = suppression.set(True)
    try:
        return form(value)
    finally:
        suppression.reset(token)


def _is_interrupt(error: BaseException) -> bool:
    """True for what is meant for the user's code; everything else is a failure of the object."""
    return is_interruption(error) or is_from_signal(error)


def _plain(value: object, budget: _Budget, depth: int) -> Json:
    budget.nodes -= 1
    kind = type(value)
    if kind is str:
        return _text(cast("str", value), budget) if budget.measured else cast("str", value)
    if value is None or kind is bool:
        return cast("bool | None", value)
    if budget.nodes < 0 or depth >= MAX_DEPTH:
        return "…"
    try:
        if kind is int or kind is float:
            return _number(cast("float", value), budget)
        if id(value) in budget.open:
            return "<cycle>"
        budget.open.add(id(value))
        try:
            return _composite(value, kind, budget, depth + 1)
        finally:
            budget.open.discard(id(value))
    except BaseException as error:
        if _is_interrupt(error):
            raise
        return f"<unprintable {kind.__name__}: {type(error).__name__}>"


def _text(text: str, budget: _Budget) -> str:
    if not budget.measured:
        return text
    left = int(budget.bytes)
    allowed = max(left // 2, min(left, SHORT))
    # A character takes four bytes at most; only a text that may be too long is measured, and no more of it than fits.
    size = len(text) if text.isascii() else 4 * len(text)
    if size > allowed:
        start = text[:allowed].encode("utf-8", "surrogatepass")
        size = len(start)
        if size > allowed or len(text) > allowed:
            kept = start[:allowed].decode("utf-8", "ignore")
            budget.bytes -= allowed
            return f"{kept}… <cut: {len(text)} characters in all>"
    budget.bytes -= size
    return text


def _number(value: float, budget: _Budget) -> Json:
    if isinstance(value, int):
        number = int.__int__(value)
        return number if number in _INT64 else _text(int.__repr__(number), budget)
    number = float.__float__(value)
    return number if math.isfinite(number) else float.__repr__(number)


def _composite(value: Any, kind: type[Any], budget: _Budget, depth: int) -> Json:
    if kind is dict:
        return _mapping(value, dict, budget, depth)
    if kind is list or kind is tuple:
        return _sequence(value, kind, budget, depth)
    if issubclass(kind, Enum):
        return _plain(value._value_, budget, depth)
    if issubclass(kind, str):
        return _text(str.__str__(value), budget)
    if issubclass(kind, int | float):
        return _number(value, budget)
    if (base := _base(kind, _KEYED)) is not None:
        return _mapping(value, base, budget, depth)
    if (base := _base(kind, _LISTED)) is not None:
        return _sequence(value, base, budget, depth)
    if issubclass(kind, Mapping | AbstractSet | list | tuple | deque):
        return f"<{kind.__qualname__} of {len(value)}>"
    if issubclass(kind, bytes | bytearray | memoryview):
        return f"<{memoryview(value).nbytes} bytes>"
    if issubclass(kind, datetime | date | time):
        return value.isoformat()
    if issubclass(kind, timedelta):
        return value.total_seconds()
    return _object(value, kind, budget, depth)


def _base(kind: type[Any], bases: tuple[type[Any], ...]) -> type[Any] | None:
    """Which of Python's containers a class is made of, if it is read in no other way than that."""
    for base in bases:
        if issubclass(kind, base):
            same = all(getattr(kind, name, None) is getattr(base, name, None) for name in _READING)
            return base if same else None
    return None


def _mapping(value: Any, base: type[Any], budget: _Budget, depth: int) -> Json:
    # The items are taken at once: another thread may be changing the mapping.
    items: Iterator[tuple[object, object]] = iter(base.items(value))
    taken = list(islice(items, budget.nodes + 1))
    plain: dict[str, Json] = {}
    for key, item in taken:
        if budget.nodes <= 0 or budget.bytes <= 0:
            plain["…"] = _more(base.__len__(value) - len(plain))
            break
        name = key if type(key) is str and not budget.measured else _key(key, budget)
        plain[name] = _plain(item, budget, depth)
    return plain


def _sequence(value: Any, base: type[Any], budget: _Budget, depth: int) -> Json:
    taken: list[object] = list(islice(base.__iter__(value), budget.nodes + 1))
    plain: list[Json] = []
    for item in taken:
        if budget.nodes <= 0 or budget.bytes <= 0:
            plain.append(_more(base.__len__(value) - len(plain)))
            break
        plain.append(_plain(item, budget, depth))
    return plain


def _more(count: int) -> str:
    return f"… <{count} more>"


def _object(value: Any, kind: type[Any], budget: _Budget, depth: int) -> Json:
    if issubclass(kind, _TEXTUAL):
        return _text(str(value), budget)
    if issubclass(kind, Message):
        return _plain(message_to_dict(value), budget, depth)
    if (fields := shown_fields(value)) is not None:
        return _plain(fields, budget, depth)
    if issubclass(kind, BaseException):
        return _text(f"{kind.__name__}: {text_of(value)}"[:MAX_TEXT_OF_OBJECT], budget)
    if kind.__module__.partition(".")[0] in _ARRAYS:
        return _array(value, kind, budget, depth)
    return _text(_named(value, kind)[:MAX_TEXT_OF_OBJECT], budget)


def _array(value: Any, kind: type[Any], budget: _Budget, depth: int) -> Json:
    """The shape and element type of an array or a table; a number where it is one (``numpy.int64``)."""
    shape = getattr(value, "shape", None)
    if shape == () and hasattr(kind, "item") and kind.__module__ == "numpy":
        item = value.item()
        return _plain(item, budget, depth) if type(item) is not kind else repr(value)[:MAX_TEXT_OF_OBJECT]
    if shape is None:
        return _named(value, kind)[:MAX_TEXT_OF_OBJECT]
    element = getattr(value, "dtype", None)
    return f"<{kind.__name__} {tuple(shape)}{'' if element is None else f' {element}'}>"[:MAX_TEXT_OF_OBJECT]


def _named(value: Any, kind: type[Any]) -> str:
    """An object's own `repr`; where it has none, or only an address to tell, the name of what it is."""
    if issubclass(kind, type):
        return f"<class {value.__module__}.{value.__qualname__}>"
    if issubclass(kind, ModuleType):
        return f"<module {value.__name__}>"
    if issubclass(kind, _NAMED):
        return f"<function {value.__qualname__}>"
    if kind.__repr__ is object.__repr__:
        return f"<{kind.__qualname__} object>"
    return _unrecorded(repr, value)


def _key(key: object, budget: _Budget) -> str:
    if type(key) is str:
        return _text(key, budget)
    plain = _plain(key, budget, MAX_DEPTH - 2)
    return plain if isinstance(plain, str) else str(key if plain is None else plain)


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

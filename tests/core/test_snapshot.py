"""A snapshot is plain, cannot raise, and does not change when the original does."""

from __future__ import annotations

import collections
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple
from unittest.mock import MagicMock
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field

from looopy_otel.core.snapshot import (
    MAX_NODES,
    VALUE,
    Limits,
    Series,
    Shape,
    shape_of,
    snapshot,
    snapshot_messages,
)
from looopy_otel.core.stored import stored
from looopy_otel.core.types import Message, ToolCall


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    name: str
    size: int | None = None


@dataclass
class Point:
    x: int
    y: int


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Hostile(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("no items")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2**70, str(2**70)),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("text", "text"),
        (b"12345", "<5 bytes>"),
        ({1: "a", Colour.RED: "b"}, {"1": "a", "red": "b"}),
        ((1, [2, {3}]), [1, [2, [3]]]),
        (Colour.RED, "red"),
        (Model(name="m"), {"name": "m"}),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Decimal("1.10"), "1.10"),
        (Path("a") / "b", "a/b"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (ValueError("bad"), "ValueError: bad"),
        (Unprintable(), "<unprintable Unprintable: RuntimeError>"),
        ([Hostile(a=1), "next"], ["<Hostile of 1>", "next"]),
    ],
)
def test_plain_forms(value: object, expected: object) -> None:
    assert snapshot(value) == expected


def test_a_lock_becomes_text() -> None:
    assert "lock" in str(snapshot(threading.Lock()))


def test_cycles_and_depth_end() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert snapshot(loop) == [1, "<cycle>"]
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    orjson.dumps(snapshot(deep))


def test_the_same_object_twice_is_no_cycle() -> None:
    shared = {"a": 1}
    assert snapshot([shared, shared]) == [{"a": 1}, {"a": 1}]


def test_the_budget_bounds_nodes() -> None:
    result = snapshot(list(range(10)) + [[0] * 100 for _ in range(MAX_NODES // 50)])
    assert isinstance(result, list)
    assert result[-1] == "… <2019 more>"
    assert len(result) < MAX_NODES // 50


def test_a_snapshot_stands_still_and_shares_text() -> None:
    text = "x" * 1000
    original = {"messages": [{"content": text}]}
    taken: Any = snapshot(original)
    original["messages"].append({"content": "later"})
    assert taken == {"messages": [{"content": text}]}
    assert taken["messages"][0]["content"] is text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(), st.lists))
def test_every_snapshot_is_json(value: object) -> None:
    orjson.dumps(_encodable(snapshot(value)))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return [_encodable(item) for item in value] if isinstance(value, list) else value  # pyright: ignore[reportUnknownVariableType]


def test_messages_take_the_canonical_shape() -> None:
    messages = [
        Message("assistant", None, (ToolCall("c1", "f", '{"a":1}'),)),
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
    ]
    assert snapshot_messages(messages) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
    ]


def test_shapes_say_size_and_keep_nothing() -> None:
    assert shape_of("héllo", ["user"]) == Shape(bytes=6, roles=("user",))
    assert shape_of({"a": [1, 2]}).bytes >= len('{"a":[1,2]}') - 2


def test_a_generator_is_not_consumed() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    source = numbers()
    assert "generator" in str(snapshot(source))
    assert list(source) == [1]


class Number(IntEnum):
    ONE = 1


class Word(StrEnum):
    YES = "yes"


class Flags(IntFlag):
    A = 1
    B = 2


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Id(int):
    def __int__(self) -> int:
        raise RuntimeError("no")

    __index__ = __repr__ = __str__ = __int__  # pyright: ignore[reportAssignmentType]


class Pair(NamedTuple):
    left: int
    right: int


class Settings(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    key: SecretStr = SecretStr("s3cret")
    hidden: str = Field(default="hidden", exclude=True)
    quiet: str = Field(default="quiet", repr=False)

    @computed_field
    @property
    def computed(self) -> str:
        raise AssertionError("a property was asked")


@dataclass(slots=True)
class Slotted:
    x: int
    secret: str = field(default="secret", repr=False)


@dataclass
class Shadowed:
    """A field whose name a property has taken."""

    x: int = 1

    def __post_init__(self) -> None:
        type(self).y = property(lambda self: 1 / 0)  # pyright: ignore[reportAttributeAccessIssue]


class LikeAttrs:
    __attrs_attrs__ = (SimpleNamespace(name="x", repr=True), SimpleNamespace(name="token", repr=False))

    def __init__(self) -> None:
        self.x = 1
        self.token = "secret"


class Liar:
    """Says that it is a mapping, and fails whoever believes it."""

    asked: ClassVar[list[str]] = []

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.asked.append("class")
        return dict

    @property
    def shape(self) -> Any:
        self.asked.append("shape")
        raise RuntimeError("no")

    @property
    def __dict__(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        self.asked.append("dict")
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise RuntimeError("no")


class Plain:
    pass


class Endless(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return 1

    def __len__(self) -> int:
        return sys.maxsize

    def __iter__(self) -> Iterator[str]:
        number = 0
        while True:
            number += 1
            yield str(number)


class Lazy(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise AssertionError("fetched")

    def __len__(self) -> int:
        return 9

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("fetched")


class Pages(list[int]):
    def __iter__(self) -> Iterator[int]:
        raise AssertionError("fetched")


def generator() -> Iterator[int]:
    yield 1


def huge(_: object) -> str:
    return "x" * 1_000_000


MORE_FORMS: list[tuple[object, object]] = [
    (Number.ONE, 1),
    (Word.YES, "yes"),
    (Flags.A | Flags.B, 3),
    (Text("text"), "text"),
    (Id(7), 7),
    (Id(2**70), str(2**70)),
    (Pair(1, 2), [1, 2]),
    (collections.deque([1, 2]), [1, 2]),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.Counter("aa"), {"a": 2}),
    ({"a": 1}.keys(), ["a"]),
    (frozenset([1]), [1]),
    (Lazy(), "<Lazy of 9>"),
    (Pages([1]), "<Pages of 1>"),
    (MappingProxyType({"a": 1}), {"a": 1}),
    (date(2026, 1, 2), "2026-01-02"),
    (time(1, 2), "01:02:00"),
    (timedelta(seconds=90), 90.0),
    (Fraction(1, 3), "1/3"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (bytearray(b"123"), "<3 bytes>"),
    (memoryview(b"123"), "<3 bytes>"),
    (range(3), "range(0, 3)"),
    (Settings.model_validate({"name": "n", "more": 1}), {"name": "n", "key": "**********", "more": 1}),
    (Slotted(1), {"x": 1}),
    (Shadowed(), {"x": 1}),
    (LikeAttrs(), {"x": 1}),
    (np.zeros((2, 3)), "<ndarray (2, 3) float64>"),
    (np.float64(0.5), 0.5),
    (np.int64(5), 5),
    (np.bool_(True), True),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    ({(1, "a"): 1, None: 2, 1.5: 3, b"k": 4}, {"[1, 'a']": 1, "None": 2, "1.5": 3, "<1 bytes>": 4}),
    ({Unprintable(): 1}, {"<unprintable Unprintable: RuntimeError>": 1}),
    (Plain(), "<Plain object>"),
    (Plain, "<class tests.core.test_snapshot.Plain>"),
    (sys, "<module sys>"),
    (test_a_lock_becomes_text, "<function test_a_lock_becomes_text>"),
    ("x".upper, "<function str.upper>"),
    (ExceptionGroup("many", [ValueError("a")]), "ExceptionGroup: many (1 sub-exception)"),
    (10**5_000, "<unprintable int: ValueError>"),
]


@pytest.mark.parametrize(("value", "expected"), MORE_FORMS, ids=map(str, range(len(MORE_FORMS))))
def test_more_plain_forms(value: object, expected: object) -> None:
    taken = snapshot(value, VALUE)
    if isinstance(value, Settings):
        assert isinstance(taken, dict)
        assert "s3cret" not in str(taken.pop("key"))
        expected = {"name": "n", "more": 1}
    assert taken == expected
    assert type(taken) is type(expected)


def test_an_object_that_lies_about_its_class_is_not_asked() -> None:
    snapshot([Liar()])
    assert stored(Liar(), "shape") is None
    assert Liar.asked == []


@pytest.mark.parametrize("make", [generator, lambda: iter([1]), lambda: map(str, [1]), lambda: (one for one in [1])])
def test_nothing_is_consumed(make: Callable[[], Any]) -> None:
    source = make()
    snapshot({"source": source})
    assert len(list(source)) == 1


@pytest.mark.parametrize(
    "value",
    [
        MagicMock(),
        functools.partial(print, 1),
        Endless(),
        threading.local(),
        object(),
        type("Broken", (), {"__repr__": len})(),
        type("Huge", (), {"__repr__": huge})(),
        [float("nan")] * 100_000,
        {str(number): number for number in range(100_000)},
        ["x" * 100] * 100_000,
        [["x" * 10_000_000] * 100],
        "é" * 3_000_000,
        "\ud800" * 3_000_000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_any_size_ends_as_a_bounded_one(value: object) -> None:
    taken = snapshot(value, VALUE)
    assert len(orjson.dumps(_encodable(taken))) < 2 * VALUE.bytes


def test_a_cut_text_says_how_long_it_was() -> None:
    taken = snapshot({"data": "x" * 5_000, "name": "short"}, Limits(bytes=4_000))
    assert taken == {"data": "x" * 1_998 + "… <cut: 5000 characters in all>", "name": "short"}
    assert snapshot("é" * 5_000, Limits(bytes=4_000)) == "é" * 1_000 + "… <cut: 5000 characters in all>"
    assert snapshot(["x" * 900] * 9, Limits(bytes=2_000)) == [
        "x" * 900,
        "x" * 900,
        "x" * 200 + "… <cut: 900 characters in all>",
        "… <6 more>",
    ]


def test_a_cut_container_says_how_much_more_there_was() -> None:
    assert snapshot(list(range(100)), Limits(nodes=4)) == [0, 1, 2, "… <97 more>"]
    assert snapshot(dict.fromkeys("abcdef", 0), Limits(nodes=3)) == {"a": 0, "b": 0, "…": "… <4 more>"}


def test_a_series_keeps_what_fits_and_counts_the_rest() -> None:
    series = Series(Limits(bytes=2_500))
    for _ in range(10):
        series.add("x" * 1_000)
    assert len(series) == 10
    assert str(series.text()).endswith("… <7 more>")
    series.add({"a": 1})
    assert series.text() is None
    assert series.values()[-1] == "… <8 more>"


def test_a_mutable_item_is_kept_as_it_was() -> None:
    series, item = Series(), {"n": 1}
    series.add(item)
    item["n"] = 2
    series.add(item)
    assert series.values() == [{"n": 1}, {"n": 2}]

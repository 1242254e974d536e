"""A snapshot is plain, cannot raise, and does not change when the original does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from looopy_otel.core.snapshot import MAX_NODES, Shape, shape_of, snapshot, snapshot_messages
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
        ([Hostile(a=1), "next"], ["<unprintable Hostile: ValueError>", "next"]),
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
    assert result[-1] == "…"


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

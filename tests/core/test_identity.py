"""Sessions nest, follow tasks, and end where they were opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

import looopy_otel as lo
from looopy_otel.core.identity import NOBODY, Identity, current_identity


def test_nobody_outside() -> None:
    assert current_identity() is NOBODY


def test_nested_sessions_add_to_the_outer_one() -> None:
    with lo.session("s-1", user_id="u", tags=["a"], metadata={"tier": "pro"}, trace_name="t"):
        with lo.session("s-2", tags=["b", "a"], metadata={"k": 1}):
            assert current_identity() == Identity(
                session_id="s-2", user_id="u", tags=("a", "b"), metadata={"tier": "pro", "k": 1}, trace_name="t"
            )
        assert current_identity().session_id == "s-1"
    assert current_identity() is NOBODY


async def test_sessions_follow_tasks_and_do_not_leak() -> None:
    async def inner(name: str) -> str | None:
        async with lo.session(name):
            await asyncio.sleep(0)
            return await asyncio.create_task(read())

    async def read() -> str | None:
        return current_identity().session_id

    assert await asyncio.gather(*(inner(f"s-{n}") for n in range(20))) == [f"s-{n}" for n in range(20)]
    assert current_identity() is NOBODY


async def test_a_generator_closed_in_another_task_raises_nothing() -> None:
    async def numbers() -> AsyncGenerator[int]:
        with lo.session("s-1"):
            yield 1
            yield 2

    generator = numbers()
    assert await anext(generator) == 1
    await asyncio.create_task(generator.aclose())


def test_the_same_session_object_can_be_entered_again() -> None:
    scope = lo.session("s-1")
    with scope, scope:
        assert current_identity().session_id == "s-1"
    assert current_identity() is NOBODY


def test_session_id_falls_back_to_the_task() -> None:
    assert Identity(task_id="t").effective_session_id == "t"
    assert Identity(task_id="t", session_id="s").effective_session_id == "s"


@pytest.mark.parametrize(
    "wrong",
    [{"tags": "beta"}, {"session_id": 1.5}, {"user_id": True}, {"trace_name": b"x"}, {"metadata": ["a"]}],
)
def test_wrong_arguments_say_what_to_write(wrong: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="must be a"):
        lo.session(**cast("Any", wrong))


def test_numbers_as_ids_become_text() -> None:
    with lo.session(7, user_id=42):
        assert (current_identity().session_id, current_identity().user_id) == ("7", "42")


def test_metadata_is_taken_as_it_is_now_whatever_is_in_it() -> None:
    class Unprintable:
        def __repr__(self) -> str:
            raise RuntimeError

    rows = [1]
    with lo.session(metadata=cast("Any", {1: "a", None: "b", "rows": rows, "odd": Unprintable()})):
        rows.append(2)
        assert current_identity().metadata == {
            "1": "a",
            "None": "b",
            "rows": [1],
            "odd": "<unprintable Unprintable: RuntimeError>",
        }

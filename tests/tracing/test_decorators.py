"""`trace_span` on every kind of function: same kind, same behaviour, right tree."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import AsyncGenerator, Generator
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from tests.tracing.conftest import Recorded, attributes


@lo.trace_span
def add(a: int, b: int = 2) -> int:
    """Adds."""
    return a + b


@lo.trace_span(name="async-add")
async def add_async(a: int, b: int = 2) -> int:
    with lo.span("inside"):
        await asyncio.sleep(0)
    return a + b


@lo.trace_span
def echo(start: int) -> Generator[int, str, str]:
    heard: list[str] = []
    try:
        for number in range(start, start + 3):
            with lo.span(f"item-{number}"):
                pass
            heard.append((yield number))
    except ValueError as error:
        yield -1
        return f"caught {error}"
    return ",".join(heard)


@lo.trace_span
async def count(to: int) -> AsyncGenerator[int]:
    for number in range(to):
        with lo.span(f"item-{number}"):
            await asyncio.sleep(0)
        yield number


class Tool:
    @lo.trace_span
    def method(self, x: int) -> int:
        return x * 2

    @classmethod
    @lo.trace_span
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__}{x}"


def test_a_function_keeps_its_face_and_is_recorded(recorded: Recorded) -> None:
    assert add(1) == 3
    assert (add.__name__, add.__doc__, str(inspect.signature(add))) == (
        "add",
        "Adds.",
        "(a: 'int', b: 'int' = 2) -> 'int'",
    )
    assert pickle.loads(pickle.dumps(add)) is add
    seen = attributes(recorded.span("add"))
    assert seen["langfuse.observation.input"] == '{"a":1}'
    assert seen["langfuse.observation.output"] == "3"


async def test_a_coroutine_function(recorded: Recorded) -> None:
    assert inspect.iscoroutinefunction(add_async)
    assert await add_async(1, b=5) == 6
    assert attributes(recorded.span("async-add"))["langfuse.observation.input"] == '{"a":1,"b":5}'
    assert recorded.parent_name("inside") == "async-add"


def test_methods_leave_self_out(recorded: Recorded) -> None:
    assert Tool().method(4) == 8
    assert Tool.of_class(1) == "Tool1"
    assert attributes(recorded.span("Tool.method"))["langfuse.observation.input"] == '{"x":4}'
    assert attributes(recorded.span("Tool.of_class"))["langfuse.observation.input"] == '{"x":1}'


def test_a_generator_keeps_send_return_and_throw(recorded: Recorded) -> None:
    assert inspect.isgeneratorfunction(echo)
    generator = echo(1)
    assert next(generator) == 1
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert generator.send("a") == 2
    assert generator.send("b") == 3
    with pytest.raises(StopIteration) as stopped:
        generator.send("c")
    assert stopped.value.value == "a,b,c"
    assert attributes(recorded.span("echo"))["langfuse.observation.output"] == "[1,2,3]"
    assert recorded.parent_name("item-2") == "echo"
    throwing = echo(7)
    next(throwing)
    assert throwing.throw(ValueError("x")) == -1
    with pytest.raises(StopIteration, match="caught x"):
        next(throwing)


def test_a_generator_left_half_way_ends_its_span(recorded: Recorded) -> None:
    for _ in echo(1):
        break
    span = recorded.span("echo")
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["langfuse.observation.output"] == "[1]"


async def test_an_async_generator(recorded: Recorded) -> None:
    assert inspect.isasyncgenfunction(count)
    with lo.span("consumer"):
        async for number in count(3):
            with lo.span(f"consumed-{number}"):
                pass
    assert recorded.parent_name("item-1") == "count"
    assert recorded.parent_name("consumed-1") == "consumer"
    assert recorded.parent_name("count") == "consumer"


async def test_an_async_generator_closed_in_another_task(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    generator = count(3)
    assert await anext(generator) == 0
    await asyncio.create_task(cast("Any", generator.aclose()))
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert recorded.span("count").status.status_code is StatusCode.UNSET
    assert caplog.text == ""


def test_a_failure_passes_and_is_recorded(recorded: Recorded) -> None:
    @lo.trace_span
    def fail(x: int) -> int:
        raise LookupError(f"no {x}")

    with pytest.raises(LookupError, match="no 3"):
        fail(3)
    assert recorded.span("fail").status.description == "no 3"


def test_a_wrong_call_fails_as_it_would_undecorated(recorded: Recorded) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        cast("Any", add)()
    assert recorded.span("add").status.status_code is StatusCode.ERROR


def test_untraced_nothing_happens() -> None:
    assert add(1) == 3
    assert next(echo(1)) == 1


def test_only_callables_are_decorated() -> None:
    with pytest.raises(TypeError, match="name="):
        lo.trace_span(cast("Any", "load"))

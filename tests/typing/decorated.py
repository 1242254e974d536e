"""What type checkers make of decorated functions; the test beside compares the revealed types with the comments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TypeVar, reveal_type

from looopy_otel.instrument.decorators import trace_agent, trace_iteration, trace_llm, trace_span, trace_tool
from looopy_otel.instrument.flush_after import flush_after
from looopy_otel.instrument.spans import agent_span, current, iteration_span, llm_span, span, tool_span

T = TypeVar("T")


@trace_agent
def sync(a: int, *, b: str = "") -> list[int]:
    return [a]


@trace_iteration(number=1)
async def coroutine(a: int, b: str = "") -> bytes:
    return b""


@trace_llm(model="gpt-4o")
def generator(a: int) -> Generator[int, str, bytes]:
    yield a
    return b""


@trace_tool
async def async_generator(a: int) -> AsyncGenerator[int, str]:
    yield a


@trace_span(name="first")
def generic(items: list[T]) -> T:
    return items[0]


@flush_after
def flushed(a: int, *, b: str = "") -> list[int]:
    return [a]


@flush_after(timeout=2.0)
async def flushed_coroutine(a: int) -> bytes:
    return b""


@flush_after
def flushed_generator(a: int) -> Generator[int, str, bytes]:
    yield a
    return b""


@flush_after(timeout=2.0)
async def flushed_async_generator(a: int) -> AsyncGenerator[int, str]:
    yield a


class Made:
    @trace_tool
    def method(self, a: int) -> str:
        return ""

    @trace_llm(model="gpt-4o")
    async def coroutine(self, a: int) -> str:
        return ""

    @classmethod
    @trace_span
    def of_class(cls, a: int) -> str:
        return ""

    @staticmethod
    @trace_span
    def static(a: int) -> str:
        return ""

    @trace_tool(name="above")
    @staticmethod
    def above_static(a: int) -> str:
        return ""

    @trace_agent
    @classmethod
    def above_of_class(cls, a: int) -> str:
        return ""


reveal_type(sync)  # (a: int, *, b: str = "") -> list[int]
reveal_type(coroutine)  # (a: int, b: str = "") -> CoroutineType[Any, Any, bytes]
reveal_type(generator)  # (a: int) -> Generator[int, str, bytes]
reveal_type(async_generator)  # (a: int) -> AsyncGenerator[int, str]
reveal_type(generic([1]))  # int
reveal_type(flushed)  # (a: int, *, b: str = "") -> list[int]
reveal_type(flushed_coroutine)  # (a: int) -> CoroutineType[Any, Any, bytes]
reveal_type(flushed_generator)  # (a: int) -> Generator[int, str, bytes]
reveal_type(flushed_async_generator)  # (a: int) -> AsyncGenerator[int, str]
reveal_type(Made().method)  # (a: int) -> str
reveal_type(Made().coroutine)  # (a: int) -> CoroutineType[Any, Any, str]
reveal_type(Made.of_class)  # (a: int) -> str
reveal_type(Made.static)  # (a: int) -> str
reveal_type(Made.above_static)  # (a: int) -> str
reveal_type(Made.above_of_class)  # (a: int) -> str
reveal_type(trace_tool(lambda: 1))  # () -> int


async def blocks() -> None:
    """The context managers give recorders."""
    with agent_span("a") as run, iteration_span(1) as turn, llm_span(model="m") as call:
        reveal_type((run, turn, call))  # tuple[Recorder, Recorder, Recorder]
    async with tool_span("t") as tool, span("s") as step:
        reveal_type((tool, step, current()))  # tuple[Recorder, Recorder, Recorder]

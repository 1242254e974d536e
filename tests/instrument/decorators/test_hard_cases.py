"""Where a recording could get in the way: interrupts, time limits, odd objects, blocks that are left elsewhere."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import linecache
import signal
import sys
import types
from collections.abc import Callable, Generator, Iterator
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.testing import CapturedSpans, capture_spans

INPUT = "langfuse.observation.input"


def test_a_block_that_is_left_while_suppressed_leaves_the_outer_one_alone(captured: CapturedSpans) -> None:
    block = lo.span("block")
    with block as outer:
        with lo.suppressed(), block:
            pass
        assert lo.current() is outer
        outer.record(output="late")
        with lo.span("child"):
            pass
    assert captured.outline() == ["block", "  child"]
    assert captured.attributes("block")["langfuse.observation.output"] == "late"


def test_blocks_that_are_left_elsewhere_do_not_end_each_other(captured: CapturedSpans) -> None:
    block, base = lo.span("block"), contextvars.copy_context()
    first, second = base.copy().run(block.__enter__), base.copy().run(block.__enter__)
    error = ValueError("first")
    base.copy().run(block.__exit__, ValueError, error, None)
    first.record(output="1")
    second.record(output="2")
    base.copy().run(block.__exit__, None, None, None)
    outputs = {str(span.attributes["langfuse.observation.output"]) for span in captured.spans() if span.attributes}
    assert outputs == {"1", "2"}
    assert {span.status.status_code for span in captured.spans()} == {StatusCode.UNSET}


class AnyAttribute:
    """As the proxies of RPC libraries."""

    def __getattr__(self, name: str) -> AnyAttribute:
        return AnyAttribute()

    def __call__(self, *args: object) -> int:
        return 1


@pytest.mark.parametrize("target", [Mock(return_value=1), MagicMock(return_value=1), AnyAttribute()])
def test_objects_that_answer_to_any_attribute(target: Any, captured: CapturedSpans) -> None:
    assert lo.trace_tool(target)(2) == 1
    assert captured.attributes("tool.execute")["gen_ai.tool.name"] == type(target).__name__


def test_an_async_mock(captured: CapturedSpans) -> None:
    decorate: Any = lo.trace_tool
    assert asyncio.run(decorate(AsyncMock(return_value=1))()) == 1
    assert captured.outline() == ["tool.execute"]


@pytest.mark.parametrize("recorded", [True, False])
def test_generator_based_coroutines_are_awaited_as_before(recorded: bool) -> None:
    @lo.trace_span(name="wait")
    @types.coroutine
    def wait() -> Generator[None, None, int]:
        yield
        return 5

    async def main() -> int:
        return await wait()

    if recorded:
        with capture_spans() as captured:
            assert asyncio.run(main()) == 5
        assert captured.attributes("wait")["langfuse.observation.output"] == "5"
    else:
        assert asyncio.run(main()) == 5


class Panic(BaseException):
    """As the bindings of other languages raise it."""


class Panics(Exception):
    def __repr__(self) -> str:
        raise Panic

    __str__ = __repr__


def test_a_panic_of_a_value_is_none_of_the_call(captured: CapturedSpans) -> None:
    @lo.trace_span
    def fail(value: object) -> object:
        if isinstance(value, Exception):
            raise value
        return value

    with pytest.raises(Panics):
        fail(Panics())
    assert captured.spans()[0].status.description == "<unprintable Panics>"


def test_what_is_traced_in_a_repr_is_not_recorded(captured: CapturedSpans) -> None:
    class Document:
        @lo.trace_span
        def title(self) -> str:
            return "title"

        def __repr__(self) -> str:
            return self.title()

    @lo.trace_tool
    def search(document: Document) -> None:
        """Finds nothing."""

    search(Document())
    assert captured.outline() == ["tool.execute"]
    assert captured.attributes("tool.execute")[INPUT] == '{"document":"title"}'


class LimitExceeded(Exception):
    pass


@pytest.fixture
def alarm() -> Iterator[Callable[[BaseException], None]]:
    """Raises an exception in the main thread, when it is asked to."""
    raised: list[BaseException] = []

    def handler(*_: object) -> None:
        raise raised[0]

    before = signal.signal(signal.SIGUSR1, handler)

    def raise_in_handler(error: BaseException) -> None:
        raised[:] = [error]
        signal.raise_signal(signal.SIGUSR1)

    yield raise_in_handler
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("error", [LimitExceeded(), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["argument", "result"])
def test_what_a_signal_raises_in_a_recording_reaches_the_user(
    error: BaseException, where: str, alarm: Callable[[BaseException], None], captured: CapturedSpans
) -> None:
    class Slow:
        def __repr__(self) -> str:
            alarm(error)
            return ""

    @lo.trace_tool
    def tool(value: object) -> object:
        return Slow() if where == "result" else value

    with pytest.raises(type(error)):
        tool(Slow() if where == "argument" else 1)
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert len(captured.spans()) == (1 if where == "result" else 0)


def test_an_interrupt_at_any_moment_leaves_nothing_current(captured: CapturedSpans) -> None:
    """Interrupts come at each of the lines of ours that run in one call, in turn."""

    @lo.trace_tool
    def tool(value: int) -> int:
        return value

    def interrupt_at(wanted: int) -> bool:
        lines = 0
        entered: set[tuple[types.FrameType, int]] = set()

        def tracer(frame: types.FrameType, event: str, _: object) -> Any:
            nonlocal lines
            if "looopy_otel" not in frame.f_code.co_filename or _in_finaliser(frame):
                return None
            if event == "line" and not _without_signals(frame, entered):
                lines += 1
                if lines == wanted:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return tracer

        outer = sys.gettrace()
        try:
            sys.settrace(tracer)
            tool(1)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(outer)
        return False

    moment = 1
    while contextvars.copy_context().run(_leaves_nothing, lambda: interrupt_at(moment)):  # noqa: B023
        moment += 1
    assert moment > 100


def _without_signals(frame: types.FrameType, entered: set[tuple[types.FrameType, int]]) -> bool:
    """True at places where no signal can come in, but where a tracer that raises would leave a lock acquired.

    They are the end of a `with` block, which is its first line again, and the line of a `try`, which is no code.
    """
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip()
    place = (frame, frame.f_lineno)
    if line.startswith("with ") and place not in entered:
        entered.add(place)
        return False
    return line.startswith(("with ", "try:"))


def _in_finaliser(frame: types.FrameType | None) -> bool:
    """True where the interpreter would swallow what is raised."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def _leaves_nothing(act: Callable[[], bool]) -> bool:
    interrupted = act()
    left = hooks.innermost()
    assert left is None or getattr(left, "ended", False)
    assert not trace.get_current_span().is_recording()
    return interrupted


def closing() -> Generator[int, None, str | None]:
    try:
        yield 1
    except GeneratorExit:
        return "closed"
    return None


@pytest.mark.parametrize("function", [closing, lo.trace_span(closing)])
def test_untraced_generators_are_left_as_bare_ones(function: Callable[[], Generator[int, None, str | None]]) -> None:
    one, other = function(), function()
    next(one)
    next(other)
    assert one.close() == ("closed" if sys.version_info >= (3, 13) else None)
    with pytest.raises(StopIteration) as stop:
        other.throw(GeneratorExit)
    assert stop.value.value == "closed"


def test_namesakes_among_the_keywords(captured: CapturedSpans) -> None:
    @lo.trace_span(name="call")
    def call(a: int, /, *args: int, b: int = 2, **kw: int) -> int:
        return a

    call(1, 2, 3, a=5, args=7, b=3)
    assert captured.attributes("call")[INPUT] == '{"a":1,"args":[2,3],"b":3,"kw":{"a":5,"args":7}}'


def test_the_object_is_left_out_above_a_cache_and_in_new(captured: CapturedSpans) -> None:
    class Thing:
        @lo.trace_span(name="new")
        def __new__(cls, x: int) -> Any:
            return super().__new__(cls)

        @lo.trace_span(name="cached")
        @functools.lru_cache  # noqa: B019
        def cached(self, k: int) -> int:
            return k

    Thing(1).cached(2)
    assert (captured.attributes("new")[INPUT], captured.attributes("cached")[INPUT]) == ('{"x":1}', '{"k":2}')


ODD = np.array([1, 2])
ODD_BLOCKS: dict[str, Callable[[], Any]] = {
    "no tools": lambda: lo.llm_span(tools=None),  # pyright: ignore[reportArgumentType]
    "tools": lambda: lo.llm_span(tools=5),  # pyright: ignore[reportArgumentType]
    "parameters": lambda: lo.llm_span(parameters=[1]),  # pyright: ignore[reportArgumentType]
    "names": lambda: lo.llm_span(model=None, system=5, operation=5, stream=ODD),  # pyright: ignore[reportArgumentType]
    "metadata": lambda: lo.agent_span("a", metadata=ODD),  # pyright: ignore[reportArgumentType]
    "task": lambda: lo.agent_span("a", task_id=ODD),  # pyright: ignore[reportArgumentType]
    "turn": lambda: lo.iteration_span(object()),  # pyright: ignore[reportArgumentType]
    "call": lambda: lo.tool_span("t", call_id=ODD, tool_type=None),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("name", ODD_BLOCKS)
def test_odd_arguments_of_blocks_do_not_hurt(name: str, captured: CapturedSpans) -> None:
    with ODD_BLOCKS[name](), lo.span("inside"):
        pass
    assert captured.outline()[1:] == ["  inside"]


def test_metadata_is_bounded_and_may_be_anything(captured: CapturedSpans) -> None:
    with lo.span("step") as step:
        step.record(metadata={"large": "x" * 5_000_000})
        step.record(metadata=[1])  # pyright: ignore[reportArgumentType]
    seen = captured.attributes("step")
    assert len(str(seen["langfuse.observation.metadata.large"])) < 1_000_000
    assert "langfuse.observation.metadata.value" in seen

"""`flush_after`: what a function has made is delivered when it is over, and nothing else about it changes."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from types import coroutine
from typing import Any

import anyio
import pytest

import looopy_otel as lo
from tests.process_life.running import black_hole
from tests.support.otlp_sink import OTLPSink


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[OTLPSink]:
    """Where everything goes; the worker would begin in an hour only."""
    monkeypatch.setenv("LOOOPY_OTEL_EXPORT_DELAY", "3600")
    with OTLPSink() as sink, lo.configure(exporters="otlp", metrics="none", otlp_endpoint=sink.url):
        yield sink


def made(name: str = "step") -> None:
    with lo.span(name):
        pass


def test_a_function(sink: OTLPSink) -> None:
    @lo.flush_after
    @lo.trace_agent(name="agent")
    def handler(event: str, *, context: int = 1) -> tuple[str, int]:
        """Handles."""
        return event, context

    assert handler("event", context=2) == ("event", 2)
    assert sink.span_names == ["agent.execute"]
    assert handler.__doc__ == "Handles."
    assert str(inspect.signature(handler)) == "(event: 'str', *, context: 'int' = 1) -> 'tuple[str, int]'"


def test_a_function_that_raises(sink: OTLPSink) -> None:
    error = ValueError("as it was")

    @lo.flush_after(timeout=10)
    def handler() -> None:
        made()
        raise error

    with pytest.raises(ValueError, match="as it was") as raised:
        handler()
    assert raised.value is error
    assert sink.span_names == ["step"]


async def test_a_coroutine_function(sink: OTLPSink) -> None:
    @lo.flush_after
    async def handler(fails: bool) -> int:
        made()
        await asyncio.sleep(0)
        if fails:
            raise KeyError("as it was")
        return 5

    assert inspect.iscoroutinefunction(handler)
    assert await handler(False) == 5
    assert sink.span_names == ["step"]
    with pytest.raises(KeyError, match="as it was"):
        await handler(True)
    assert sink.span_names == ["step", "step"]


async def test_a_cancelled_coroutine(sink: OTLPSink) -> None:
    @lo.flush_after
    async def handler() -> None:
        made()
        await asyncio.sleep(60)

    task = asyncio.create_task(handler())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sink.span_names == ["step"]


def test_a_coroutine_that_is_thrown_away(sink: OTLPSink) -> None:
    @lo.flush_after
    async def handler() -> None:
        made()
        await waiting()

    handling = handler()
    assert handling.send(None) is None
    handling.close()
    assert [span.name for span in sink.wait_for(1)] == ["step"]


@coroutine
def waiting() -> Generator[None]:
    yield


async def test_what_types_coroutine_has_made(sink: OTLPSink) -> None:
    @lo.flush_after
    @coroutine
    def handler() -> Generator[Any, Any, int]:
        made()
        yield from asyncio.sleep(0).__await__()
        return 5

    assert await handler() == 5
    assert sink.span_names == ["step"]


def test_a_generator(sink: OTLPSink) -> None:
    @lo.flush_after
    @lo.trace_span(name="generator")
    def items() -> Generator[int, str, str]:
        said = yield 1
        try:
            yield len(said)
        except ValueError:
            yield 3
        return "result"

    generator = items()
    assert inspect.isgeneratorfunction(items)
    assert (next(generator), generator.send("four"), generator.throw(ValueError())) == (1, 4, 3)
    assert sink.span_names == []
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "result"
    assert sink.span_names == ["generator"]
    left = items()
    next(left)
    left.close()
    assert sink.span_names == ["generator", "generator"]


async def test_an_async_generator(sink: OTLPSink) -> None:
    @lo.flush_after
    @lo.trace_span(name="generator")
    async def items() -> AsyncGenerator[int, str]:
        said = yield 1
        try:
            yield len(said)
        except ValueError:
            yield 3

    generator = items()
    assert inspect.isasyncgenfunction(items)
    assert [await anext(generator), await generator.asend("four"), await generator.athrow(ValueError())] == [1, 4, 3]
    assert sink.span_names == []
    with pytest.raises(StopAsyncIteration):
        await anext(generator)
    assert sink.span_names == ["generator"]
    left = items()
    await anext(left)
    await left.aclose()
    assert sink.span_names == ["generator", "generator"]
    failing = items()
    await anext(failing)
    with pytest.raises(KeyError):
        await failing.athrow(KeyError())
    assert sink.span_names == ["generator"] * 3


def test_methods_of_all_sorts(sink: OTLPSink) -> None:
    class Thing:
        @lo.flush_after
        def method(self) -> str:
            made("method")
            return type(self).__name__

        @lo.flush_after
        @classmethod
        def of_class(cls) -> str:
            made("class")
            return cls.__name__

        @lo.flush_after(timeout=10)
        @staticmethod
        def static() -> str:
            made("static")
            return "static"

    assert (Thing().method(), Thing.of_class(), Thing.static()) == ("Thing", "Thing", "static")
    assert sink.span_names == ["method", "class", "static"]


def test_a_backend_that_never_answers_costs_the_timeout() -> None:
    @lo.flush_after(timeout=0.5)
    def handler() -> int:
        made()
        return 5

    with black_hole() as url:
        telemetry = lo.configure(exporters="otlp", metrics="none", otlp_endpoint=url)
        begun = time.monotonic()
        assert handler() == 5
        took = time.monotonic() - begun
        telemetry.shutdown(0.1)
    assert took < 3.0


async def test_the_event_loop_goes_on_meanwhile() -> None:
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(time.monotonic())
            await asyncio.sleep(0.01)

    @lo.flush_after(timeout=1.0)
    async def handler() -> None:
        made()

    with black_hole() as url:
        telemetry = lo.configure(exporters="otlp", metrics="none", otlp_endpoint=url)
        beating = asyncio.create_task(beat())
        await handler()
        beating.cancel()
        telemetry.shutdown(0.1)
    assert len(beats) > 10


def test_without_a_configuration_nothing_happens() -> None:
    threads = threading.active_count()

    @lo.flush_after
    async def handler() -> int:
        return 5

    assert asyncio.run(handler()) == 5
    assert lo.flush_after(lambda: 6)() == 6
    assert threading.active_count() == threads


def test_the_configuration_in_force_is_flushed(sink: OTLPSink) -> None:
    handler: Callable[[], None] = lo.flush_after(made)
    with OTLPSink() as other, lo.configure(exporters="otlp", metrics="none", otlp_endpoint=other.url) as telemetry:
        handler()
        assert other.span_names == ["step"]
        telemetry.shutdown()
        handler()
    assert sink.span_names == []


def test_wrong_use_is_told() -> None:
    with pytest.raises(TypeError, match="flush_after decorates functions, not float"):
        lo.flush_after(2.0)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="must not be negative"):
        lo.flush_after(timeout=-1)


async def test_a_coroutine_that_anyio_cancels_is_waited_for(sink: OTLPSink) -> None:
    @lo.flush_after
    async def handler() -> None:
        made()
        await anyio.sleep(60)

    with anyio.move_on_after(0.1) as scope:
        await handler()
    assert scope.cancelled_caught
    assert sink.span_names == ["step"]

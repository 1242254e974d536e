"""`flush_after`: everything is delivered when a function ends, for places that are frozen or ended right then."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any, ParamSpec, TypeVar, overload

from looopy_otel.core.flushing import flush, flush_off_loop, flush_unwaited
from looopy_otel.instrument.decorators import Decorator, decorated
from looopy_otel.instrument.wrap import Bodies, first_step, of_same_kind, opened_first

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@overload
def flush_after(function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def flush_after(function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def flush_after(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def flush_after(*, timeout: float = 5.0) -> Decorator: ...
def flush_after(function: Any = None, /, *, timeout: float = 5.0) -> Any:
    """Flushes whenever a function ends, for handlers of AWS Lambda and its like, frozen as soon as they return.

    ::

        @lo.flush_after(timeout=2.0)
        @lo.trace_agent
        def handler(event, context): ...

    It stands above the decorators that record. However the function ends, its result or exception passes unchanged
    once everything is delivered, or after `timeout`; what is not delivered by then waits in the spool directory, if the
    place has one that it keeps. The configuration that is in force at that time is flushed; without one nothing
    happens. Async functions wait without blocking the event loop. A generator flushes when it is exhausted, closed or
    left, not at each item.

    Args:
        function: The function, when used bare: sync or async, generator or async generator, a method of any sort.
        timeout: Seconds that the flush may take.

    Raises:
        TypeError: If what is decorated is not a function.
        ValueError: If `timeout` is negative.
    """
    if timeout < 0:
        raise ValueError(f"timeout must not be negative, and it is {timeout}")
    bodies = Bodies(
        plain=partial(_plain, timeout=timeout),
        coroutine=partial(_coroutine, timeout=timeout),
        generator=partial(_generator, timeout=timeout),
        async_generator=partial(_async_generator, timeout=timeout),
    )
    return decorated("flush_after", function, lambda target: of_same_kind(target, bodies))


def _plain(function: Callable[P, R], timeout: float) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        finally:
            flush(timeout)

    return call


def _coroutine(function: Callable[P, Awaitable[R]], timeout: float) -> Callable[P, Awaitable[R]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        closed = False
        try:
            return await function(*args, **kwargs)
        except GeneratorExit:
            closed = True  # Thrown away by its loop: nothing can be awaited any more.
            raise
        finally:
            if closed:
                flush_unwaited(timeout)
            else:
                await flush_off_loop(timeout)

    return call


def _generator(function: Callable[P, Generator[Any, Any, R]], timeout: float) -> Callable[P, Generator[Any, Any, R]]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
        try:
            return (yield from function(*args, **kwargs))
        finally:
            if not sys.is_finalizing():
                flush(timeout)

    return call


def _async_generator(
    function: Callable[P, AsyncGenerator[Any, Any]], timeout: float
) -> Callable[..., AsyncGenerator[Any, Any]]:
    async def opened(*args: P.args, **kwargs: P.kwargs) -> _Flushed:
        return _Flushed(function(*args, **kwargs), timeout)

    return opened_first(function, opened)


class _Flushed:
    """An async generator that flushes when it is closed, which whoever iterates it does at every end."""

    def __init__(self, generator: AsyncGenerator[Any, Any], timeout: float) -> None:
        self._generator = generator
        self._timeout = timeout
        self._begun = False

    async def asend(self, value: Any) -> Any:
        if self._begun:
            return await self._generator.asend(value)
        self._begun = True
        return await first_step(self._generator, None)

    async def athrow(self, error: BaseException) -> Any:
        return await self._generator.athrow(error)

    async def aclose(self) -> None:
        try:
            await self._generator.aclose()
        finally:
            await flush_off_loop(self._timeout)

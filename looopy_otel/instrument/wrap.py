"""One wrapper per kind of function: sync, async, generator, async generator. No other module has these four bodies.

The wrapper is of the same kind as what it wraps. Only the user's own call stands in a ``try``; a recorder never raises.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from looopy_otel.core.hooks import Recorder

P = ParamSpec("P")
R = TypeVar("R")
Begin = Callable[[tuple[Any, ...], dict[str, Any]], Recorder]
"""Opens the recorder of one call, from its positional and keyword arguments."""

MAX_ITEMS = 1_000
"""Items of a generator that are kept as its output; the generator itself goes on."""


def recorded(function: Callable[P, R], begin: Begin) -> Callable[P, R]:
    """Wraps a function so that each call of it is recorded.

    Args:
        function: Any function, method or callable object, of any of the four kinds.
        begin: Opens the recorder of one call.

    Returns:
        A function of the same kind with the same signature.
    """
    target = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isasyncgenfunction(target):
        return cast("Callable[P, R]", _async_generator(cast("Any", function), begin))
    if inspect.isgeneratorfunction(target):
        return cast("Callable[P, R]", _generator(cast("Any", function), begin))
    if inspect.iscoroutinefunction(target):
        return cast("Callable[P, R]", _coroutine(cast("Any", function), begin))
    return _plain(function, begin)


def _plain(function: Callable[P, R], begin: Begin) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        recorder = begin(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            recorder.end(error=error)
            raise
        recorder.record(output=result)
        recorder.end(result)
        return result

    return call


def _coroutine(function: Callable[P, Awaitable[R]], begin: Begin) -> Callable[P, Awaitable[R]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        recorder = begin(args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            recorder.end(error=error)
            raise
        recorder.record(output=result)
        recorder.end(result)
        return result

    return call


def _generator(function: Callable[P, Generator[Any, Any, R]], begin: Begin) -> Callable[P, Generator[Any, Any, R]]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
        recorder = begin(args, kwargs)
        items: list[Any] = []
        try:
            generator = function(*args, **kwargs)
            step: Callable[[], Any] = generator.__next__
            while True:
                item = step()
                if len(items) < MAX_ITEMS:
                    items.append(item)
                recorder.suspend()
                try:
                    sent = yield item
                except GeneratorExit:
                    recorder.resume()
                    generator.close()
                    raise
                except BaseException as thrown:
                    recorder.resume()
                    step = _bound(generator.throw, thrown)
                else:
                    recorder.resume()
                    step = _bound(generator.send, sent)
        except StopIteration as stop:
            recorder.record(output=items)
            recorder.end()
            return stop.value
        except BaseException as error:
            recorder.record(output=items)
            recorder.end(error=error)
            raise

    return call


def _async_generator(
    function: Callable[P, AsyncGenerator[Any, Any]], begin: Begin
) -> Callable[P, AsyncGenerator[Any, Any]]:
    @wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        recorder = begin(args, kwargs)
        items: list[Any] = []
        try:
            generator = function(*args, **kwargs)
            step: Callable[[], Awaitable[Any]] = generator.__anext__
            while True:
                item = await step()
                if len(items) < MAX_ITEMS:
                    items.append(item)
                recorder.suspend()
                try:
                    sent = yield item
                except GeneratorExit:
                    recorder.resume()
                    await generator.aclose()
                    raise
                except BaseException as thrown:
                    recorder.resume()
                    step = _bound(generator.athrow, thrown)
                else:
                    recorder.resume()
                    step = _bound(generator.asend, sent)
        except StopAsyncIteration:
            recorder.record(output=items)
            recorder.end()
        except BaseException as error:
            recorder.record(output=items)
            recorder.end(error=error)
            raise

    return call


def _bound(method: Callable[[Any], R], argument: Any) -> Callable[[], R]:
    return lambda: method(argument)

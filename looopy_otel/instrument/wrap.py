"""One wrapper per kind of function: sync, async, generator, async generator. No other module records in these bodies.

The wrapper is of the same kind as what it wraps. A recording never raises, but an interrupt may reach it; it opens
inside the ``try``, so that its end is certain. What a consumer sends and throws into a generator reaches the one behind
it, `GeneratorExit` included, and no frame keeps an exception that passes, so that none of them lives longer than in
code without the wrapper.

A generator that is never iterated and a coroutine that is never awaited record nothing. Since a generator's body only
runs when it is iterated, arguments that do not fit are complained of then. A plain function that returns an awaitable,
or an iterator, is a plain function: its recording ends when it returns.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import WRAPPER_ASSIGNMENTS, partial, update_wrapper
from types import coroutine
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from looopy_otel.instrument.function_call import UNRECORDED, FunctionCall

P = ParamSpec("P")
R = TypeVar("R")

Begin: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], FunctionCall | None]
"""Opens the recording of one call, from its positional and keyword arguments; None where nothing is recorded."""


def recorded(function: Callable[P, R], begin: Begin) -> Callable[P, R]:
    """Wraps a function so that each call of it is recorded.

    Args:
        function: Any function, method, partial or callable object, of any of the four kinds.
        begin: Opens the recording of one call.

    Returns:
        A function of the same kind with the same signature.
    """
    bodies = Bodies(
        plain=partial(_plain, begin=begin),
        coroutine=partial(_coroutine, begin=begin),
        generator=partial(_generator, begin=begin),
        async_generator=partial(_async_generator, begin=begin),
    )
    return of_same_kind(function, bodies)


@dataclass(frozen=True, slots=True)
class Bodies:
    """The four bodies of one wrapper: each takes a function of its kind and gives the one that stands around it.

    Attributes:
        plain: For sync functions, also those that give an awaitable or an iterator.
        coroutine: For coroutine functions.
        generator: For generator functions.
        async_generator: For async generator functions.
    """

    plain: Callable[[Any], Callable[..., Any]]
    coroutine: Callable[[Any], Callable[..., Any]]
    generator: Callable[[Any], Callable[..., Any]]
    async_generator: Callable[[Any], Callable[..., Any]]


def of_same_kind(function: Callable[P, R], bodies: Bodies) -> Callable[P, R]:
    """Wraps a function in the body of its kind.

    Args:
        function: Any function, method, partial or callable object, of any of the four kinds.
        bodies: The four bodies.

    Returns:
        A function of the same kind with the same signature.
    """
    body = bodies.plain
    if _is_of(inspect.isasyncgenfunction, function):
        body = bodies.async_generator
    elif _is_of(_is_generator_coroutine, function):
        body = partial(_generator_coroutine, body=bodies.coroutine)
    elif _is_of(inspect.isgeneratorfunction, function):
        body = bodies.generator
    elif _is_of(inspect.iscoroutinefunction, function):
        body = bodies.coroutine
    return cast("Callable[P, R]", _faced(body(function), function))


def is_generator(function: Callable[..., Any]) -> bool:
    """True for what gives a generator or an async generator when it is called."""
    return _is_of(inspect.isgeneratorfunction, function) or _is_of(inspect.isasyncgenfunction, function)


def _is_of(is_kind: Callable[[object], bool], function: object) -> bool:
    """Whether a function is of a kind, or the one behind a partial, or that of a callable object."""
    behind = function
    while issubclass(type(behind), partial):
        behind = cast("partial[Any]", behind).func
    return is_kind(function) or is_kind(behind if inspect.isroutine(behind) else type(behind).__call__)


_CACHE_METHODS = ("cache_clear", "cache_info", "cache_parameters")
"""What `functools.lru_cache` gives a function besides its attributes."""


def _faced(wrapper: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a wrapper the name, docs and signature of what it wraps; a callable object's attributes stay with it."""
    if inspect.isroutine(function):
        for name in _CACHE_METHODS:
            if hasattr(function, name):
                setattr(wrapper, name, getattr(function, name))
        return update_wrapper(wrapper, function)
    update_wrapper(wrapper, function, assigned=(), updated=())
    behind: Any = cast("Any", function).func if issubclass(type(function), partial) else type(function)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    for name in WRAPPER_ASSIGNMENTS:
        if name not in ("__annotations__", "__type_params__") and hasattr(behind, name):
            setattr(wrapper, name, getattr(behind, name))
    return wrapper


def _plain(function: Callable[P, R], begin: Begin) -> Callable[P, R]:
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        recording = None
        try:
            recording = begin(args, kwargs)
            result = function(*args, **kwargs)
            if recording is not None:
                recording.returned(result)
        except BaseException as error:
            if recording is not None:
                recording.failed(error)
            raise
        return result

    return call


def _coroutine(function: Callable[P, Awaitable[R]], begin: Begin) -> Callable[P, Awaitable[R]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> R:
        recording = None
        try:
            recording = begin(args, kwargs)
            result = await function(*args, **kwargs)
            if recording is not None:
                recording.returned(result)
        except BaseException as error:
            if recording is not None:
                recording.failed(error)
            raise
        return result

    return call


def _generator_coroutine(
    function: Callable[..., Any], body: Callable[[Any], Callable[..., Any]]
) -> Callable[..., Awaitable[Any]]:
    awaited = body(function)

    @coroutine
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from cast("Generator[Any, Any, Any]", awaited(*args, **kwargs)))

    return call


def _is_generator_coroutine(function: object) -> bool:
    """True for what ``types.coroutine`` has made of a generator function."""
    code = getattr(function, "__code__", None)
    return inspect.isgeneratorfunction(function) and bool(code and code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _generator(function: Callable[P, Generator[Any, Any, R]], begin: Begin) -> Callable[P, Generator[Any, Any, R]]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, R]:
        recording, left = UNRECORDED, False
        try:
            recording = begin(args, kwargs) or UNRECORDED
            generator = function(*args, **kwargs)
            step, argument = generator.send, cast("Any", None)
            while True:
                try:
                    item = step(argument)
                finally:
                    argument = None
                recording.item(item)
                recording.suspend()
                try:
                    argument = yield item
                    step, left = generator.send, False
                except BaseException as thrown:
                    step, argument, left = generator.throw, thrown, isinstance(thrown, GeneratorExit)
                recording.resume()
        except StopIteration as stop:
            value = stop.value
        except BaseException as error:
            recording.failed(error)
            raise
        if left:
            recording.failed(GeneratorExit())
        else:
            recording.exhausted(value)
        return value

    return call


def _async_generator(
    function: Callable[P, AsyncGenerator[Any, Any]], begin: Begin
) -> Callable[P, AsyncGenerator[Any, Any]]:
    async def call(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        recording, left = UNRECORDED, False
        try:
            recording = begin(args, kwargs) or UNRECORDED
            generator = function(*args, **kwargs)
            step, argument = cast("Callable[[Any], Awaitable[Any]]", partial(first_step, generator)), cast("Any", None)
            while True:
                try:
                    item = await step(argument)
                finally:
                    argument = None
                recording.item(item)
                recording.suspend()
                try:
                    argument = yield item
                    step, left = generator.asend, False
                except BaseException as thrown:
                    step, argument, left = generator.athrow, thrown, isinstance(thrown, GeneratorExit)
                recording.resume()
        except StopAsyncIteration:
            pass
        except BaseException as error:
            recording.failed(error)
            raise
        if left:
            recording.failed(GeneratorExit())
        else:
            recording.exhausted(None)

    return call


def opened_first(
    function: Callable[..., Any], opened: Callable[..., Awaitable[Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """An async generator function that first awaits a generator, and then is what that is.

    Args:
        function: Has the name and the signature.
        opened: Gets the arguments.
    """

    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = await opened(*args, **kwargs)
        step, argument = generator.asend, cast("Any", None)
        try:
            while True:
                try:
                    item = await step(argument)
                finally:
                    argument = None
                try:
                    argument = yield item
                    step = generator.asend
                except GeneratorExit:
                    raise
                except BaseException as thrown:
                    step, argument = generator.athrow, thrown
        except StopAsyncIteration:
            pass
        finally:
            await generator.aclose()

    return update_wrapper(call, function)


def first_step(generator: AsyncGenerator[Any, Any], argument: None) -> Awaitable[Any]:
    """Starts a wrapped async generator without telling the event loop of it.

    A loop that is shut down closes all generators that it knows of, at once. The wrapper is one of them and closes the
    one in it; if the loop did so too, the two would meet: "asynchronous generator is already running".
    """
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=None, finalizer=_left_to_the_wrapper)
    try:
        return generator.asend(argument)
    finally:
        sys.set_asyncgen_hooks(*before)


def _left_to_the_wrapper(generator: AsyncGenerator[Any, Any]) -> None:
    """Where even the wrapper was never closed, its loop is gone, and nothing can be awaited any more."""

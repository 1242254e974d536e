"""A traced function: one that asks a model and returns the answer, or a stream of it; sync or async."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial, update_wrapper
from types import CoroutineType, FunctionType, MethodType
from typing import Any, Final, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import installed
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.openai_embeddings import embedding_output
from looopy_otel.core.shapes.shape import Joiner, WireFormat
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.instrument.call import ClientCall, StreamRecord, WrapOptions
from looopy_otel.instrument.chain import Answer, Opened, arun_chain, run_chain
from looopy_otel.instrument.standing_in import StandIn, made_from
from looopy_otel.instrument.stream_proxy import is_stream, proxied

R = TypeVar("R")
_NONE: Final = object()
"""Stands for the None that a function returned; no `native` at all is the mark of a middleware's own response."""


_made: WeakKeyDictionary[Any, tuple[Any, ...]] = WeakKeyDictionary()
"""What wrapped functions were made of."""


def remember(wrapped: Any, made_of: tuple[Any, ...]) -> None:
    """Keeps what a wrapped function was made of, so that it is known when it is wrapped again."""
    _made[wrapped] = made_of


def made_of(target: Any) -> tuple[Any, ...] | None:
    """What a function was made of by `wrap`; None for any other object."""
    if issubclass(type(target), StandIn):
        inner, made = made_from(target)
        return inner, *(made[name] for name in ("options", "request", "response"))
    try:
        return _made.get(target)
    except TypeError:  # It cannot be hashed, or not be referred to weakly.
        return None


class Reading(Protocol):
    """What the calls of one function say: the request in its arguments, the answer in its result."""

    def operation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LLMCall:
        """The call that the arguments stand for; never raises."""
        ...

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], before: LLMCall, after: LLMCall
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with what a middleware changed in the call.

        Raises:
            TypeError: If the function cannot take it.
        """
        ...

    def may_stream(self, operation: LLMCall) -> bool:
        """Whether such a call may give a stream."""
        ...

    def sent(self, kwargs: dict[str, Any], call: ClientCall) -> tuple[dict[str, Any], bool]:
        """The keyword arguments with what tracing adds, and whether a chunk that comes of it is to be hidden."""
        ...

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads a result; None for one that nobody can read."""
        ...

    def joiner(self, stream: Any = None) -> Joiner:
        """Makes the joiner of one stream, given where the function returned it."""
        ...

    def written(self, response: LLMResponse, operation: LLMCall) -> Any:
        """What the caller gets for a response that a middleware made itself, or changed."""
        ...


class FunctionStream(StreamRecord):
    """The stream that a function returned; one without any notion of a finish reason is complete when it ends."""

    def __init__(self, call: ClientCall, joiner: Joiner) -> None:
        super().__init__(call.recorder, joiner, call.operation)
        self._exhausted = getattr(joiner, "exhausted", None)

    def exhaust(self) -> None:
        """Ends the call: no more chunks came."""
        if self._exhausted is not None:
            self._exhausted()
        super().exhaust()


def traced(
    function: Callable[..., R], reading: Reading, options: WrapOptions, holds: Callable[[], bool] = lambda: True
) -> Callable[..., R]:
    """Wraps a function that is no generator, so that each call of it is recorded as an LLM call.

    Args:
        function: Any sync or async function; it may return a stream.
        reading: What its calls say.
        options: What the user said.
        holds: Says at each call whether it still is to be recorded.
    """
    wrap = _asynchronous if _is_async(function) else _synchronous
    wrapped = update_wrapper(wrap(function, reading, options, holds), function)
    if not isinstance(function, FunctionType | MethodType):
        # A function of another kind has methods of its own, such as those of a cache.
        for name in dir(function):
            if not name.startswith("_"):
                setattr(wrapped, name, getattr(function, name))
    return cast("Callable[..., R]", wrapped)


def _synchronous(
    function: Callable[..., Any], reading: Reading, options: WrapOptions, holds: Callable[[], bool]
) -> Callable[..., Any]:
    awaited = _asynchronous(function, reading, options, holds) if _is_async(inspect.unwrap(function)) else None

    def call(*args: Any, **kwargs: Any) -> Any:
        if not holds() or (installed() is None and not options.middleware):
            return function(*args, **kwargs)
        if awaited is not None and options.middleware and asyncio._get_running_loop() is not None:
            # An async function behind a plain one, as SDKs have them; without a loop it may be its sync form.
            return awaited(*args, **kwargs)
        one = _Call(function, reading, options, args, kwargs)
        try:
            answer = run_chain(options.middleware, one.operation, one.perform)
        except BaseException as error:
            one.end(error=error)
            raise
        return one.given(answer)

    return call


def _asynchronous(
    function: Callable[..., Any], reading: Reading, options: WrapOptions, holds: Callable[[], bool]
) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        if not holds() or (installed() is None and not options.middleware):
            return await function(*args, **kwargs)
        one = _Call(function, reading, options, args, kwargs)
        try:
            answer = await arun_chain(
                options.middleware, one.operation, one.aperform, may_stream=reading.may_stream(one.operation)
            )
        except BaseException as error:
            one.end(error=error)
            raise
        return one.given(answer)

    return call


def _is_async(function: Any) -> bool:
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


class _Call(ClientCall):
    """One call under way."""

    def __init__(
        self,
        function: Callable[..., Any],
        reading: Reading,
        options: WrapOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        operation = options.named(reading.operation(args, kwargs))
        super().__init__(operation, cast("WireFormat", reading))
        self._function = function
        self._reading = reading
        self._named = bool(options.provider_name)
        self._asked_first = operation
        self._arguments = args, kwargs
        self._hide = False

    def perform(self, asked: LLMCall) -> Answer:
        """Calls the function."""
        args, kwargs = self._request(asked)
        return self._answer(self._function(*args, **kwargs))

    async def aperform(self, asked: LLMCall) -> Answer:
        """Calls the async function."""
        args, kwargs = self._request(asked)
        return self._answer(await self._function(*args, **kwargs))

    def given(self, answer: Answer) -> Any:
        """Ends the call, unless it is a stream, and gives what the caller gets."""
        if isinstance(answer, Opened):
            return answer.stream
        self.end(answer)
        if not self.is_as_read(answer):
            return self._reading.written(answer, self.operation)
        return None if answer.native is _NONE else answer.native

    def _request(self, asked: LLMCall) -> tuple[tuple[Any, ...], dict[str, Any]]:
        self.revise(asked)
        args, kwargs = self._arguments
        if asked is not self._asked_first:
            args, kwargs = self._reading.arguments(args, kwargs, self._asked_first, asked)
        with guard("instrument.sent"):
            kwargs, self._hide = self._reading.sent(kwargs, self)
        return args, kwargs

    def _answer(self, result: Any) -> Answer:
        if is_stream(result):
            return self._opened(result)
        if issubclass(type(result), CoroutineType):
            return self._awaited(result)
        return self._read(result)

    def _read(self, result: Any) -> LLMResponse:
        response = self.read(result)
        if response is None:
            self.recorder.record(output=result)
            response = LLMResponse(message=Message("assistant"))
        if self.operation.operation == "embeddings":
            self.recorder.record(output=embedding_output(result))
        if self._named:
            response = replace(response, system=None, provider_name=None)
        return self.keep(replace(response, native=_NONE if result is None else result))

    def _opened(self, stream: Any) -> Opened:
        self.recorder.suspend()
        record = StreamRecord(self.recorder, None, self.operation)
        with guard("instrument.joiner"):
            record = FunctionStream(self, self._reading.joiner(stream))
        return Opened(proxied(stream, record, hide_usage=self._hide), record)

    def _awaited(self, pending: Awaitable[Any]) -> Opened:
        """What a plain function returned to be awaited: the call ends with that, and its middleware is told of it."""
        self.recorder.suspend()
        record = StreamRecord(self.recorder, None, self.operation)
        awaited = self._finish(pending, record)
        record.watch(awaited)
        return Opened(awaited, record)

    async def _finish(self, pending: Awaitable[Any], record: StreamRecord) -> Any:
        self.recorder.resume()
        try:
            answer = self._answer(await pending)
        except BaseException as error:
            record.fail(error)
            raise
        finally:
            self.recorder.suspend()
        if isinstance(answer, Opened):
            record.pass_on(answer.record)
        else:
            record.settle(answer)
            await record.afinish()
        return self.given(answer)


def changed_names(before: LLMCall, after: LLMCall) -> Mapping[str, Any]:
    """What a middleware changed in a call, beside what is no part of the request."""
    names = ("messages", "model", "tools", "tool_choice", "response_format", "parameters", "input", "metadata")
    return {name: getattr(after, name) for name in names if getattr(after, name) != getattr(before, name)}

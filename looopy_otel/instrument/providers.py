"""An `LLMProvider`, wrapped: the same object to the eye, whose calls are recorded and go through middleware."""

from __future__ import annotations

import copy
import inspect
from abc import ABCMeta
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar, cast

from looopy_otel.core.errors import AlreadyUsedError
from looopy_otel.core.identity import current_identity
from looopy_otel.core.operation import InnerCalls, LLMCall
from looopy_otel.core.shapes.recognise import joiner_for, recognised
from looopy_otel.core.shapes.shape import Joiner, Progress
from looopy_otel.core.types import (
    CallOutcome,
    ContentComplete,
    ContentDelta,
    LLMProvider,
    LLMResponse,
    LLMUsage,
    Message,
    StreamEvent,
    ThoughtStream,
    ToolCallEvent,
)
from looopy_otel.core.vendors import vendor_of
from looopy_otel.instrument.begun import begun_async
from looopy_otel.instrument.call import ClientCall, WrapOptions
from looopy_otel.instrument.standing_in import stand_in
from looopy_otel.instrument.traced import changed_names, traced

P = TypeVar("P")


def wrap_provider(provider: P, options: WrapOptions) -> P:
    """Wraps a provider.

    Args:
        provider: Any `LLMProvider`. One that announces its calls itself is not announced twice: it only gets the
            middleware and the name.
        options: What the user said.

    Returns:
        A provider whose class is a subclass of the given one's, and whose attributes are shared with it.
    """
    before: Any = getattr(type(provider), "looopy_wrapping", None)
    if before is None:
        return cast("P", _wrapped(provider, options))
    options = before.options.joined(options)
    return provider if options == before.options else cast("P", _wrapped(before.provider, options))


class _Wrapping:
    """How a provider was wrapped.

    Args:
        provider: The provider as it was.
        options: What the user said.
    """

    def __init__(self, provider: Any, options: WrapOptions) -> None:
        self.provider = provider
        self.options = options
        self.announces = bool(getattr(provider, "announces_calls", False))

    def call(self, original: Callable[..., Any], provider: Any, args: tuple[Any, ...], arguments: Any) -> Any:
        """Makes a call of the provider's, recorded, of the kind that its ``call`` is."""
        if args:
            bound = inspect.signature(original).bind(*args, **arguments)
            arguments = {**dict(zip(bound.arguments, args, strict=False)), **arguments}
        options = self.options
        if self.announces:
            made = original(**arguments)
            if hasattr(made, "through"):
                return made.through(options.middleware, options.provider_name)
            if options == WrapOptions():
                return made
            _discard(made)
        reading = ProviderReading(provider, inner="join" if self.announces else "silent")
        if inspect.iscoroutinefunction(original):
            return traced(original, reading, options)(**arguments)
        return WrappedCall(original, reading, arguments, options)


def _discard(made: object) -> None:
    """Closes a call that was made only to see what it is."""
    if inspect.iscoroutine(made):
        made.close()


def _wrapped(provider: Any, options: WrapOptions) -> Any:
    wrapping = _Wrapping(provider, options)
    kind = cast("type[Any]", type(provider))
    if not _can_be_subclassed(provider):
        call = _method(wrapping, provider.call, lambda one: provider.call)
        return stand_in(
            provider,
            partial(wrap_provider, options=options),
            call=call,
            announces_calls=True,
            looopy_wrapping=wrapping,
        )
    members: dict[str, Any] = {
        "call": _method(wrapping, kind.call, lambda one: partial(kind.call, one)),
        "announces_calls": True,
        "looopy_wrapping": wrapping,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
    }
    wrapped = object.__new__(type(kind.__name__, (_Wrapped, kind), members))
    # What the provider is told later on holds for both.
    object.__setattr__(wrapped, "__dict__", provider.__dict__)
    return wrapped


def _method(wrapping: _Wrapping, original: Any, bound: Callable[[Any], Callable[..., Any]]) -> Callable[..., Any]:
    """The ``call`` of a wrapped provider: an ``async def`` where the original is one."""

    def call(self: Any, *args: Any, **arguments: Any) -> Any:
        return wrapping.call(bound(self), self, args, arguments)

    async def awaited(self: Any, *args: Any, **arguments: Any) -> Any:
        return await call(self, *args, **arguments)

    method = awaited if inspect.iscoroutinefunction(original) else call
    method.__name__, method.__doc__ = "call", getattr(original, "__doc__", None)
    method.__wrapped__ = getattr(original, "__func__", original)  # type: ignore[attr-defined]
    return method


class _Wrapped:
    """What the classes of wrapped providers have in common; copies of a wrapped provider are wrapped, too."""

    looopy_wrapping: _Wrapping

    def __init_subclass__(cls, **options: Any) -> None:
        """Keeps the classes made here from the hook of the provider's own class, which is for its author's."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return wrap_provider, (self.looopy_wrapping.provider, self.looopy_wrapping.options)

    def __copy__(self) -> Any:
        return wrap_provider(copy.copy(self.looopy_wrapping.provider), self.looopy_wrapping.options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return wrap_provider(copy.deepcopy(self.looopy_wrapping.provider, memo), self.looopy_wrapping.options)


def _can_be_subclassed(provider: Any) -> bool:
    """Whether an object of a subclass can do for a provider: one of plain Python, with its attributes in a dict."""
    kind: type[Any] = type(cast("object", provider))
    plain = type(kind) in (type, ABCMeta, type(LLMProvider)) and all(
        base is object or base.__flags__ & _MADE_IN_PYTHON for base in kind.__mro__
    )
    slots = any(inspect.ismemberdescriptor(member) for base in kind.__mro__ for member in vars(base).values())
    return plain and not slots and "call" not in getattr(provider, "__dict__", {"call": None})


_MADE_IN_PYTHON: Final = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE`` in a class's flags."""


class ProviderReading:
    """What the calls of a provider say.

    Args:
        provider: The provider.
        inner: What comes of the call that the provider announces itself.
        stream: True for the streamed form.
    """

    def __init__(self, provider: Any, *, inner: InnerCalls, stream: bool = False) -> None:
        self._provider = provider
        self._inner: InnerCalls = inner
        self._stream = stream

    @property
    def name(self) -> str:
        """The provider's class."""
        return type(self._provider).__name__

    def streamed(self) -> ProviderReading:
        """For the streamed form."""
        return ProviderReading(self._provider, inner=self._inner, stream=True)

    def operation(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LLMCall:
        """The call that the arguments stand for."""
        model = str(kwargs.get("model") or getattr(self._provider, "model", None) or "unknown")
        session_id, identity = kwargs.get("session_id"), current_identity()
        if isinstance(session_id, str) and session_id not in (identity.effective_session_id, identity.task_id):
            identity = replace(identity, session_id=session_id)
        vendor = vendor_of(model)
        return LLMCall(
            identity=identity,
            messages=tuple(kwargs.get("messages") or ()),
            model=model,
            system=getattr(self._provider, "system", None) or vendor.system,
            provider_name=getattr(self._provider, "provider_name", None) or vendor.provider_name,
            tools=tuple(kwargs.get("tools") or ()),
            tool_choice=kwargs.get("tool_choice"),
            response_format=kwargs.get("response_format"),
            parameters=dict(kwargs.get("parameters") or {}),
            stream=self._stream,
            session_id=session_id,
            metadata=dict(kwargs.get("metadata") or {}),
            inner=self._inner,
        )

    def may_stream(self, operation: LLMCall) -> bool:
        """What was asked for."""
        return self._stream

    def arguments(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], before: LLMCall, after: LLMCall
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with what a middleware changed in the call."""
        return args, {**kwargs, **changed_names(before, after)}

    def sent(self, kwargs: dict[str, Any], call: ClientCall) -> tuple[dict[str, Any], bool]:
        """Nothing is added."""
        return kwargs, False

    def response(self, answer: Any) -> LLMResponse | None:
        """The provider's response."""
        return LLMResponse(message=Message("assistant", answer)) if isinstance(answer, str) else recognised(answer)

    def joiner(self, stream: Any = None) -> Joiner:
        """Joins the events of one stream."""
        return EventsJoiner()

    def written(self, response: LLMResponse, operation: LLMCall) -> Any:
        """The response itself, or its events."""
        if isinstance(response.native, LLMResponse):
            response = replace(response, native=response.native.native)
        return _Events(response) if operation.stream else response


class EventsJoiner:
    """Joins a provider's events; one that has no `ContentComplete` at its end is complete all the same."""

    def __init__(self) -> None:
        self._joiner: Joiner | None = None
        self._exhausted = False

    @property
    def begun(self) -> bool:
        """True when at least one event arrived."""
        return self._joiner is not None

    @property
    def finished(self) -> bool:
        """True after `ContentComplete`, and at the end."""
        return self._exhausted or (self._joiner is not None and self._joiner.finished)

    def exhausted(self) -> None:
        """Says that no more events come."""
        self._exhausted = True

    def add(self, chunk: Any) -> Progress:
        """Takes one event."""
        if self._joiner is None:
            self._joiner = joiner_for(chunk)
        return Progress() if self._joiner is None else self._joiner.add(chunk)

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the events say together."""
        return None if self._joiner is None else self._joiner.response(outcome)


class WrappedCall:
    """One call of a wrapped provider, which is sent when it is used: awaited where the provider can, or iterated over.

    Args:
        call: Makes the provider's own call.
        reading: What the call says.
        arguments: Those of the call.
        options: What the user said.
    """

    def __init__(
        self, call: Callable[..., Any], reading: ProviderReading, arguments: Mapping[str, Any], options: WrapOptions
    ) -> None:
        self._call = call
        self._reading = reading
        self._arguments = arguments
        self._options = options
        self._used = False
        self._stream: _Opening | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        self._claim()
        return traced(self._result, self._reading, self._options)(**self._arguments).__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._opening()

    def _opening(self) -> _Opening:
        self._claim()
        opening = partial(traced(self._opened, self._reading.streamed(), self._options), **self._arguments)
        stream = self._stream = _Opening(opening)
        return stream

    async def __anext__(self) -> Any:
        return await anext(self._steps())

    async def asend(self, value: Any) -> Any:
        """Gives the next event; `value` is what an async generator gets for the one before."""
        return await self._steps().asend(value)

    async def athrow(self, *error: Any) -> Any:
        """Raises in an async generator."""
        return await self._steps().athrow(*error)

    async def aclose(self) -> None:
        """Ends the call; one that was not used is not made."""
        if self._stream is None:
            self._used = True
        else:
            await self._stream.aclose()

    def _steps(self) -> _Opening:
        return self._stream or self._opening()

    def _claim(self) -> None:
        if self._used:
            raise AlreadyUsedError("this call was used already; each call() is one request: make a new one")
        self._used = True

    async def _result(self, **arguments: Any) -> Any:
        made = self._call(**arguments)
        if not hasattr(made, "__await__"):
            raise TypeError(f"{self._reading.name}.call() cannot be awaited; iterate over it: async for …")
        return await made

    async def _opened(self, **arguments: Any) -> Any:
        made = self._call(**arguments)
        if not hasattr(made, "__aiter__"):
            return made
        return await begun_async(aiter(made))


class _Opening(AsyncIterator[Any]):
    """A stream whose request is sent with the first step.

    Args:
        opening: Sends it.
    """

    def __init__(self, opening: Callable[[], Awaitable[Any]]) -> None:
        self._opening: Callable[[], Awaitable[Any]] | None = opening
        self._stream: Any = None
        self._closed = False

    def __aiter__(self) -> _Opening:
        return self

    async def __anext__(self) -> Any:
        return await anext(await self._begun())

    async def asend(self, value: Any) -> Any:
        """Gives the next event; `value` is what an async generator gets for the one before."""
        return await (await self._begun()).asend(value)

    async def athrow(self, *error: Any) -> Any:
        """Raises in an async generator."""
        return await (await self._begun()).athrow(*error)

    async def _begun(self) -> Any:
        if self._closed:
            raise StopAsyncIteration
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._stream = aiter(await opening())
        if self._stream is None:
            raise StopAsyncIteration
        return self._stream

    async def aclose(self) -> None:
        """Ends the call."""
        self._closed = True
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


class _Events:
    """The events of a response that is there already.

    Args:
        response: The response.
    """

    def __init__(self, response: LLMResponse) -> None:
        self._events = iter(_events_of(response))

    def __aiter__(self) -> _Events:
        return self

    async def __anext__(self) -> StreamEvent:
        for event in self._events:
            return event
        raise StopAsyncIteration


def _events_of(response: LLMResponse) -> Sequence[StreamEvent]:
    message = response.message
    events: list[StreamEvent] = [ThoughtStream(message.reasoning)] if message.reasoning else []
    if isinstance(message.content, str) and message.content:
        events.append(ContentDelta(message.content))
    events += [ToolCallEvent(call) for call in message.tool_calls]
    if response.usage is not None:
        events.append(LLMUsage(response.usage, response.cost))
    return [*events, ContentComplete(response)]

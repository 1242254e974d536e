"""An `LLMProvider`, wrapped: the same object to the eye, whose calls are recorded and go through middleware."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from looopy_otel.core.errors import AlreadyUsedError
from looopy_otel.core.identity import current_identity
from looopy_otel.core.operation import InnerCalls, LLMCall
from looopy_otel.core.shapes.recognise import joiner_for, recognised
from looopy_otel.core.shapes.shape import Joiner, Progress
from looopy_otel.core.types import (
    CallOutcome,
    ContentComplete,
    ContentDelta,
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
from looopy_otel.instrument.traced import changed_names, joined, traced

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
    if before is not None:
        if options in (before.options, WrapOptions()):
            return provider
        return cast("P", _copied(provider, before.base, joined(before.options, options)))
    return cast("P", _copied(provider, type(provider), options))


class _Wrapping:
    """How a provider's class was wrapped.

    Args:
        base: The class as it was.
        options: What the user said.
    """

    def __init__(self, base: type, options: WrapOptions) -> None:
        self.base = base
        self.options = options
        self.announces = bool(getattr(base, "announces_calls", False))

    def call(self, provider: Any, **arguments: Any) -> Any:
        """Makes a call of the provider's, recorded."""
        base: Any = self.base
        options = self.options
        if self.announces:
            made = base.call(provider, **arguments)
            if hasattr(made, "through"):
                return made.through(options.middleware, options.provider_name)
            if options == WrapOptions():
                return made
        reading = ProviderReading(provider, inner="join" if self.announces else "silent")
        return WrappedCall(partial(base.call, provider), reading, arguments, options)


def _copied(provider: Any, base: type, options: WrapOptions) -> Any:
    wrapping = _Wrapping(base, options)

    def call(self: Any, **arguments: Any) -> Any:
        return wrapping.call(self, **arguments)

    call.__doc__ = getattr(base, "call", call).__doc__
    call.__wrapped__ = base.call  # type: ignore[attr-defined]
    members: dict[str, Any] = {
        "call": call,
        "announces_calls": True,
        "looopy_wrapping": wrapping,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__slots__": (),
    }
    wrapped = copy.copy(provider)
    object.__setattr__(wrapped, "__class__", type(base.__name__, (base,), members))
    if hasattr(provider, "__dict__"):
        # What the provider is told later on holds for both.
        object.__setattr__(wrapped, "__dict__", provider.__dict__)
    return wrapped


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

    def joiner(self) -> Joiner:
        """Joins the events of one stream."""
        return EventsJoiner()

    def written(self, response: LLMResponse, operation: LLMCall) -> Any:
        """The response itself, or its events."""
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

    def __await__(self) -> Generator[Any, Any, Any]:
        self._claim()
        return traced(self._result, self._reading, self._options)(**self._arguments).__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        self._claim()
        return _Opening(partial(traced(self._opened, self._reading.streamed(), self._options), **self._arguments))

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
        if self._closed:
            raise StopAsyncIteration
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._stream = aiter(await opening())
        if self._stream is None:
            raise StopAsyncIteration
        return await anext(self._stream)

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

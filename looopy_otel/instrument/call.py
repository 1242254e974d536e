"""One LLM call through a wrapped client or function: its recorder, its answer or its stream, and its one end."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from looopy_otel.core.errors import StreamTruncated
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Recorder, announce
from looopy_otel.core.operation import LLMCall, Middleware
from looopy_otel.core.outcome import outcome_of
from looopy_otel.core.shapes.shape import Joiner, Progress, WireFormat
from looopy_otel.core.types import CallOutcome, LLMResponse
from looopy_otel.core.vendors import vendor_named
from looopy_otel.instrument.open_calls import closed, opened

StreamEnd: TypeAlias = Callable[[LLMResponse | None, BaseException | None], None]
"""Told once how a stream ended: what came of it, and what was raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapOptions:
    """What the user says when a client, provider or function is wrapped.

    Attributes:
        provider_name: ``gen_ai.provider.name`` of its calls; by default what the client and the model tell.
        middleware: Runs around every call, outermost first.
        ask_for_usage: True asks for the usage of a stream where the caller did not, and hides the extra chunk.
        propagate: True sends ``traceparent`` with the request.
    """

    provider_name: str | None = None
    middleware: tuple[Middleware, ...] = ()
    ask_for_usage: bool = True
    propagate: bool = True

    def joined(self, added: WrapOptions) -> WrapOptions:
        """The options of what is wrapped again: middleware that is new stands outside of the one that is there."""
        new = tuple(layer for layer in added.middleware if layer not in self.middleware)
        return WrapOptions(
            provider_name=added.provider_name or self.provider_name,
            middleware=(*new, *self.middleware),
            ask_for_usage=added.ask_for_usage and self.ask_for_usage,
            propagate=added.propagate and self.propagate,
        )

    def named(self, operation: LLMCall) -> LLMCall:
        """A call under the provider's name that the user gives, if any."""
        if not self.provider_name:
            return operation
        vendor = vendor_named(self.provider_name)
        return replace(operation, system=vendor.system, provider_name=vendor.provider_name)


MiddlewareLike: TypeAlias = Middleware | Sequence[Middleware]
"""One middleware, or several of them, outermost first."""


def layers_of(middleware: MiddlewareLike) -> tuple[Middleware, ...]:
    """The middleware that a user gives.

    Raises:
        TypeError: If one of them cannot be called.
    """
    layers = (middleware,) if callable(middleware) else tuple(middleware)
    wrong = [type(layer).__name__ for layer in layers if not callable(layer)]  # pyright: ignore[reportUnnecessaryComparison]
    if wrong:
        raise TypeError(f"middleware must be 'async def' functions or objects that act like them, not {wrong[0]}")
    return layers


class ClientCall:
    """One call under way.

    Args:
        operation: The call.
        wire_format: Reads its answer.
    """

    def __init__(self, operation: LLMCall, wire_format: WireFormat) -> None:
        self.operation = operation
        self._format = wire_format
        self._answers: list[LLMResponse] = []
        self.recorder: Recorder = announce(operation)

    def headers(self) -> Mapping[str, str]:
        """``traceparent``, to be sent with the request."""
        return self.recorder.headers()

    def revise(self, operation: LLMCall) -> None:
        """Says what really is sent, where a middleware changed the call."""
        if operation is not self.operation:
            self.operation = operation
            self.recorder.revise(operation)

    def read(self, answer: object) -> LLMResponse | None:
        """Reads an answer; None for one that nobody can read, which is a fault of ours and not the caller's."""
        with guard("instrument.read"):
            return self._format.response(answer)
        return None

    def keep(self, answer: LLMResponse) -> LLMResponse:
        """Remembers an answer as it was read, beside the SDK's own object; returns it."""
        self._answers.append(answer)
        return answer

    def is_as_read(self, answer: LLMResponse) -> bool:
        """False where the SDK's object does not say what the answer that came out of the middleware says.

        An object that a middleware has given by itself, as `LLMResponse.native`, says what it says.
        """
        read = next((one for one in self._answers if one.native is answer.native), None)
        return answer.native is not None if read is None else says_the_same(answer, read)

    def end(self, response: LLMResponse | None = None, error: BaseException | None = None) -> None:
        """Ends the call with its answer, or with what was raised."""
        self.recorder.end(response, error)

    def stream(self, completed: Callable[[LLMResponse], LLMResponse] | None = None) -> StreamRecord:
        """Steps out of the call, whose answer comes in chunks from here on.

        Args:
            completed: Adds to what the chunks say together what is known beside them.
        """
        self.recorder.suspend()
        with guard("instrument.joiner"):
            return StreamRecord(self.recorder, self._format.joiner(), self.operation, completed)
        return StreamRecord(self.recorder, None, self.operation)


def says_the_same(answer: LLMResponse, read: LLMResponse) -> bool:
    """True where two answers say the same to a caller.

    What the call used and cost is an account of it, which its span keeps. A provider's own answer has that, too.
    """
    if isinstance(read.native, LLMResponse):
        return answer == read
    names = ("message", "others", "model", "finish_reason", "id")
    return all(getattr(answer, name) == getattr(read, name) for name in names)


class Remainder(Protocol):
    """What is left of a call's middleware once the caller has the stream; see `instrument.chain`."""

    def finish(self) -> None:
        """Waits for the middleware's end; raises what it raised."""
        ...

    async def afinish(self) -> None:
        """As `finish`, for async streams."""
        ...


class StreamRecord:
    """The stream of one call, in whatever way it ends; the first end counts.

    Leaving a loop over a stream is no end while somebody has the stream: it can be read on. It ends with its last
    reference, at the latest when tracing is flushed or shut down. A span that so ends has the time when the stream was
    last read.

    Args:
        recorder: The call's recorder, suspended.
        joiner: Joins the chunks; None where they cannot be read.
        operation: The call; events go to its `emit`.
        completed: Adds to what the chunks say together what is known beside them.

    Attributes:
        reading: True while the caller waits for a chunk.
    """

    def __init__(
        self,
        recorder: Recorder,
        joiner: Joiner | None,
        operation: LLMCall,
        completed: Callable[[LLMResponse], LLMResponse] | None = None,
    ) -> None:
        self.reading = False
        self._recorder = recorder
        self._completed = completed
        self._guardian: weakref.finalize[Any, Any] | None = None
        self._joiner = joiner
        self._emit = operation.emit
        self._listeners: list[StreamEnd] = []
        self._ended = False
        self._remainder: Remainder | None = None
        self._last_read = time.perf_counter_ns()
        self._paused_at: int | None = None

    @property
    def paused(self) -> bool:
        """True where a loop over the stream was left and nothing has been read since."""
        return not self.reading and self._paused_at == self._last_read

    def pause(self) -> None:
        """Says that a loop over the stream was left."""
        self._paused_at = self._last_read

    @property
    def ended(self) -> bool:
        """True once the stream has ended."""
        return self._ended

    def on_end(self, listener: StreamEnd) -> None:
        """Has a listener told of the end; used by the middleware chain."""
        self._listeners.append(listener)

    def resume(self) -> None:
        """Steps into the call again: for the middleware that waits for its end, and for code that makes the chunks."""
        self._recorder.resume()

    def suspend(self) -> None:
        """Steps out of the call after `resume`."""
        self._last_read = time.perf_counter_ns()
        self._recorder.suspend()

    def hand_over(self, remainder: Remainder) -> None:
        """Steps out of the call where its caller is, who has the stream from here on while middleware waits for it."""
        self._remainder = remainder
        self._recorder.suspend()

    def finish(self) -> None:
        """Lets the middleware come to its end: for sync streams, when their iteration ends, after `exhaust` or `fail`.

        Raises:
            BaseException: What a middleware raised, unless that is what ended the stream.
        """
        if self._remainder is not None:
            self._remainder.finish()

    async def afinish(self) -> None:
        """As `finish`, for async streams."""
        if self._remainder is not None:
            await self._remainder.afinish()

    def watch(self, stream: object) -> None:
        """Ends the call as abandoned when the caller's stream object is collected, or tracing is shut down.

        Args:
            stream: The object; the last one that is given counts.
        """
        if self._guardian is not None:
            self._guardian.detach()
        self._guardian = weakref.finalize(stream, self.leave)
        opened(self)

    def take(self, chunk: object) -> Progress:
        """Takes a chunk that goes to the caller; one that comes after the end is only looked at."""
        progress = Progress()
        self._last_read = time.perf_counter_ns()
        if self._joiner is not None:
            with guard("instrument.chunk"):
                progress = self._joiner.add(chunk)
                if self._ended:
                    return progress
                if progress.delta:
                    self._recorder.chunk()
                for event in progress.events:
                    self._emit(event)
        return progress

    def exhaust(self) -> None:
        """Ends the call: no more chunks came. Without a word that the answer is complete, it was cut off."""
        if self._joiner is None or self._joiner.finished:
            self._end("completed", None)
        else:
            self._end("truncated", StreamTruncated("the stream ended without a finish reason"))

    def leave(self) -> None:
        """Ends the call: the caller closed the stream or lost interest, which is no failure.

        A stream whose answer was complete already has nothing to lose by it.
        """
        if self._joiner is not None and self._joiner.finished:
            self._end("completed", None, ended_at=self._last_read)
        else:
            self._end("abandoned", GeneratorExit(), ended_at=self._last_read)

    def fail(self, error: BaseException) -> None:
        """Ends the call with what was raised; a connection that broke before the answer was complete cut it off."""
        unfinished = self._joiner is not None and not self._joiner.finished
        self._end("truncated" if unfinished and _is_broken_connection(error) else outcome_of(error), error)

    def pass_on(self, stream: StreamRecord) -> None:
        """Has a stream that came in the end, of something that was awaited, end the call in this one's place."""
        if self._guardian is not None:
            self._guardian.detach()
        self._ended = True
        closed(self)
        stream._listeners += self._listeners
        stream._remainder = self._remainder

    def settle(self, response: LLMResponse | None) -> None:
        """Ends the call with its whole answer, for one that was not read in chunks after all."""
        self._end("completed", None, response)

    def _end(
        self,
        outcome: CallOutcome,
        error: BaseException | None,
        response: LLMResponse | None = None,
        *,
        ended_at: int | None = None,
    ) -> None:
        if self._ended:
            return
        self._ended = True
        closed(self)
        with guard("instrument.join"):
            if response is None and self._joiner is not None:
                response = self._joiner.response(outcome)
            if response is not None and self._completed is not None:
                response = self._completed(response)
        self._recorder.end(response, error, ended_at)
        for listener in self._listeners:
            listener(response, error)


_BROKEN_CONNECTION = ("RemoteProtocolError", "ReadError", "IncompleteRead", "ClientPayloadError")
"""The classes of httpx and its like that say so, by name, since none of them is imported here."""


def _is_broken_connection(error: BaseException | None) -> bool:
    """True for the end of a connection in the middle of a body, also where an SDK's own error stands before it."""
    while error is not None:
        if any(base.__name__ in _BROKEN_CONNECTION for base in type(error).__mro__):
            return True
        error = error.__cause__
    return False

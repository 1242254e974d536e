"""One LLM call through a wrapped client or function: its recorder, its answer or its stream, and its one end."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from looopy_otel.core.errors import StreamTruncated
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Recorder, announce
from looopy_otel.core.operation import LLMCall, Middleware
from looopy_otel.core.outcome import outcome_of
from looopy_otel.core.shapes.shape import Joiner, Progress, WireFormat
from looopy_otel.core.types import CallOutcome, LLMResponse

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


class ClientCall:
    """One call under way.

    Args:
        operation: The call.
        wire_format: Reads its answer.
    """

    def __init__(self, operation: LLMCall, wire_format: WireFormat) -> None:
        self.operation = operation
        self._format = wire_format
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
        """Ends the call as abandoned when the caller's stream object is collected, or the interpreter ends.

        Args:
            stream: The object; the last one that is given counts.
        """
        if self._guardian is not None:
            self._guardian.detach()
        self._guardian = weakref.finalize(stream, self.leave)

    def take(self, chunk: object) -> Progress:
        """Takes a chunk that goes to the caller; one that comes after the end is only looked at."""
        progress = Progress()
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
            self._end("completed", None)
        else:
            self._end("abandoned", GeneratorExit())

    def fail(self, error: BaseException) -> None:
        """Ends the call with what was raised; a connection that broke before the answer was complete cut it off."""
        unfinished = self._joiner is not None and not self._joiner.finished
        self._end("truncated" if unfinished and _is_broken_connection(error) else outcome_of(error), error)

    def settle(self, response: LLMResponse | None) -> None:
        """Ends the call with its whole answer, for one that was not read in chunks after all."""
        self._end("completed", None, response)

    def _end(self, outcome: CallOutcome, error: BaseException | None, response: LLMResponse | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        with guard("instrument.join"):
            if response is None and self._joiner is not None:
                response = self._joiner.response(outcome)
            if response is not None and self._completed is not None:
                response = self._completed(response)
        self._recorder.end(response, error)
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

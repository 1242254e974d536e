"""One LLM call through a wrapped client or function: its recorder, its answer or its stream, and its one end."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TypeAlias

from looopy_otel.core.errors import StreamTruncated
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Recorder, announce
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.outcome import outcome_of
from looopy_otel.core.shapes.shape import Joiner, Progress, WireFormat
from looopy_otel.core.types import CallOutcome, LLMResponse

StreamEnd: TypeAlias = Callable[[LLMResponse | None, BaseException | None], None]
"""Told once how a stream ended: what came of it, and what was raised."""


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

    def stream(self) -> StreamRecord:
        """Steps out of the call, whose answer comes in chunks from here on."""
        self.recorder.suspend()
        with guard("instrument.joiner"):
            return StreamRecord(self.recorder, self._format.joiner(), self.operation)
        return StreamRecord(self.recorder, None, self.operation)


class StreamRecord:
    """The stream of one call, in whatever way it ends; the first end counts.

    Args:
        recorder: The call's recorder, suspended.
        joiner: Joins the chunks; None where they cannot be read.
        operation: The call; events go to its `emit`.
    """

    def __init__(self, recorder: Recorder, joiner: Joiner | None, operation: LLMCall) -> None:
        self._recorder = recorder
        self._joiner = joiner
        self._emit = operation.emit
        self._listeners: list[StreamEnd] = []
        self._ended = False

    @property
    def ended(self) -> bool:
        """True once the stream has ended."""
        return self._ended

    def on_end(self, listener: StreamEnd) -> None:
        """Has a listener told of the end; used by the middleware chain."""
        self._listeners.append(listener)

    def watch(self, stream: object) -> None:
        """Ends the call as abandoned when the caller's stream object is collected, or the interpreter ends."""
        weakref.finalize(stream, self.leave)

    def take(self, chunk: object) -> Progress:
        """Takes a chunk that goes to the caller."""
        progress = Progress()
        if self._joiner is not None and not self._ended:
            with guard("instrument.chunk"):
                progress = self._joiner.add(chunk)
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
        """Ends the call with what was raised."""
        self._end(outcome_of(error), error)

    def _end(self, outcome: CallOutcome, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        response = None
        if self._joiner is not None:
            with guard("instrument.join"):
                response = self._joiner.response(outcome)
        self._recorder.end(response, error)
        for listener in self._listeners:
            listener(response, error)

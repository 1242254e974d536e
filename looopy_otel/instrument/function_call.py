"""One call of a recorded function: what its wrapper tells of it, and what becomes of that."""

from __future__ import annotations

import sys
from typing import Any

from looopy_otel.core.answer import answer_in, joiner_of
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder
from looopy_otel.core.outcome import outcome_of
from looopy_otel.core.shapes.shape import Joiner
from looopy_otel.core.snapshot import Series
from looopy_otel.core.types import AgentResult, CallOutcome, IterationResult, LLMResponse, Message, ToolResult
from looopy_otel.instrument.open_calls import closed, opened

_RESULTS = (AgentResult, IterationResult, LLMResponse, ToolResult)
"""Results that say by themselves how the operation went."""


class FunctionCall:
    """One call under way, from its first step to its one end.

    Where a call never comes to an end (the event loop under an async generator is gone), the end of this object is
    the call's, as is the end of tracing for a generator: abandoned.

    Args:
        recorder: The recorder of the call.
        joined: True to give a generator's items as one text, where all of them are texts.
    """

    __slots__ = ("__weakref__", "_ended", "_items", "_joined", "_watched", "recorder")

    def __init__(self, recorder: Recorder, *, joined: bool = False) -> None:
        self.recorder = recorder
        self._joined = joined
        self._items = Series()
        self._ended = False
        self._watched = False

    @property
    def ended(self) -> bool:
        """True once the call has ended."""
        return self._ended

    def suspend(self) -> None:
        """Says that control goes to the consumer of a generator."""
        if not self._watched:
            self._watched = True
            opened(self)
        self.recorder.suspend()

    def resume(self) -> None:
        """Says that control is back."""
        self.recorder.resume()

    def item(self, item: Any) -> None:
        """Takes what a generator yields."""
        self._items.add(item)

    def returned(self, result: Any) -> None:
        """Ends the call with the function's result."""
        self._output(result)
        self._end(result if isinstance(result, _RESULTS) else None, None)

    def exhausted(self, result: Any) -> None:
        """Ends the call of a generator that came to its end.

        Args:
            result: What it returned; the call's output only where nothing was yielded.
        """
        self._output(result if result is not None and not len(self._items) else self._yielded())
        self._end(None, None)

    def failed(self, error: BaseException) -> None:
        """Ends the call with what was raised in it; what was yielded so far is the output.

        Of what the interpreter tears down at its very end nothing is recorded: nobody is there to take it.
        """
        if self._ended or sys.is_finalizing():
            return
        if len(self._items):
            self._output(self._yielded())
        self._end(None, error)

    def _output(self, value: Any) -> None:
        if not isinstance(value, _RESULTS):
            self.recorder.record(output=value)

    def _yielded(self) -> Any:
        text = self._items.text() if self._joined else None
        return self._items.values() if text is None else text

    def _end(self, result: object, error: BaseException | None) -> None:
        self.recorder.end(result, error)
        self._ended = True
        if self._watched:
            closed(self)

    @property
    def paused(self) -> bool:
        """False: whoever has a generator goes on with it or drops it."""
        return False

    def leave(self) -> None:
        """Ends the call, whose consumer has left it."""
        self.failed(GeneratorExit())

    def __del__(self) -> None:
        if hasattr(self, "_watched"):  # An interrupt may come before it is made.
            self.leave()


class LLMFunctionCall(FunctionCall):
    """One call of a function that asks a model; its result is read as a response, or as chunks of one.

    Args:
        recorder: The recorder of the call.
    """

    __slots__ = ("_begun", "_joiner")

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder, joined=True)
        self._joiner: Joiner | None = None
        self._begun = False

    def item(self, item: Any) -> None:
        """Takes a chunk: a text, or what the SDK of a provider streams."""
        if isinstance(item, str):
            if item:
                self.recorder.chunk()
            super().item(item)
            return
        with guard("function_call.chunk"):
            if not self._begun:
                self._begun, self._joiner = True, joiner_of(item)
            if self._joiner is None:
                self.recorder.chunk()
                self._items.add(item)
            elif self._joiner.add(item).delta:
                self.recorder.chunk()

    def returned(self, result: Any) -> None:
        """Ends the call with what the model answered."""
        self._end(self._answer(result), None)

    def exhausted(self, result: Any) -> None:
        """Ends the call with what the chunks say together, or with a response that the generator returned.

        A plain generator knows of no finish reason, so one that ends without it was not cut off.
        """
        response = None if result is None or isinstance(result, str) else self._read(result)
        self._end(response or self._chunks("completed") or self._answer(result), None)

    def failed(self, error: BaseException) -> None:
        """Ends the call with what was raised in it; the chunks so far are the partial answer."""
        if self._ended or sys.is_finalizing():
            return
        self._end(self._chunks(outcome_of(error)), error)

    def _chunks(self, outcome: CallOutcome) -> LLMResponse | None:
        if self._joiner is not None:
            with guard("function_call.join"):
                return self._joiner.response(outcome)
        if not len(self._items):
            return None
        text = self._items.text()
        if text is None:
            self.recorder.record(output=self._items.values())
        return LLMResponse(Message("assistant", text), outcome=outcome)

    def _answer(self, result: Any) -> LLMResponse:
        """The response that a result is; one that nobody can read is recorded as it is."""
        response = self._read(result)
        if response is None:
            self.recorder.record(output=result)
            response = LLMResponse(Message("assistant"))
        return response

    def _read(self, result: Any) -> LLMResponse | None:
        if isinstance(result, str):
            return LLMResponse(Message("assistant", result))
        with guard("function_call.read"):
            return answer_in(result)
        return None


class UnrecordedCall(FunctionCall):
    """The call of a function that is a run nobody records."""

    __slots__ = ()

    def suspend(self) -> None:
        """Says that control goes to the consumer of a generator."""
        self.recorder.suspend()

    def item(self, item: Any) -> None:
        """Keeps nothing."""


class _Unrecorded(UnrecordedCall):
    """All calls of functions while nothing is recorded."""

    __slots__ = ()

    def exhausted(self, result: Any) -> None:
        """Ends nothing."""

    def failed(self, error: BaseException) -> None:
        """Ends nothing."""


UNRECORDED = _Unrecorded(NO_RECORDER)

"""One call, one generation: what comes of an LLM call that is announced inside another, ours or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context, get_value, set_value
from opentelemetry.trace import get_current_span

from looopy_otel.core.answer import answer_in
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Handle, innermost
from looopy_otel.core.middleware import in_middleware_of
from looopy_otel.core.operation import AgentRun, Attempt, Iteration, LLMCall, Operation, ToolRun
from looopy_otel.core.other_calls import is_call_of_others
from looopy_otel.record.inner_calls import InnerCalls
from looopy_otel.record.told import NOTHING_TOLD, with_answer

if TYPE_CHECKING:
    from looopy_otel.record.recorder import SpanRecorder

SUPPRESS_LLM: Final = "suppress_language_model_instrumentation"
"""The context key by which instrumentations of LLM SDKs tell each other that a call is recorded already.

Source: ``SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY`` of the OpenLLMetry instrumentations.
"""
SUPPRESS_ALL: Final = "suppress_instrumentation"
"""The context key of OpenTelemetry's own instrumentations: nothing is to be recorded."""

_BOUNDARIES = (AgentRun, Iteration, ToolRun)
_OWNERS = (AgentRun, ToolRun)
"""What decides whose total an operation inside counts for, under way or not."""


class _Ours:
    """The value under which the key is set here; others only ask whether it is true."""


_OURS: Final = _Ours()


def suppressing(operation: Operation, context: Context) -> Context:
    """The context inside an operation: inside an LLM call that is recorded in full, other instrumentations are told.

    A tool or an agent that runs inside such a call makes calls of its own, which others may record again.
    """
    if isinstance(operation, LLMCall) and operation.inner == "silent":
        return set_value(SUPPRESS_LLM, _OURS, context)
    if isinstance(operation, _BOUNDARIES):
        return unsuppressed(context)
    return context


def unsuppressed(context: Context) -> Context:
    """The context without our word that LLM calls are recorded already; that of others stays."""
    return set_value(SUPPRESS_LLM, None, context) if get_value(SUPPRESS_LLM, context) is _OURS else context


def suppressed_by_others(operation: Operation, context: Context) -> bool:
    """True where another instrumentation has said that it records this, or that nothing is to be recorded."""
    if get_value(SUPPRESS_ALL, context) and not _is_for_http_alone(operation, context):
        return True
    value = get_value(SUPPRESS_LLM, context)
    return isinstance(operation, LLMCall) and bool(value) and value is not _OURS


def _is_for_http_alone(operation: Operation, context: Context) -> bool:
    """True for an LLM call of ours, and its tries, where another instrumentation has suppressed what is below its span.

    Logfire does so around the very request, so that no HTTP client records it again; metrics, costs and budgets of ours
    see the call none the less.
    """
    if isinstance(operation, LLMCall):
        return is_call_of_others(get_current_span(context))
    return isinstance(operation, Attempt) and enclosing_call(innermost()) is not None


def is_inside_call() -> bool:
    """True where an LLM call of ours is under way that knows all about itself: a second account adds nothing."""
    call = enclosing_call(innermost())
    return call is not None and isinstance(call.operation, LLMCall) and call.operation.inner != "replace"


def enclosing_call(recorder: object) -> SpanRecorder | None:
    """The LLM call under way that `recorder` is, or is a part of; a tool or an agent in between makes it another.

    So does the middleware of a call: what that asks a model by itself, as a judge or a fallback, is a call of its own.
    """
    return _call_around(recorder, within_middleware=False)


def surrounding_call(recorder: object) -> SpanRecorder | None:
    """As `enclosing_call`, also for what the middleware of that call does by itself."""
    return _call_around(recorder, within_middleware=True)


def _call_around(recorder: object, *, within_middleware: bool) -> SpanRecorder | None:
    from looopy_otel.record.recorder import SpanRecorder

    while isinstance(recorder, SpanRecorder) and not isinstance(recorder.operation, _BOUNDARIES):
        if not within_middleware and in_middleware_of(recorder):
            return None
        if isinstance(recorder.operation, LLMCall) and not recorder.ended:
            return recorder
        recorder = recorder.parent
    return None


def above(recorder: Handle | None) -> Handle | None:
    """What a new operation is a part of, `recorder` or what that is a part of.

    An operation that is over is none, so that a chain of operations that start one another is not kept for ever; but a
    boundary still is, since it tells what is not a part of the calls around it.
    """
    return _past_ended(recorder, _BOUNDARIES)


def above_ended(recorder: SpanRecorder) -> Handle | None:
    """What an operation that is over goes on being a part of, for what it has started."""
    return _past_ended(recorder.parent, () if isinstance(recorder.operation, _OWNERS) else _OWNERS)


def _past_ended(recorder: Handle | None, kept: tuple[type[Operation], ...]) -> Handle | None:
    from looopy_otel.record.recorder import SpanRecorder

    while isinstance(recorder, SpanRecorder) and recorder.ended and not isinstance(recorder.operation, kept):
        recorder = recorder.parent
    return recorder


class InnerCall:
    """The recorder of an LLM call that is not recorded, since the one around it is; it passes on what that one lacks.

    Args:
        outer: The recorder of the call around it.
        operation: The call.
        parent: What it is announced under, where that is said.
        current: True makes it current here, for calls inside it again.
    """

    def __init__(self, outer: SpanRecorder, operation: LLMCall, *, parent: object = None, current: bool = True) -> None:
        self.outer = outer
        self.operation = operation
        self.trace_id = outer.trace_id
        self.span_id = outer.span_id
        self._unended = [True]
        self._told = NOTHING_TOLD
        self._answer: object = None
        self._inside = InnerCalls()
        self._before = InnerCall._innermost()
        around = parent if isinstance(parent, InnerCall) else self._before
        self._around = around if around is not None and around.outer is outer and around._unended else outer
        self._current = current
        self.resume()

    @staticmethod
    def _innermost() -> InnerCall | None:
        """The one under way here; one that is over, which another context has not been told, is none."""
        call = _INNERMOST.get()
        while call is not None and not call._unended:
            call = call._before
        return call

    def headers(self) -> Mapping[str, str]:
        """Those of the call around it: that is the parent of what the server records."""
        return self.outer.headers()

    def chunk(self) -> None:
        """Counts for the call around it, where that one sees none of its own."""
        self.outer.chunk_inside()

    def first_chunk(self) -> None:
        """As `chunk`."""
        self.chunk()

    def revise(self, operation: Operation) -> None:
        """Goes to the call around it where that one joins its tries."""
        if isinstance(operation, LLMCall):
            self.operation = operation
        self.outer.join(operation)

    def leave(self, call: LLMCall, result: object) -> None:
        """Keeps what a call inside this one gave, which is a part of this one."""
        self._inside.add(call, result)

    def record(
        self,
        *,
        output: object = None,
        usage: object = None,
        response_model: str | None = None,
        finish_reason: str | None = None,
        cost: Decimal | float | str | None = None,
        **others: Any,
    ) -> None:
        """Keeps what the call around this one may lack."""
        with guard("record.record"):
            self._told = self._told.with_facts(usage, response_model, finish_reason, cost)
            self._answer = answer_in(output) or self._answer

    def fail(self, error: BaseException) -> None:
        """Records nothing."""

    def suspend(self) -> None:
        """Steps out, until `resume`."""
        if _INNERMOST.get() is self:
            _INNERMOST.set(self._before)

    def resume(self) -> None:
        """Steps in again."""
        if self._current:
            _INNERMOST.set(self)

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        """Leaves the result with the call around it, which may know less of it; only the first call counts."""
        if not self._unended:
            return
        self._unended.clear()
        self.suspend()
        with guard("record.told"):
            result = self._inside.complete(with_answer(result, self._answer))
            self._around.leave(self.operation, self._told.of(result))


_INNERMOST: Final[ContextVar[InnerCall | None]] = ContextVar("looopy_inner_call", default=None)
"""The call inside a recorded one that is under way here: what is announced in it again is a part of it."""

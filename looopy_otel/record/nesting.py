"""One call, one generation: what comes of an LLM call that is announced inside another, ours or somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context, get_value, set_value

from looopy_otel.core.operation import AgentRun, Iteration, LLMCall, Operation, ToolRun

if TYPE_CHECKING:
    from looopy_otel.record.recorder import SpanRecorder

SUPPRESS_LLM: Final = "suppress_language_model_instrumentation"
"""The context key by which instrumentations of LLM SDKs tell each other that a call is recorded already.

Source: ``SUPPRESS_LANGUAGE_MODEL_INSTRUMENTATION_KEY`` of the OpenLLMetry instrumentations.
"""
SUPPRESS_ALL: Final = "suppress_instrumentation"
"""The context key of OpenTelemetry's own instrumentations: nothing is to be recorded."""

_BOUNDARIES = (AgentRun, Iteration, ToolRun)


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
    if get_value(SUPPRESS_ALL, context):
        return True
    value = get_value(SUPPRESS_LLM, context)
    return isinstance(operation, LLMCall) and bool(value) and value is not _OURS


def enclosing_call(recorder: object) -> SpanRecorder | None:
    """The LLM call under way that `recorder` is, or is a part of; a tool or an agent in between makes it another."""
    from looopy_otel.record.recorder import SpanRecorder

    while isinstance(recorder, SpanRecorder) and not isinstance(recorder.operation, _BOUNDARIES):
        if isinstance(recorder.operation, LLMCall) and not recorder.ended:
            return recorder
        recorder = recorder.parent
    return None


class InnerCall:
    """The recorder of an LLM call that is not recorded, since the one around it is; it passes on what that one lacks.

    Args:
        outer: The recorder of the call around it.
    """

    def __init__(self, outer: SpanRecorder) -> None:
        self.outer = outer
        self.trace_id = outer.trace_id
        self.span_id = outer.span_id

    def headers(self) -> Mapping[str, str]:
        """Those of the call around it: that is the parent of what the server records."""
        return self.outer.headers()

    def chunk(self) -> None:
        """Counts for the call around it."""
        self.outer.chunk()

    def first_chunk(self) -> None:
        """Counts for the call around it."""
        self.outer.chunk()

    def revise(self, operation: Operation) -> None:
        """Goes to the call around it where that one joins its tries."""
        self.outer.join(operation)

    def record(self, **facts: Any) -> None:
        """Records nothing."""

    def fail(self, error: BaseException) -> None:
        """Records nothing."""

    def suspend(self) -> None:
        """Changes nothing: nothing was made current."""

    def resume(self) -> None:
        """Changes nothing."""

    def end(self, result: object = None, error: BaseException | None = None) -> None:
        """Leaves the result with the call around it, which may know of none when it fails."""
        self.outer.leave(result)

"""What is current in one place, to be made current in another: a thread, a process, the handling of a request."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from opentelemetry.baggage import get_all, set_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import Span, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from looopy_otel.core.hooks import Recorder, innermost, is_suppressed, set_innermost, set_suppressed
from looopy_otel.core.identity import Identity, current_identity, set_identity
from looopy_otel.record.context import marked_as_own
from looopy_otel.record.nesting import unsuppressed

_TRACE_CONTEXT: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the spans of a place take from it.

    Attributes:
        context: OpenTelemetry's context, with the current span.
        recorder: The innermost operation that is being recorded.
        identity: Session, user, agent and task.
        suppressed: True where nothing is recorded.
    """

    context: Context
    recorder: Recorder | None
    identity: Identity
    suppressed: bool

    @classmethod
    def here(cls) -> Surroundings:
        """Those of this place."""
        return cls(get_current(), innermost(), current_identity(), is_suppressed())

    def enter(self) -> None:
        """Makes them the current ones, from here on."""
        attach(self.context)
        set_innermost(self.recorder)
        set_identity(self.identity)
        set_suppressed(self.suppressed)


class surrounded:
    """Makes surroundings the current ones inside a ``with`` block, which is entered once.

    Left in another context than it was entered in, it changes nothing there.

    Args:
        surroundings: What is current inside.
    """

    __slots__ = ("_around", "_before", "_surroundings")

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings

    def __enter__(self) -> None:
        self._around, self._before = _innermost_block.get(), Surroundings.here()
        _innermost_block.set(self)
        self._surroundings.enter()

    def __exit__(self, *exception: object) -> None:
        if _innermost_block.get() is self:
            _innermost_block.set(self._around)
            self._before.enter()


_innermost_block: ContextVar[surrounded | None] = ContextVar("looopy_otel_surrounded", default=None)


def continued(headers: Mapping[str, str], identity: Identity, *, own: bool = False) -> Surroundings:
    """The surroundings of work that a request asks for; the trace is that of this place where its headers name none.

    Where a span of this process, such as that of a web framework's instrumentation, belongs to the incoming trace
    already, it stays the parent: it is nearer.

    Args:
        headers: Lower-case names; ``traceparent`` and ``tracestate`` are read.
        identity: Whose work it is.
        own: True where the parent that the headers name is ours, and will be exported.
    """
    here = unsuppressed(get_current())
    context = _TRACE_CONTEXT.extract(headers, context=here)
    incoming, current = get_current_span(context).get_span_context(), get_current_span(here).get_span_context()
    if incoming.trace_id == current.trace_id and not current.is_remote:
        context = here
    elif own and incoming.is_valid and incoming.trace_id != current.trace_id:
        context = marked_as_own(get_current_span(context), context)
    # A request is an LLM call of its own, even where its client runs in this very task.
    return Surroundings(context, None, identity, is_suppressed())


def own_continued(headers: Mapping[str, str], identity: Identity, *, suppressed: bool, own: bool) -> Surroundings:
    """The surroundings of work that a process of ours does for another.

    Args:
        headers: As `outgoing` gave them in the other process; empty where nothing was current.
        identity: Whose work it is.
        suppressed: True where nothing is recorded.
        own: True where the parent is ours, and will be exported; False for the span of another service or library.
    """
    context = _TRACE_CONTEXT.extract(headers, context=Context())
    span: Span = get_current_span(context)
    if own and span.get_span_context().is_valid:
        context = marked_as_own(span, context)
    return Surroundings(context, None, identity, suppressed)


def outgoing(context: Context | None = None) -> dict[str, str]:
    """``traceparent`` and ``tracestate`` of the span that is current in a context (default: here); else nothing."""
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier, context)
    return carrier


def with_baggage(headers: dict[str, str], facts: Mapping[str, str]) -> dict[str, str]:
    """Adds facts to headers as W3C Baggage."""
    context = Context()
    for name, value in facts.items():
        context = set_baggage(name, value, context)
    _BAGGAGE.inject(headers, context)
    return headers


def baggage_of(headers: Mapping[str, str]) -> Mapping[str, object]:
    """The entries of a ``baggage`` header; none where there is none, or it cannot be read."""
    return get_all(_BAGGAGE.extract(headers, context=Context()))

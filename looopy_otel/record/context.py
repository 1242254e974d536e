"""Which span is current, without tokens.

OpenTelemetry's ``detach`` logs an error when a coroutine is closed in another context than it was started in, so it is
never called here: an activation remembers what was current before, and puts it back only where it is still the
innermost one (https://github.com/open-telemetry/opentelemetry-python/issues/2606).
"""

from __future__ import annotations

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span, set_span_in_context

from looopy_otel.core.hooks import Recorder, innermost, set_innermost
from looopy_otel.core.identity import Identity, current_identity, set_identity
from looopy_otel.core.operation import AgentRun, Operation
from looopy_otel.record.nesting import suppressing

_Place = tuple[Context, Recorder | None, Identity | None]
"""What is current somewhere: OpenTelemetry's context, the innermost recorder, and the identity where a run sets it."""


class Activation:
    """Makes a recorder and its span current here, until `suspend` or `restore`.

    Args:
        recorder: The recorder that is the innermost one from now on.
        span: Its span.
        parent: The context that the span was started in.
        operation: What is recorded; the run of an agent makes its identity the current one.
    """

    __slots__ = ("_inner", "_outer", "_recorder", "_with_identity")

    def __init__(self, recorder: Recorder, span: Span, parent: Context, operation: Operation) -> None:
        self._recorder = recorder
        self._with_identity = isinstance(operation, AgentRun)
        identity = operation.identity if self._with_identity else None
        self._inner: _Place = (suppressing(operation, set_span_in_context(span, parent)), recorder, identity)
        self._outer: _Place = self._here()
        _go(self._inner)

    def suspend(self) -> None:
        """Keeps what is current now for `resume`, and puts back what was current before."""
        self._inner = self._here()
        _go(self._outer)

    def resume(self) -> None:
        """Makes current again what was at `suspend`; what is current here now comes back at the next one."""
        self._outer = self._here()
        _go(self._inner)

    def restore(self) -> None:
        """Puts back what was current before; in another context than this one was made in, it changes nothing."""
        if innermost() is self._recorder:
            _go(self._outer)

    def _here(self) -> _Place:
        return get_current(), innermost(), current_identity() if self._with_identity else None


def _go(place: _Place) -> None:
    context, recorder, identity = place
    attach(context)
    set_innermost(recorder)
    if identity is not None:
        set_identity(identity)


class Ownership:
    """Tells spans of our provider from those of others.

    Args:
        resource: The resource object of our provider; every recording span of it refers to this very object.
    """

    __slots__ = ("_resource",)

    def __init__(self, resource: object) -> None:
        self._resource = resource

    def has_own_parent(self, context: Context | None = None) -> bool:
        """True when the span that is current in `context` (default: here) was made by our provider in this process."""
        span = get_current_span(context)
        if span is INVALID_SPAN:
            return False
        if getattr(span, "resource", None) is self._resource:
            return True
        recorder = innermost()
        # A span of ours that was not sampled is a bare one without a resource.
        return recorder is not None and recorder.span_id == format(span.get_span_context().span_id, "016x")

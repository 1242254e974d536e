"""Which span is current, without tokens.

OpenTelemetry's ``detach`` logs an error when a coroutine is closed in another context than it was started in, so it is
never called here: an activation remembers what was current before, and puts it back only where it is still the
innermost one (https://github.com/open-telemetry/opentelemetry-python/issues/2606).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from opentelemetry.context import Context, attach, get_current, get_value, set_value
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span, set_span_in_context

from looopy_otel.core.hooks import Recorder, innermost, set_innermost
from looopy_otel.core.identity import Identity, current_identity, set_identity
from looopy_otel.core.operation import AgentRun, Operation
from looopy_otel.record.langfuse_sdk import project_of
from looopy_otel.record.nesting import suppressing

_Place = tuple[Context, Recorder | None, Identity | None]
"""What is current somewhere: OpenTelemetry's context, the innermost recorder, and the identity where a run sets it."""

_OWN_PARENT: Final = "looopy_otel_own_parent"
"""The context key of the span id of a parent of ours that cannot be told by its span object."""

_DEPTH: Final = 1_000
"""How far the chain of what was current is followed; generators that consume each other can close it to a ring."""


class Activation:
    """Makes a recorder and its span current here, until `suspend` or `restore`.

    Args:
        recorder: The recorder that is the innermost one from now on.
        span: Its span.
        parent: The context that the span was started in.
        operation: What is recorded; the run of an agent makes its identity the current one.
    """

    __slots__ = ("_active", "_inner", "_left_behind", "_outer", "_recorder", "_span", "_with_identity")

    def __init__(self, recorder: Recorder, span: Span, parent: Context, operation: Operation) -> None:
        self._recorder = recorder
        self._span = span
        self._with_identity = isinstance(operation, AgentRun)
        identity = operation.identity if self._with_identity else None
        self._inner: _Place = (suppressing(operation, context_of(span, parent)), recorder, identity)
        self._outer: _Place = self._here()
        self._active = True
        self._left_behind = False
        _go(self._inner)

    def suspend(self) -> None:
        """Keeps what is current now for `resume`, and puts back what was current before.

        Said again, it puts that back again: where this stepped out in a copy of the context, or inside the block of
        another instrumentation, whose end has made this span current once more.
        """
        if self._active:
            self._active = False
            self._inner = self._here()
            _go(self._outer)
        elif innermost() is self._recorder or get_current_span() is self._span:
            _go(self._outer)

    def resume(self) -> None:
        """Makes current again what was at `suspend`; what is current here now comes back at the next one."""
        if not self._active:
            self._active = True
            self._outer = self._here()
            _go(self._inner)

    def restore(self) -> None:
        """Puts back what was current before; in another context than this one was made in, it changes nothing.

        Where something that started later is still under way, that stays current here; what was current before this
        one comes back when that ends.
        """
        if not self._active:
            return
        if self._is_innermost():
            self._leave()
        else:
            self._left_behind = True

    def _is_innermost(self) -> bool:
        """True when nothing that is still under way here started later."""
        recorder: object = innermost()
        for _ in range(_DEPTH):
            if recorder is self._recorder:
                return True
            activation = _activation_of(recorder)
            if activation is None or not getattr(recorder, "ended", False):
                return False
            recorder = activation._outer[1]
        return False

    def _leave(self) -> None:
        place = self._outer
        identity = place[2]
        for _ in range(_DEPTH):
            outer = _activation_of(place[1])
            if outer is None or not outer._left_behind:
                break
            place = outer._outer
            identity = place[2] or identity
        _go((place[0], place[1], identity))

    def _here(self) -> _Place:
        return get_current(), innermost(), current_identity() if self._with_identity else None


def _activation_of(recorder: object) -> Activation | None:
    activation = getattr(recorder, "activation", None)
    return activation if isinstance(activation, Activation) else None


def _go(place: _Place) -> None:
    context, recorder, identity = place
    attach(context)
    set_innermost(recorder)
    if identity is not None:
        set_identity(identity)


def context_of(span: Span, context: Context | None = None) -> Context:
    """The context in which a span of ours is current; one that is not sampled is marked as ours.

    Args:
        span: The span.
        context: What else is in the context; by default what is current here.
    """
    inner = set_span_in_context(span, context)
    return inner if span.is_recording() else marked_as_own(span, inner)


def marked_as_own(span: Span, context: Context) -> Context:
    """A context that says of its span that it is ours, where the span object cannot: made elsewhere, or not sampled."""
    return set_value(_OWN_PARENT, span.get_span_context().span_id, context)


class Ownership:
    """Tells spans of our provider from those of others.

    Args:
        resource: The resource object of our provider; every recording span of it refers to this very object.
        langfuse_projects: Public keys of the Langfuse projects that we export to.
    """

    __slots__ = ("_resource", "langfuse_projects")

    def __init__(self, resource: object, langfuse_projects: Collection[str] = ()) -> None:
        self._resource = resource
        self.langfuse_projects = frozenset(langfuse_projects)

    def has_own_parent(self, context: Context | None = None) -> bool:
        """True when the span that is current in `context` (default: here) is ours.

        That is a span that our provider made in this process, before it was forked, or, where `propagated()` says so,
        in the process that this one works for.
        """
        span = get_current_span(context)
        if span is INVALID_SPAN:
            return False
        if getattr(span, "resource", None) is self._resource:
            return True
        return get_value(_OWN_PARENT, context) == span.get_span_context().span_id

    def is_root(self, context: Context | None = None) -> bool:
        """True when a span that starts in `context` (default: here) is to be a root for Langfuse.

        It is one when its parent is not ours, since Langfuse may never see that: the span of a web framework, or of
        another service. Where the parent was made by the Langfuse SDK and goes to a project that we export to, Langfuse
        does see it, and a second root would stand beside the user's own in its lists.
        """
        return not self.has_own_parent(context) and not self.shares_langfuse(get_current_span(context))

    def shares_langfuse(self, span: Span) -> bool:
        """True when the Langfuse SDK made this span, for a project that we export to."""
        return bool(self.langfuse_projects) and project_of(span) in self.langfuse_projects

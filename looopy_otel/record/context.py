"""Which span is current, without tokens.

OpenTelemetry's ``detach`` logs an error when a coroutine is closed in another context than it was started in, so it is
never called here: an activation remembers what was current before, and puts it back only where it is still the
innermost one (https://github.com/open-telemetry/opentelemetry-python/issues/2606).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from opentelemetry.context import Context, attach, get_current, get_value, set_value
from opentelemetry.trace import INVALID_SPAN, Span, get_current_span, set_span_in_context

from looopy_otel.core.hooks import Recorder, innermost, is_suppressed, set_innermost, set_suppressed
from looopy_otel.core.identity import NOBODY, Identity, current_identity, set_identity
from looopy_otel.core.known_spans import KnownSpan, KnownSpans
from looopy_otel.core.operation import AgentRun, Operation
from looopy_otel.record.langfuse_sdk import project_of
from looopy_otel.record.nesting import suppressing


class _Place(NamedTuple):
    """What is current somewhere; an identity or a suppression that is None stays what it is.

    Attributes:
        context: OpenTelemetry's context.
        recorder: The innermost recorder.
        identity: Who it is about.
        suppressed: True where nothing is recorded.
    """

    context: Context
    recorder: Recorder | None
    identity: Identity | None = None
    suppressed: bool | None = None


_OWN_PARENT: Final = "looopy_otel_own_parent"
"""The context key of the span id of a parent of ours that cannot be told by its span object."""

_DEPTH: Final = 1_000
"""How far the chain of what was current is followed; generators that consume each other can close it to a ring."""


class Activation:
    """Makes a recorder and its span current, from `enter` until `suspend` or `restore`.

    Args:
        recorder: The recorder that is the innermost one from now on.
        span: Its span.
        parent: The context that the span was started in.
        operation: What is recorded; the run of an agent makes its identity the current one.
    """

    __slots__ = (
        "_active", "_ended", "_inner", "_left_behind", "_outer", "_recorder", "_span", "_stepped", "_with_identity",
    )  # fmt: skip

    def __init__(self, recorder: Recorder, span: Span, parent: Context, operation: Operation) -> None:
        self._recorder = recorder
        self._span = span
        self._with_identity = isinstance(operation, AgentRun)
        identity = operation.identity if self._with_identity else None
        self._outer = _here()
        self._inner = _Place(suppressing(operation, context_of(span, parent)), recorder, identity)
        self._active = True
        self._stepped = False
        self._left_behind = False
        self._ended = False

    def enter(self) -> None:
        """Makes it current; the recorder first, so that an interrupt in between finds whom to end."""
        set_innermost(self._recorder)
        _go(self._inner)

    def suspend(self) -> None:
        """Keeps what is current now for `resume`, and puts back what was current before.

        That is the span, who it is about, and whether anything is recorded: a `session()` or `suppressed()` that the
        body of a generator is in goes with it.

        Said again, it puts that back again: where this stepped out in a copy of the context, or inside the block of
        another instrumentation, whose end has made this span current once more.
        """
        if self._active:
            self._active = False
            self._stepped = True
            self._inner = _here()
            _go(self._outer)
        elif innermost() is self._recorder or get_current_span() is self._span:
            _go(self._outer)

    def resume(self) -> None:
        """Makes current again what was at `suspend`; what is current here now comes back at the next one.

        What has ended meanwhile does not become current again.
        """
        if not self._active and not self._ended:
            self._active = True
            self._outer = _here()
            _go(self._inner)

    def restore(self) -> None:
        """Puts back what was current before; in another context than this one was made in, it changes nothing.

        Where something that started later is still under way, that stays current here; what was current before this
        one comes back when that ends. Who it is about stays as the inside left it, unless that is a run's own or was
        put there by `resume`.
        """
        place = self._around()
        self._ended = True
        if self._active:
            if self._is_innermost():
                _go(place)
            else:
                self._left_behind = True
        # An operation may have started what follows it, again and again: what has ended is not kept by what follows.
        self._inner = self._outer = place._replace(recorder=self._under_way(place.recorder))

    def _is_innermost(self) -> bool:
        """True when nothing that is still under way here started later."""
        recorder: object = innermost()
        for _ in range(_DEPTH):
            if recorder is self._recorder:
                return True
            activation = _activation_of(recorder)
            if activation is None or not activation._ended:
                return False
            recorder = activation._outer.recorder
        return False

    def _around(self) -> _Place:
        """What the end puts back: what a block inside has changed and has not put back itself stays."""
        place = self._outer._replace(
            identity=self._outer.identity if self._with_identity or self._stepped else None,
            suppressed=self._outer.suppressed if self._stepped else None,
        )
        for _ in range(_DEPTH):
            outer = _activation_of(place.recorder)
            if outer is None or not outer._left_behind:
                break
            further = outer._outer
            place = further._replace(
                identity=further.identity or place.identity,
                suppressed=place.suppressed if further.suppressed is None else further.suppressed,
            )
        return place

    @staticmethod
    def _under_way(recorder: Recorder | None) -> Recorder | None:
        """The innermost operation that is under way, of this one and those that were current around it."""
        for _ in range(_DEPTH):
            activation = _activation_of(recorder)
            if activation is None or not activation._ended:
                break
            recorder = activation._outer.recorder
        return recorder


def _here() -> _Place:
    return _Place(get_current(), innermost(), current_identity(), is_suppressed())


def _activation_of(recorder: object) -> Activation | None:
    activation = getattr(recorder, "activation", None)
    return activation if isinstance(activation, Activation) else None


def _go(place: _Place) -> None:
    attach(place.context)
    set_innermost(place.recorder)
    if place.identity is not None:
        set_identity(place.identity)
    if place.suppressed is not None:
        set_suppressed(place.suppressed)


def context_of(span: Span, context: Context | None = None) -> Context:
    """The context in which a span of ours is current, marked as ours.

    A tracer without a provider, such as every instrumentation has where OpenTelemetry is not set up, makes a stand-in
    of our span current that shows nothing but its ids.

    Args:
        span: The span.
        context: What else is in the context; by default what is current here.
    """
    return marked_as_own(span, set_span_in_context(span, context))


def marked_as_own(span: Span, context: Context) -> Context:
    """A context that says of its span that it is ours, where the span object cannot: made elsewhere, or not sampled."""
    return set_value(_OWN_PARENT, span.get_span_context().span_id, context)


class Ownership:
    """Tells spans of our provider from those of others.

    Args:
        resource: The resource object of our provider; every recording span of it refers to this very object.
        langfuse_projects: Public keys of the Langfuse projects that we export to, by the name that `session(project=)`
            says; under None those that take what names no project.

    Attributes:
        known: What is known of the spans under way.
    """

    __slots__ = ("_keys", "_neighbours", "_resource", "_sees", "known")

    def __init__(self, resource: object, langfuse_projects: Mapping[str | None, Collection[str]] | None = None) -> None:
        self.known = KnownSpans()
        self._resource = resource
        self._keys = {name: frozenset(keys) for name, keys in (langfuse_projects or {}).items()}
        self._sees: Callable[[Span], bool] | None = None
        self._neighbours: Callable[[], Collection[str]] = frozenset[str]

    def share_provider(self, sees: Callable[[Span], bool], neighbours: Callable[[], Collection[str]]) -> None:
        """Says that spans are made on a provider of somebody else.

        Args:
            sees: True for a span that our destinations get, or that stands below such a one.
            neighbours: Gives the public keys of the Langfuse projects that the provider's own exporters send to.
        """
        self._sees, self._neighbours = sees, neighbours

    @property
    def feeds_langfuse(self) -> bool:
        """True when spans go to a Langfuse project whose key is known."""
        return bool(self._keys) or bool(self._neighbours())

    def langfuse_keys(self, project: str | None) -> Collection[str]:
        """Public keys of the Langfuse projects that spans go to which name this project."""
        keys, neighbours = self._keys.get(project, frozenset()), self._neighbours()
        return keys.union(key for key in neighbours if self.may_reach(project, key)) if neighbours else keys

    def may_reach(self, project: str | None, key: str) -> bool:
        """True where a span that names this project, or none, may go to the Langfuse project of this public key.

        Where no session can choose, everything may go everywhere. Else what names a project may go to that alone, and
        what names none to none that has a name.
        """
        if not self._keys.keys() - {None} or key in self._keys.get(project, ()):
            return True
        return project is None and not any(key in keys for keys in self._keys.values())

    def has_own_parent(self, context: Context | None = None) -> bool:
        """True when the span that is current in `context` (default: here) is ours.

        That is a span that our provider made in this process, before it was forked, or, where `propagated()` says so,
        in the process that this one works for. One that the scope filter leaves out counts as what it stands under.
        """
        span = get_current_span(context)
        if span is INVALID_SPAN:
            return False
        if self._sees is not None and self._sees(span):
            return True
        span_id = span.get_span_context().span_id
        if getattr(span, "resource", None) is self._resource or get_value(_OWN_PARENT, context) == span_id:
            known = self.known.get(span_id)
            return known is None or known.nearest is not None
        return False

    def is_root(self, context: Context | None = None) -> bool:
        """True when a span that starts in `context` (default: here) is to be a root for Langfuse.

        It is one when its parent is not ours, since Langfuse may never see that: the span of a web framework, or of
        another service. Where the parent was made by the Langfuse SDK and goes to a project that we export to, Langfuse
        does see it, and a second root would stand beside the user's own in its lists.
        """
        here = get_current_span(context)
        return not self.has_own_parent(context) and not self._is_beside(here, current_identity().project)

    def starts_tree(self, project: str | None, context: Context | None = None) -> bool:
        """True when a span of this project that starts in `context` is to be a root for Langfuse.

        That is as `is_root` says, and also where its parent is ours but goes to another project.
        """
        here = get_current_span(context)
        if not self.has_own_parent(context):
            return not self._is_beside(here, project)
        if len(self._keys) < 2:
            return False
        if (key := project_of(here)) is not None:
            return key not in self._keys.get(project, ())
        above = self._known_above(here)
        return above is not None and above.identity.project != project

    def know(self, span: Span, context: Context | None, *, belongs: bool) -> KnownSpan:
        """Remembers a span that starts in `context`, until it is gone.

        Args:
            span: Of anyone.
            context: Where it starts.
            belongs: True where it goes to our destinations, as far as its start tells.
        """
        span_id, parent = span.get_span_context().span_id, get_current_span(context)
        above, identity = self._known_above(parent), self.inherited(current_identity(), context)
        nearest: int | None = None
        if self.has_own_parent(context):
            nearest = parent.get_span_context().span_id if above is None else above.nearest
        root = None if nearest is None or above is None else above.local_root
        known = KnownSpan(
            identity=identity,
            root=self.starts_tree(identity.project, context),
            local_root=span_id if root is None and belongs else root,
            nearest=span_id if belongs else nearest,
            parent=None if nearest == parent.get_span_context().span_id else nearest,
        )
        self.known.add(span, span_id, known)
        return known

    def inherited(self, identity: Identity, context: Context | None = None) -> Identity:
        """An identity that names no project, with that of the span of this process that is current in `context`.

        That is where OpenTelemetry alone has carried the context: to another thread, for example.
        """
        above = None if identity.project is not None else self._known_above(get_current_span(context))
        if above is None or above.identity is identity:
            return identity
        if identity == NOBODY:
            return above.identity
        if above.identity.project is None:
            return identity
        return replace(
            identity,
            project=above.identity.project,
            session_id=identity.session_id or above.identity.session_id,
            user_id=identity.user_id or above.identity.user_id,
        )

    def _known_above(self, parent: Span) -> KnownSpan | None:
        """What is known of a parent, unless a request has named it, whoever that came from."""
        context = parent.get_span_context()
        return None if context.is_remote else self.known.get(context.span_id)

    def shares_langfuse(self, span: Span, project: str | None = None) -> bool:
        """True when the Langfuse SDK made this span, for a project that we export to from here.

        Args:
            span: Of anyone.
            project: What the spans of here name as their project; by default that of the current identity.
        """
        if not self.feeds_langfuse:
            return False
        return project_of(span) in self.langfuse_keys(project or current_identity().project)

    def _is_beside(self, span: Span, project: str | None) -> bool:
        """True when the Langfuse SDK made this span for a project in which a span of ours would show below it.

        Where we have a Langfuse destination of our own it is the one that counts, even if others of the provider send
        what is ours to the SDK's project as well.
        """
        keys = self._keys.get(project, frozenset()) if self._keys else self._neighbours()
        return bool(keys) and project_of(span) in keys

"""Making spans with a provider of somebody else: ours go where its own processors send them, and to our destinations.

`Attachment` finds the provider, also where the global one is set or replaced later, and has a processor of ours on it.
Until there is one that can take processors, spans are made with a provider of ours.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    Link,
    ProxyTracerProvider,
    SpanContext,
    SpanKind,
    Tracer,
    get_current_span,
    get_tracer_provider,
    use_span,
)
from opentelemetry.trace import Span as AnySpan
from opentelemetry.trace import TracerProvider as AnyProvider
from opentelemetry.util._decorator import _agnosticcontextmanager  # pyright: ignore[reportPrivateUsage]
from opentelemetry.util.types import Attributes

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.semconv import GEN_AI_PREFIX, GEN_AI_SPAN_KIND, LANGFUSE_TYPE
from looopy_otel.core.settings import Destination, HTTPDestination
from looopy_otel.export.neighbours import (
    Neighbours,
    neighbours_of,
    processors_of,
    project_of,
    project_of_sdk,
    remove_processor,
    sdk_provider,
)
from looopy_otel.export.placing import Placing, with_placing
from looopy_otel.export.repeats import Repeats
from looopy_otel.export.sdk_filter import SDKFilters

logger = logging.getLogger("looopy_otel")

_REMEMBERED: Final = 10_000
"""How many spans are remembered of which something has to be known later; beyond it the oldest are forgotten."""

Verdict = Callable[[str, Mapping[str, object]], bool]
Sees = Callable[[Context | None], bool]


@dataclass(frozen=True, slots=True)
class Written:
    """What rendering has done to a span that is about to end; our destinations get theirs from the draft.

    Attributes:
        keys: Of the attributes that it has set.
        events: How many events it has added.
        taken: Attributes that it has taken off, which our destinations need.
    """

    keys: frozenset[str]
    events: int
    taken: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Found:
    """What stands where spans are made now.

    Attributes:
        asked: The provider as the user or OpenTelemetry gives it.
        provider: The SDK's provider behind it.
        processors: Its processors when it was looked at.
        neighbours: What those send where.
    """

    asked: AnyProvider
    provider: TracerProvider
    processors: tuple[object, ...]
    neighbours: Neighbours


class Attachment:
    """Our place on a provider of somebody else. Changes nothing of the provider but its list of processors.

    Args:
        chosen: The provider, or ``"global"`` for OpenTelemetry's global one, whichever that is at each span's start.
        fallback: Makes the spans while there is none.
        processor: Takes what belongs to us.
        belongs: Tells by the name of its scope and its attributes whether a span goes to our destinations.
        destinations: Each of our destinations, by the `id` of its exporter.
        is_inside_call: True where an LLM call of ours is under way that knows all about itself.
        redact_name: Gives a name past the gate.
        redact_attributes: Gives attributes past the gate.
        may_send: Tells of a span, and of the public key of a Langfuse project, whether it may go there.
    """

    def __init__(
        self,
        chosen: AnyProvider | Literal["global"],
        fallback: TracerProvider,
        processor: SpanProcessor,
        *,
        belongs: Verdict,
        destinations: Mapping[int, Destination],
        is_inside_call: Callable[[], bool],
        redact_name: Callable[[str], str],
        redact_attributes: Callable[[Mapping[str, Any]], dict[str, Any]],
        may_send: Callable[[ReadableSpan, str], bool],
    ) -> None:
        self._chosen = chosen
        self._fallback = fallback
        self._shell = AttachedProcessor(self, processor)
        self._belongs = belongs
        self._destinations = destinations
        self._projects = frozenset(filter(None, map(project_of, destinations.values())))
        self.repeats = Repeats(is_inside_call)
        self.redact_name = redact_name
        self.redact_attributes = redact_attributes
        self._sdk_filters = SDKFilters(may_send)
        self._has_tenants = any(
            isinstance(place, HTTPDestination) and place.projects - {None} for place in destinations.values()
        )
        self._warned_of_leak = False
        self._found: _Found | None = None
        self._closed = False
        self._told: set[int] = set()
        self._warned = False
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may start a span while this very thread looks for the provider.
        self._lock = threading.RLock()

    @property
    def neighbours(self) -> Neighbours:
        """What else takes the provider's spans now."""
        found = self._here()
        return Neighbours() if found is None else found.neighbours

    def tracer(self, name: str, version: str | None = None) -> Tracer:
        """A tracer that makes its spans with the provider of the moment, and marks them as being about an LLM.

        Args:
            name: The instrumentation scope.
            version: Its version.
        """
        return _FollowingTracer(self, name, version)

    def provider(self) -> tuple[AnyProvider, bool]:
        """The provider of the moment, and whether we are on it."""
        found = self._here()
        if found is not None:
            return found.asked, True
        return (self._asked() if self._closed else self._fallback), False

    def _asked(self) -> AnyProvider:
        return get_tracer_provider() if isinstance(self._chosen, str) else self._chosen

    def made(self, span: object) -> bool:
        """True for a span that somebody else's provider has made."""
        found = self._found
        resource = getattr(span, "resource", None)
        return found is not None and resource is not None and resource is found.provider.resource

    def made_before(self, span: object) -> bool:
        """True for a span of ours that was made while there was no provider to be on."""
        return getattr(span, "resource", None) is self._fallback.resource

    def is_seen(self, span: AnySpan) -> bool:
        """True where a span, or one above it, goes to our destinations, or another exporter sends it there."""
        return self._shell.nearest(span) is not None

    def note(self, span_id: int, written: Written) -> None:
        """Notes what was written on a span that is about to end."""
        self._shell.note(span_id, written)

    def detach(self) -> None:
        """Takes our processor out of the provider, which goes on without it."""
        with self._lock:
            self._closed = True
            found, self._found = self._found, None
            self._shell.release()
            self._sdk_filters.take_off()
            if found is not None:
                remove_processor(found.provider, self._shell)

    def belongs(self, span: ReadableSpan) -> bool:
        """True for a span that goes to our destinations."""
        scope = span.instrumentation_scope
        return self._belongs("" if scope is None else scope.name, span.attributes or {})

    def is_of_another_project(self, span: ReadableSpan) -> bool:
        """True for a span of the Langfuse SDK that none of our Langfuse destinations stands beside."""
        project = project_of_sdk(span)
        return project is not None and bool(self._projects) and project not in self._projects

    def elsewhere(self, span: ReadableSpan) -> frozenset[int]:
        """The `id` of each destination exporter that is not to get a span; says so once per place."""
        neighbours = self.neighbours
        left_out = frozenset(
            key for key, destination in self._destinations.items() if neighbours.sends(span, destination)
        )
        for key in self._destinations.keys() - self._told:
            self._tell(key, neighbours)
        return left_out

    def _tell(self, key: int, neighbours: Neighbours) -> None:
        destination = self._destinations[key]
        if neighbours.serves(destination):
            self._told.add(key)
            logger.info(
                "looopy-otel: the TracerProvider that was handed in exports to the same place as our destination "
                "%r: what it sends there is not sent again.",
                destination.name,
            )
        elif neighbours.may_serve(destination):
            self._told.add(key)
            logger.warning(
                "looopy-otel: the TracerProvider that was handed in has an exporter to the same place as our "
                "destination %r, behind something that may hold spans back: ours are sent there in any case, and may "
                "arrive twice, with the same ids.",
                destination.name,
            )

    def _here(self) -> _Found | None:
        """What is there now; looks closely only when the provider, or the number of its processors, has changed."""
        asked, found = self._asked(), self._found
        if found is not None and found.asked is asked:
            provider = found.provider
            if sdk_provider(asked) is provider and processors_of(provider) is found.processors:
                return found
        if self._closed or isinstance(asked, ProxyTracerProvider):
            return None
        with self._lock:
            return self._look(asked)

    def _look(self, asked: AnyProvider) -> _Found | None:
        provider = sdk_provider(asked)
        if self._closed or provider is None:
            if provider is None and not self._warned:
                self._warned = True
                logger.warning(
                    "looopy-otel: the global TracerProvider is a %s.%s, which takes no processors of OpenTelemetry's "
                    "SDK: spans are made with a provider of our own and go to our own destinations only.",
                    type(asked).__module__,
                    type(asked).__qualname__,
                )
            return None
        before = self._found
        if before is not None and before.provider is not provider:
            remove_processor(before.provider, self._shell)
        if self._shell not in processors_of(provider):
            provider.add_span_processor(self._shell)
        processors = processors_of(provider)
        others = [one for one in processors if not isinstance(one, AttachedProcessor)]
        neighbours = neighbours_of(others)
        self._sdk_filters.put_on(neighbours.langfuse.values())
        unfiltered = neighbours.langfuse_projects - self._sdk_filters.projects
        if unfiltered and self._has_tenants and not self._warned_of_leak:
            self._warned_of_leak = True
            logger.warning(
                "looopy-otel: an exporter on the TracerProvider that was handed in sends spans to the Langfuse project "
                "%s whatever session(project=…) says.",
                ", ".join(sorted(unfiltered)),
            )
        self._found = _Found(asked, provider, processors, neighbours)
        return self._found


class AttachedProcessor(SpanProcessor):
    """Our processor on somebody else's provider: hands on what belongs to us, and knows what stands above it.

    The provider's `shutdown` leaves it open: `Telemetry.shutdown`, which also runs at exit, delivers what it took.

    Args:
        attachment: Whose it is.
        processor: Takes what belongs to us.
    """

    def __init__(self, attachment: Attachment, processor: SpanProcessor) -> None:
        self._attachment: Attachment | None = attachment
        self._processor: SpanProcessor | None = processor
        self._nearest: dict[int, SpanContext] = {}
        self._written: dict[int, Written] = {}

    def release(self) -> None:
        """Lets go of everything: from here on it does nothing, if it has to stay on the provider."""
        self._attachment = self._processor = None
        self._nearest, self._written = {}, {}

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Notes which span of ours it stands under."""
        with guard("export.attached"):
            attachment, processor, context = self._attachment, self._processor, span.context
            if attachment is None or processor is None or context is None:
                return
            parent = get_current_span(parent_context)
            above = self.nearest(parent)
            if above is None or above.trace_id != context.trace_id:
                above = None
            elif above.span_id == parent.get_span_context().span_id and attachment.belongs(span):
                # Both ends of the edge are seen.
                above = None
            if above is not None:
                self._nearest[context.span_id] = above
                _bound(self._nearest)
            attachment.repeats.see(span, parent)
            processor.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Hands on the span, with its placing."""
        with guard("export.attached"):
            attachment, processor, context = self._attachment, self._processor, span.context
            if attachment is None or processor is None or context is None:
                return
            belongs = context.trace_flags.sampled and attachment.belongs(span)
            placing = Placing(
                belongs=belongs,
                elsewhere=attachment.elsewhere(span) if belongs else frozenset(),
                parent=self._nearest.get(context.span_id),
            )
            written = self._written.pop(context.span_id, None)
            placed = with_placing(attachment.repeats.settled(span) if belongs else span, placing)
            processor.on_end(placed if written is None else _before(placed, written))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Has our destinations deliver what they took, within the timeout."""
        processor = self._processor
        return processor is None or processor.force_flush(timeout_millis)

    def nearest(self, span: AnySpan) -> SpanContext | None:
        """The span itself where it belongs to us, else the nearest one above it that does; None without one."""
        context = span.get_span_context()
        return context if self._is_seen_itself(span) else self._nearest.get(context.span_id)

    def note(self, span_id: int, written: Written) -> None:
        """As `Attachment.note`."""
        self._written[span_id] = written
        _bound(self._written)

    def _is_seen_itself(self, span: object) -> bool:
        attachment = self._attachment
        return (
            attachment is not None
            and isinstance(span, ReadableSpan)
            and (attachment.made(span) or attachment.made_before(span))
            and attachment.belongs(span)
            and not attachment.is_of_another_project(span)
        )


class _FollowingTracer(Tracer):
    """Makes each span with the provider of the moment."""

    def __init__(self, attachment: Attachment, name: str, version: str | None) -> None:
        self._attachment = attachment
        self._name = name
        self._version = version
        self._made: tuple[AnyProvider, Tracer] | None = None

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> AnySpan:
        """Starts a span; on somebody else's provider past the gate, and marked."""
        provider, attached = self._attachment.provider()
        given: dict[str, Any] = dict(attributes or {})
        if attached:
            with guard("export.attached"):
                name, given = self._attachment.redact_name(name), self._attachment.redact_attributes(given)
                links = [
                    Link(one.context, self._attachment.redact_attributes(one.attributes or {})) for one in links or ()
                ]
                if not any(key.startswith(GEN_AI_PREFIX) for key in given):
                    given[GEN_AI_SPAN_KIND] = str(given.get(LANGFUSE_TYPE, "span"))
        return self._tracer(provider).start_span(
            name, context, kind, given, links or (), start_time, record_exception, set_status_on_exception
        )

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[AnySpan]:
        """Starts a span and makes it current inside the block."""
        span = self.start_span(
            name, context, kind, attributes, links, start_time, record_exception, set_status_on_exception
        )
        with use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span

    def _tracer(self, provider: AnyProvider) -> Tracer:
        made = self._made
        if made is None or made[0] is not provider:
            made = self._made = (provider, provider.get_tracer(self._name, self._version))
        return made[1]


def _before(span: ReadableSpan, written: Written) -> ReadableSpan:
    """The span without what rendering has written on it: our own is made from the draft."""
    attributes = {key: value for key, value in (span.attributes or {}).items() if key not in written.keys}
    vars(span)["_attributes"] = {**attributes, **written.taken}
    if written.events:
        vars(span)["_events"] = list(span.events)[: -written.events]
    return span


def _bound(remembered: dict[int, Any]) -> None:
    """Forgets the oldest, some at once, since each costs a look at the whole."""
    if len(remembered) > _REMEMBERED:
        for key in list(islice(remembered, _REMEMBERED // 10)):
            remembered.pop(key, None)

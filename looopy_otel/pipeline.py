"""The parts of one configuration, wired: exporters → worker → processor → provider → observer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version as distribution_version
from typing import Any
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.resources import (
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
    Resource,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace import Span as SDKSpan
from opentelemetry.trace import SpanContext, Tracer

from looopy_otel.core import hooks
from looopy_otel.core.config import library_version
from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.endpoint import langfuse_project
from looopy_otel.core.fork import loading
from looopy_otel.core.guard import guard
from looopy_otel.core.identity import current_identity
from looopy_otel.core.other_calls import OWN_SCOPE
from looopy_otel.core.secret_patterns import load_matcher
from looopy_otel.core.semconv import (
    DEPLOYMENT_ENVIRONMENT,
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    SERVICE_VERSION,
)
from looopy_otel.core.settings import CustomDestination, Destination, Dialect, HTTPDestination, OTLPMetrics, Settings
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import DestinationStats, Stats
from looopy_otel.export.attached import Attachment
from looopy_otel.export.build import build_destination
from looopy_otel.export.carried import with_known
from looopy_otel.export.eager import EagerRendering
from looopy_otel.export.losses import LossLog
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.metrics import Metering
from looopy_otel.export.neighbours import project_of_sdk
from looopy_otel.export.otlp import load_encoder
from looopy_otel.export.placing import NO_PLACING, Placing, placing_of, with_placing
from looopy_otel.export.post import load_network
from looopy_otel.export.processor import DraftProcessor
from looopy_otel.export.prometheus import PullEndpoint
from looopy_otel.export.route import Router
from looopy_otel.export.sampler import build_sampler
from looopy_otel.export.scopes import ScopeFilter, is_about_llms
from looopy_otel.export.worker import Render, Worker
from looopy_otel.instrument.observer import TracingObserver
from looopy_otel.instrument.open_calls import leave_open_calls
from looopy_otel.mapping.identity import identity_attributes, travelling_attributes
from looopy_otel.mapping.render import is_own, render
from looopy_otel.mapping.scalars import observation_type
from looopy_otel.pricing.cost import priced
from looopy_otel.pricing.price_list import PriceList
from looopy_otel.pricing.table import load_table
from looopy_otel.privacy.gate import Gate
from looopy_otel.record.context import Ownership
from looopy_otel.record.metric_runs import ActiveRuns
from looopy_otel.record.metrics import Measurements
from looopy_otel.record.nesting import is_inside_call
from looopy_otel.record.recorder import Recording


class Pipeline:
    """The parts of one configuration, wired.

    Args:
        settings: The resolved settings.
        prices: What models cost.
        endpoint: Where Prometheus asks for metrics, listening already; or None.
        stats: The health of all this, for the metrics that tell it.

    Attributes:
        memory: What all that waits takes of the process's memory.
        worker: The stages between the queue and the destinations.
        provider: Where tracers come from.
    """

    def __init__(
        self, settings: Settings, prices: PriceList, endpoint: PullEndpoint | None, stats: Callable[[], Stats]
    ) -> None:
        self._settings = settings
        if _is_networked(settings):
            # Here, and not on a thread of ours: SDKs look at a httpx that is half imported by another thread.
            load_network()
        self._gate = Gate(settings.capture)
        self._scopes = ScopeFilter(settings.instrumentation_scopes, OWN_SCOPE)
        self._tracers: set[str] = set()
        self._attachment: Attachment | None = None
        resource = _resource(settings)
        runs = ActiveRuns()
        metering = _metering(settings, resource, endpoint, runs, stats) if settings.metrics else None
        self._ownership = Ownership(resource, _langfuse_projects(settings))
        self.memory = MemoryBudget(settings.limits.memory, settings.limits.memory * 3 // 8)
        self.worker = _worker(settings, prices, metering, self.memory, self._ownership.known.is_under_way)
        self._losses = LossLog(stats)
        self._processor = DraftProcessor(
            self.worker,
            delay=settings.limits.delay,
            stamp=self._stamp,
            admits=self._admits,
            recall=self._recall,
            memory=self.memory,
            losses=self._losses,
            drained_in=settings.limits.shutdown_timeout / 2,
            prepare=partial(_load_late, settings),
        )
        self.provider = TracerProvider(
            sampler=build_sampler(settings.sampler, settings.sampler_argument, self._ownership.has_own_parent),
            resource=resource,
            shutdown_on_exit=False,
            span_limits=_no_limits(),
        )
        self.provider.add_span_processor(self._processor)
        self._attachment = None if settings.tracer_provider is None else self._attached()
        self._observer = TracingObserver(
            Recording(
                tracer=self.tracer(OWN_SCOPE, library_version()),
                ownership=self._ownership,
                hand_over=self._processor.hand_over,
                deployment=settings.deployment,
                capture=settings.capture,
                history=settings.history,
                runs=None if metering is None else runs,
                finish=None if self._attachment is None else self._eager(self._attachment, prices),
            )
        )
        hooks.install(self._observer)

    def tracer(self, name: str, version: str | None = None) -> Tracer:
        """A tracer whose spans go the way of all others, whoever's provider makes them.

        Args:
            name: The instrumentation scope.
            version: Its version.
        """
        self._tracers.add(name)
        if self._attachment is None:
            return self.provider.get_tracer(name, version)
        return self._attachment.tracer(name, version)

    def _attached(self) -> Attachment:
        """Our place on the provider that was handed in."""
        attachment = Attachment(
            self._settings.tracer_provider,
            self.provider,
            self._processor,
            belongs=self._belongs,
            destinations=dict(zip(map(id, self.worker.destinations), _places(self._settings), strict=True)),
            is_inside_call=is_inside_call,
            redact_name=self._gate.name,
            redact_attributes=self._gate.attributes,
            may_send=self._may_send,
        )
        self._ownership.share_provider(attachment.is_seen, lambda: attachment.neighbours.langfuse_projects)
        with guard("pipeline.attach"):
            attachment.provider()
        return attachment

    def _eager(self, attachment: Attachment, prices: PriceList) -> EagerRendering:
        deployment = self._settings.deployment
        return EagerRendering(
            attachment,
            redact=self._gate.draft,
            redact_text=self._gate.text,
            price=_pricing(prices),
            render=_rendering(self._settings),
            identity=lambda draft: identity_attributes(draft.identity, deployment, root=draft.root),
            is_own=is_own,
            kind=observation_type,
            dialects=self._settings.provider_dialects,
        )

    def _belongs(self, scope: str, attributes: Mapping[str, object]) -> bool:
        """True for a span on a provider that others use too which goes to our destinations."""
        verdict = self._scopes.verdict(scope)
        return verdict if verdict is not None else scope in self._tracers or is_about_llms(scope, attributes)

    def _admits(self, span: ReadableSpan) -> bool:
        placing = placing_of(span)
        if placing is not NO_PLACING:
            return placing.belongs
        scope = span.instrumentation_scope
        return self._scopes.verdict("" if scope is None else scope.name) is not False

    def _stamp(self, span: SDKSpan, parent_context: Context | None) -> None:
        """Notes whose it is; writes that on spans that were made with a plain tracer; our own have it already."""
        attachment = self._attachment
        shared = attachment is not None and attachment.made(span)
        belongs = attachment.belongs(span) if attachment is not None and shared else self._admits(span)
        known = self._ownership.know(span, parent_context, belongs=belongs)
        if (shared and not belongs) or _tells_identity(span):
            return
        stamped = travelling_attributes(known.identity, self._settings.deployment, root=known.root)
        if shared:
            # What others have said of their own span stays.
            stamped = {key: value for key, value in stamped.items() if key not in (span.attributes or {})}
        span.set_attributes(stamped)

    def _recall(self, span: ReadableSpan) -> ReadableSpan:
        """An ended span that goes out, with what was noted at its start; some show only later that they are ours."""
        context = span.context
        known = None if context is None else self._ownership.known.get(context.span_id)
        if context is None or known is None:
            return span
        shared = self._attachment is not None and self._attachment.made(span)
        identity: Mapping[str, Any] = {}
        if shared and not _tells_identity(span):
            identity = identity_attributes(known.identity, self._settings.deployment, root=known.root)
        recalled = with_known(span, known, identity)
        if shared or known.parent is None:
            return recalled
        return with_placing(recalled, Placing(parent=SpanContext(context.trace_id, known.parent, is_remote=False)))

    def _may_send(self, span: ReadableSpan, key: str) -> bool:
        """True where the Langfuse SDK, for the project of this public key, may send a span; its own go as it likes."""
        context = span.context
        if context is None or project_of_sdk(span) is not None:
            return True
        known = self._ownership.known.get(context.span_id)
        identity = current_identity() if known is None else known.identity
        return self._ownership.may_reach(identity.project, key)

    def flush(self, timeout: float) -> None:
        """Has all delivered that is finished, within so many seconds."""
        leave_open_calls(self._observer, paused_only=True)
        self._processor.force_flush(_milliseconds(timeout))
        self._losses.look()

    def shutdown(self, timeout: float) -> None:
        """Ends what is under way, delivers and lets go of everything, within so many seconds."""
        self._processor.hasten()
        leave_open_calls(self._observer)
        hooks.remove(self._observer)
        if self._attachment is not None:
            self._attachment.detach()
        self._processor.shutdown(_milliseconds(timeout))
        self._losses.summarise()

    def queued(self) -> int:
        """Spans that have not gone to every destination."""
        return self._processor.queued

    def dropped(self) -> Mapping[str, int]:
        """Spans that were lost before they reached a destination, by reason."""
        return Counter(self._processor.dropped) + Counter(self.worker.dropped)

    def content_shed(self) -> Mapping[str, int]:
        """Spans that lost their content before they reached a destination, by reason."""
        return self._processor.content_shed

    def destination_stats(self) -> tuple[DestinationStats, ...]:
        """The health of each destination."""
        return tuple(destination.stats() for destination in self.worker.destinations)


def _tells_identity(span: ReadableSpan) -> bool:
    """True for a span on which its maker writes whose it is: ours, of an operation, or the Langfuse SDK's."""
    scope = span.instrumentation_scope
    return (scope is not None and scope.name == OWN_SCOPE) or project_of_sdk(span) is not None


def _langfuse_projects(settings: Settings) -> Mapping[str | None, Collection[str]]:
    """The public keys of the Langfuse projects that spans are sent to, by the name that chooses them."""
    keys: dict[str | None, set[str]] = {}
    for place in settings.destinations:
        if isinstance(place, HTTPDestination) and (key := langfuse_project(place.endpoint, place.headers)):
            for name in place.projects:
                keys.setdefault(name, set()).add(key)
    return keys


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 0)


def _resource(settings: Settings) -> Resource:
    deployment = settings.deployment
    attributes: dict[str, str] = {
        SERVICE_INSTANCE_ID: str(uuid4()),
        **settings.resource_attributes,
        TELEMETRY_SDK_LANGUAGE: "python",
        TELEMETRY_SDK_NAME: "opentelemetry",
        TELEMETRY_SDK_VERSION: distribution_version("opentelemetry-sdk"),
        SERVICE_NAME: settings.service_name,
    }
    if deployment.version:
        attributes[SERVICE_VERSION] = deployment.version
    if deployment.environment:
        attributes[DEPLOYMENT_ENVIRONMENT] = deployment.environment
    # `Resource.create` would read the environment again, and start threads for its detectors.
    return Resource({name: valid_text(value) for name, value in attributes.items()})


def _no_limits() -> SpanLimits:
    """No limits: OpenTelemetry evicts the oldest attributes first, and those are the identity."""
    unset = SpanLimits.UNSET
    return SpanLimits(unset, unset, unset, unset, unset, unset, unset, unset)


def _metering(
    settings: Settings,
    resource: Resource,
    endpoint: PullEndpoint | None,
    runs: ActiveRuns,
    stats: Callable[[], Stats],
) -> Metering:
    def instruments(meter: Meter) -> Measurements:
        return Measurements(
            meter,
            environment=settings.deployment.environment,
            label_values=settings.metric_label_values,
            runs=runs,
            stats=stats,
        )

    return Metering(settings, resource, endpoint, instruments)


def _worker(
    settings: Settings,
    prices: PriceList,
    metering: Metering | None,
    memory: MemoryBudget,
    is_under_way: Callable[[int], bool],
) -> Worker:
    gate, places = Gate(settings.capture), _places(settings)
    return Worker(
        redact=gate.draft,
        redact_attributes=gate.attributes,
        redact_text=gate.text,
        redact_name=gate.name,
        price=_pricing(prices),
        render=_rendering(settings),
        is_own=is_own,
        destinations=[build_destination(place, settings, memory) for place in places],
        metering=metering,
        router=Router(places, gate.text),
        tail_sampling=settings.tail_sampling,
        memory=memory,
        is_under_way=lambda root: is_under_way(int(root, 16)),
    )


def _places(settings: Settings) -> list[Destination]:
    # One after the other: a user's own exporter, which may take its time, comes last.
    return sorted(settings.destinations, key=lambda one: isinstance(one, CustomDestination))


def _pricing(prices: PriceList) -> Callable[[Draft], Draft]:
    return lambda draft: priced(draft, prices) if isinstance(draft, LLMDraft) else draft


def _rendering(settings: Settings) -> Render:
    def rendered(draft: Draft, dialects: Sequence[Dialect]) -> dict[str, Any]:
        return dict(render(draft, settings.deployment, dialects))

    return rendered


def _load_late(settings: Settings) -> None:
    """Loads what no start of a program shall pay for, and what must not be half loaded when the process forks."""
    for load in (load_table, load_matcher, *((load_encoder,) if _is_networked(settings) else ())):
        with loading():
            load()


def _is_networked(settings: Settings) -> bool:
    places = (*settings.destinations, *settings.metrics)
    return any(isinstance(place, HTTPDestination | OTLPMetrics) for place in places)

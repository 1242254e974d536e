"""The parts of one configuration, wired: exporters → worker → processor → provider → observer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
from opentelemetry.sdk.trace import Span as SDKSpan
from opentelemetry.sdk.trace import SpanLimits, TracerProvider

from looopy_otel.core import hooks
from looopy_otel.core.config import library_version
from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.endpoint import langfuse_project
from looopy_otel.core.identity import current_identity
from looopy_otel.core.semconv import DEPLOYMENT_ENVIRONMENT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION
from looopy_otel.core.settings import CustomDestination, Dialect, HTTPDestination, Settings
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import DestinationStats, Stats
from looopy_otel.export.build import build_destination
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.metrics import Metering
from looopy_otel.export.processor import DraftProcessor
from looopy_otel.export.prometheus import PullEndpoint
from looopy_otel.export.sampler import build_sampler
from looopy_otel.export.worker import Worker
from looopy_otel.instrument.observer import TracingObserver
from looopy_otel.instrument.open_calls import leave_open_calls
from looopy_otel.mapping.identity import identity_attributes
from looopy_otel.mapping.render import is_own, render
from looopy_otel.pricing.cost import priced
from looopy_otel.pricing.price_list import PriceList
from looopy_otel.privacy.gate import Gate
from looopy_otel.record.context import Ownership
from looopy_otel.record.metric_runs import ActiveRuns
from looopy_otel.record.metrics import Measurements
from looopy_otel.record.recorder import Recording

SCOPE = "looopy_otel"
"""Name of the instrumentation scope of our own spans."""


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
        resource = _resource(settings)
        runs = ActiveRuns()
        metering = _metering(settings, resource, endpoint, runs, stats) if settings.metrics else None
        self._ownership = Ownership(resource, _langfuse_projects(settings))
        self.memory = MemoryBudget(settings.limits.memory)
        self.worker = _worker(settings, prices, metering, self.memory)
        self._processor = DraftProcessor(self.worker, delay=settings.limits.delay, stamp=self._stamp)
        self.provider = TracerProvider(
            sampler=build_sampler(settings.sampler, settings.sampler_argument, self._ownership.has_own_parent),
            resource=resource,
            shutdown_on_exit=False,
            span_limits=_no_limits(),
        )
        self.provider.add_span_processor(self._processor)
        self._observer = TracingObserver(
            Recording(
                tracer=self.provider.get_tracer(SCOPE, library_version()),
                ownership=self._ownership,
                hand_over=self._processor.hand_over,
                deployment=settings.deployment,
                capture=settings.capture,
                history=settings.history,
                runs=None if metering is None else runs,
            )
        )
        hooks.install(self._observer)

    def _stamp(self, span: SDKSpan, parent_context: Context | None) -> None:
        """Writes the identity on spans that were made with a plain tracer; our own have it already."""
        scope = span.instrumentation_scope
        if scope is not None and scope.name == SCOPE:
            return
        root = self._ownership.is_root(parent_context)
        span.set_attributes(identity_attributes(current_identity(), self._settings.deployment, root=root))

    def flush(self, timeout: float) -> None:
        """Has all delivered that is finished, within so many seconds."""
        leave_open_calls(self._observer, paused_only=True)
        self._processor.force_flush(_milliseconds(timeout))

    def shutdown(self, timeout: float) -> None:
        """Ends what is under way, delivers and lets go of everything, within so many seconds."""
        leave_open_calls(self._observer)
        hooks.remove(self._observer)
        self._processor.shutdown(_milliseconds(timeout))

    def queued(self) -> int:
        """Spans that have not gone to every destination."""
        return self._processor.queued

    def dropped(self) -> Mapping[str, int]:
        """Spans that were lost before they reached a destination, by reason."""
        return Counter(self._processor.dropped) + Counter(self.worker.dropped)

    def destination_stats(self) -> tuple[DestinationStats, ...]:
        """The health of each destination."""
        return tuple(destination.stats() for destination in self.worker.destinations)


def _langfuse_projects(settings: Settings) -> frozenset[str]:
    """The public keys of the Langfuse projects that spans are sent to."""
    places = [one for one in settings.destinations if isinstance(one, HTTPDestination)]
    return frozenset(key for one in places if (key := langfuse_project(one.endpoint, one.headers)))


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


def _worker(settings: Settings, prices: PriceList, metering: Metering | None, memory: MemoryBudget) -> Worker:
    gate = Gate(settings.capture)

    def price(draft: Draft) -> Draft:
        return priced(draft, prices) if isinstance(draft, LLMDraft) else draft

    def rendered(draft: Draft, dialects: Sequence[Dialect]) -> dict[str, Any]:
        return dict(render(draft, settings.deployment, dialects))

    return Worker(
        redact=gate.draft,
        redact_attributes=gate.attributes,
        redact_text=gate.text,
        redact_name=gate.name,
        price=price,
        render=rendered,
        is_own=is_own,
        # One after the other: a user's own exporter, which may take its time, comes last.
        destinations=[
            build_destination(destination, settings, memory)
            for destination in sorted(settings.destinations, key=lambda one: isinstance(one, CustomDestination))
        ],
        metering=metering,
    )

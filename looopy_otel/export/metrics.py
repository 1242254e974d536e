"""One configuration's metrics: its MeterProvider, and the readers that push or offer what is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import uuid4

from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanContext

from looopy_otel.core.config import library_version
from looopy_otel.core.draft import Draft
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.semconv import SERVICE_INSTANCE_ID
from looopy_otel.core.settings import CustomMetrics, MetricsDestination, OTLPMetrics, PrometheusMetrics, Settings
from looopy_otel.core.text import valid_text
from looopy_otel.export.deadline import remaining, run_until
from looopy_otel.export.otlp_metrics import OTLPMetricReader
from looopy_otel.export.prometheus import PullEndpoint

_EXEMPLAR_FILTERS: Final = {
    "trace_based": TraceBasedExemplarFilter,
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
}


class Instruments(Protocol):
    """What measures finished operations."""

    def record(self, draft: Draft, span_context: SpanContext | None = None) -> None:
        """Adds one finished operation.

        Args:
            draft: Redacted and priced.
            span_context: Of its span.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Built:
    """What one process has of a configuration's metrics."""

    provider: MeterProvider
    instruments: Instruments
    pushers: Sequence[OTLPMetricReader]
    others: Sequence[MetricReader]


def opened_endpoint(destinations: Sequence[MetricsDestination]) -> PullEndpoint | None:
    """Does what can fail because of the settings, before anything of another configuration is given up.

    Args:
        destinations: Where metrics go.

    Returns:
        The endpoint that Prometheus asks, if there is to be one; it listens already.

    Raises:
        ConfigurationError: If it cannot listen, or a reader is in use elsewhere.
        MissingExtraError: If an optional package is not installed.
    """
    for one in destinations:
        # A reader belongs to one provider for ever; the SDK's own complaint is a bare Exception.
        if isinstance(one, CustomMetrics) and getattr(one.reader, "_collect", None) is not None:
            raise ConfigurationError(
                f"metrics: this {type(one.reader).__name__} belongs to another MeterProvider already; make a new one"
            )
    found = [one for one in destinations if isinstance(one, PrometheusMetrics)]
    return PullEndpoint(found[0]) if found else None


class Metering:
    """Measures finished operations, and has the readers deliver.

    The provider is made at the first measurement, together with the thread that pushes; right away only where somebody
    may ask before. A forked child counts from zero, as an instance of its own, for those that are pushed to. A
    ``service.instance.id`` that the user gave is the first part of each instance's id.

    Args:
        settings: The settings.
        resource: What the metrics are about.
        endpoint: Where Prometheus asks, or None.
        instruments: Makes the instruments.
    """

    def __init__(
        self,
        settings: Settings,
        resource: Resource,
        endpoint: PullEndpoint | None,
        instruments: Callable[[Meter], Instruments],
    ) -> None:
        self._settings = settings
        self._given_id = settings.resource_attributes.get(SERVICE_INSTANCE_ID)
        self._resource = resource if self._given_id is None else self._as_an_instance(resource)
        self._endpoint = endpoint
        self._instruments = instruments
        self._readers = tuple(one.reader for one in settings.metrics if isinstance(one, CustomMetrics))
        self._pushed = tuple(one for one in settings.metrics if isinstance(one, OTLPMetrics))
        self._closed = False
        self._lock = threading.RLock()
        self._built: _Built | None = None
        if self._readers or endpoint is not None:
            self._build()
        reset_after_fork(self._start_over)

    def _start_over(self) -> None:
        self._lock = threading.RLock()
        self._built = None
        self._endpoint = None
        self._readers = ()
        self._resource = self._as_an_instance(self._resource)

    def _as_an_instance(self, resource: Resource) -> Resource:
        """The resource with an id of its own: two that count under one id overwrite each other's totals."""
        unique = str(uuid4())
        instance = unique if self._given_id is None else f"{valid_text(self._given_id)}-{unique[:8]}"
        return resource.merge(Resource({SERVICE_INSTANCE_ID: instance}))

    def record(self, draft: Draft, span_context: SpanContext | None) -> None:
        """Measures one finished operation, redacted and priced, in the light of its span; after `close` nothing."""
        if self._closed:
            return
        built = self._built or self._build()
        if built is None:
            return
        built.instruments.record(draft, span_context)
        for pusher in built.pushers:
            pusher.wake()

    def flush(self) -> Callable[[float], bool]:
        """Has everything delivered, and does not wait for it.

        Returns:
            What waits for it, until a deadline (a value of `time.monotonic`); true when all was delivered.
        """
        built = self._built
        if built is None or self._closed:
            return _done
        tickets = [(pusher, pusher.ask()) for pusher in built.pushers]

        def wait(deadline: float) -> bool:
            delivered = [pusher.wait(ticket, deadline) for pusher, ticket in tickets]
            delivered += [run_until(deadline, lambda one=one: _flush(one, deadline)) for one in built.others]
            return all(delivered)

        return wait

    def close(self, deadline: float) -> None:
        """Delivers the last state until `deadline`, then lets go of threads, connections and the port."""
        with self._lock:
            built, self._built, closed, self._closed = self._built, None, self._closed, True
        if closed:
            return
        for pusher in built.pushers if built else ():
            pusher.close(deadline)
        for reader in built.others if built else ():
            run_until(deadline, lambda one=reader: _shut_down(one, deadline))
        if self._endpoint is not None:
            self._endpoint.close()

    def _build(self) -> _Built | None:
        with self._lock:
            if self._built is None and not self._closed:
                pushers = [OTLPMetricReader(one) for one in self._pushed]
                instance = str(self._resource.attributes[SERVICE_INSTANCE_ID])
                offered = [] if self._endpoint is None else [self._endpoint.reader(instance)]
                provider = MeterProvider(
                    metric_readers=[*pushers, *offered, *self._readers],
                    resource=self._resource,
                    exemplar_filter=self._exemplar_filter(),
                    shutdown_on_exit=False,
                )
                meter = provider.get_meter("looopy_otel", library_version())
                self._built = _Built(provider, self._instruments(meter), pushers, self._readers)
            return self._built

    def _exemplar_filter(self) -> ExemplarFilter:
        return _EXEMPLAR_FILTERS[self._settings.exemplar_filter]()


def _done(deadline: float) -> bool:
    return True


def _flush(reader: MetricReader, deadline: float) -> None:
    with guard("export.metrics"):
        reader.force_flush(remaining(deadline) * 1000)


def _shut_down(reader: MetricReader, deadline: float) -> None:
    with guard("export.metrics"):
        reader.shutdown(remaining(deadline) * 1000)  # pyright: ignore[reportUnknownMemberType]

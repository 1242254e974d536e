"""The composition root: settings → destinations → worker → processor → provider → observer.

The module is not called ``configure``: importing it would hide the function of that name in the package.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from importlib.metadata import version as distribution_version
from types import TracebackType
from typing import Any, Literal
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import (
    TELEMETRY_SDK_LANGUAGE,
    TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
    Resource,
)
from opentelemetry.sdk.trace import Span as SDKSpan
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import NoOpTracer, Tracer

from looopy_otel.core import hooks
from looopy_otel.core.config import library_version, resolve
from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.endpoint import langfuse_project
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.identity import current_identity
from looopy_otel.core.semconv import DEPLOYMENT_ENVIRONMENT, SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION
from looopy_otel.core.settings import Capture, CustomDestination, Dialect, History, HTTPDestination, Options, Settings
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import DestinationStats, FlushResult, Stats
from looopy_otel.export.build import build_destination
from looopy_otel.export.metrics import Metering, opened_endpoint
from looopy_otel.export.processor import DraftProcessor
from looopy_otel.export.prometheus import PullEndpoint
from looopy_otel.export.sampler import build_sampler
from looopy_otel.export.worker import Worker
from looopy_otel.instrument.observer import TracingObserver
from looopy_otel.instrument.open_calls import leave_open_calls
from looopy_otel.mapping.identity import identity_attributes
from looopy_otel.mapping.render import is_own, render
from looopy_otel.pricing.cost import priced
from looopy_otel.pricing.in_force import drop_prices, use_prices
from looopy_otel.pricing.price_list import PriceList
from looopy_otel.privacy.gate import Gate
from looopy_otel.record.context import Ownership
from looopy_otel.record.metric_runs import ActiveRuns
from looopy_otel.record.metrics import Measurements
from looopy_otel.record.recorder import Recording

SCOPE = "looopy_otel"
"""Name of the instrumentation scope of our own spans."""

ExporterName = Literal["auto", "langfuse", "otlp", "local", "console", "none"]
Exporters = str | SpanExporter | Sequence[str | SpanExporter]
Prices = Mapping[str, Mapping[str, float | Decimal | str]] | str | os.PathLike[str]
Metrics = str | MetricReader | Sequence[str | MetricReader]

_lock = threading.RLock()
_active: Telemetry | None = None


def configure(
    *,
    service_name: str | None = None,
    service_version: str | None = None,
    environment: str | None = None,
    release: str | None = None,
    exporters: Exporters | None = None,
    capture: Capture | None = None,
    history: History | None = None,
    dialects: Mapping[str, Dialect | Sequence[Dialect]] | None = None,
    otlp_endpoint: str | None = None,
    otlp_headers: Mapping[str, str] | None = None,
    langfuse_public_key: str | None = None,
    langfuse_secret_key: str | None = None,
    langfuse_base_url: str | None = None,
    database: str | os.PathLike[str] | None = None,
    spool_directory: str | os.PathLike[str] | None = None,
    metrics: Metrics | None = None,
    prices: Prices | None = None,
) -> Telemetry:
    """Turns tracing on. Every agent loop and provider, made before or after, is traced from here on.

    Each argument wins over its environment variable, which wins over the default. A second call replaces the first
    after draining it; a call that raises leaves the first in place.

    Args:
        service_name: ``service.name`` (``OTEL_SERVICE_NAME``; default ``looopy-agent``).
        service_version: ``service.version``, and Langfuse's version.
        environment: ``production``, ``staging``, … (``LANGFUSE_TRACING_ENVIRONMENT``).
        release: Langfuse's release (``LANGFUSE_RELEASE``).
        exporters: ``"langfuse"``, ``"otlp"``, ``"local"``, ``"console"``, a `SpanExporter`, or a list of these;
            ``"none"``; default ``"auto"``: Langfuse when its keys are set, OTLP when an endpoint is set, the local
            store when neither is (``LOOOPY_OTEL_EXPORTERS``).
        capture: ``"full"`` records content, ``"redacted"`` (default) records it with secrets replaced, ``"metadata"``
            records sizes, roles, names, models and tokens only (``LOOOPY_OTEL_CAPTURE``).
        history: ``"full"`` (default) records the whole conversation on each call, ``"delta"`` what is new in it
            (``LOOOPY_OTEL_HISTORY``).
        dialects: What a destination's spans carry, by its name: ``{"otlp": "seed"}``.
        otlp_endpoint: Base URL of a collector (``OTEL_EXPORTER_OTLP_ENDPOINT``).
        otlp_headers: Headers for it (``OTEL_EXPORTER_OTLP_HEADERS``).
        langfuse_public_key: ``LANGFUSE_PUBLIC_KEY``.
        langfuse_secret_key: ``LANGFUSE_SECRET_KEY``.
        langfuse_base_url: ``LANGFUSE_BASE_URL`` or ``LANGFUSE_HOST``.
        database: The local store's file (``LOOOPY_OTEL_DB``).
        spool_directory: Where batches wait for a backend (``LOOOPY_OTEL_SPOOL_DIR``).
        metrics: ``"otlp"`` pushes metrics to the collector (``OTEL_EXPORTER_OTLP_METRICS_ENDPOINT``, else
            `otlp_endpoint`; never to Langfuse), ``"prometheus"`` offers them at
            ``OTEL_EXPORTER_PROMETHEUS_HOST``/``PORT`` (default ``localhost:9464``); or a `MetricReader`, a list of
            these, or ``"none"``. Default ``"auto"``: OTLP when an endpoint that is no Langfuse is set, else none
            (``LOOOPY_OTEL_METRICS``, ``OTEL_METRICS_EXPORTER``).
        prices: What models cost that the price table does not know, or that cost you something else: USD per million
            tokens by model (or pattern) and part, such as ``{"my-model": {"input": 2.5, "output": 10}}``, or the path
            of a JSON or TOML file that says so (``LOOOPY_OTEL_PRICES``).

    Returns:
        The handle; also a context manager that shuts down at the end.

    Raises:
        ConfigurationError: Naming every setting that is wrong.
        MissingExtraError: If a setting needs a package that is not installed.
    """
    options = Options(
        service_name=service_name,
        service_version=service_version,
        environment=environment,
        release=release,
        exporters=exporters,
        capture=capture,
        history=history,
        dialects=dialects,
        otlp_endpoint=otlp_endpoint,
        otlp_headers=otlp_headers,
        langfuse_public_key=langfuse_public_key,
        langfuse_secret_key=langfuse_secret_key,
        langfuse_base_url=langfuse_base_url,
        database=database,
        spool_directory=spool_directory,
        metrics=metrics,
        prices=prices,
    )
    return _activate(resolve(options))


def _activate(settings: Settings) -> Telemetry:
    global _active
    with _lock:
        endpoint = None if settings.disabled else opened_endpoint(settings.metrics)
        if _active is None:
            atexit.register(_at_exit)
        else:
            _active.shutdown()
        try:
            _active = Telemetry(settings, endpoint)
        except BaseException:
            if endpoint is not None:
                endpoint.close()
            raise
        _at_exit_of_worker()
        return _active


def _at_exit() -> None:
    if _active is not None:
        _active.shutdown()


def _at_exit_of_worker() -> None:
    """Has a process that `multiprocessing` started shut down as well; it ends without the handlers of `atexit`."""
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _at_exit, exitpriority=0)


class Telemetry:
    """One running configuration; made by `configure()`.

    Args:
        settings: The resolved settings.
        endpoint: Where Prometheus asks for metrics, listening already; or None.
    """

    def __init__(self, settings: Settings, endpoint: PullEndpoint | None = None) -> None:
        self._settings = settings
        self._prices = PriceList(settings.prices)
        self._pipeline: _Pipeline | None = None
        if not settings.disabled:
            self._pipeline = _Pipeline(settings, self._prices, endpoint, self.stats)
        # Also where nothing is traced: budgets ask what a call costs.
        use_prices(self._prices)
        self._closed = False
        self._reset()
        reset_after_fork(self._reset)
        reset_after_fork(self._in_child)

    def _in_child(self) -> None:
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            # What is registered now is forgotten when the worker begins, right before it calls this.
            util.register_after_fork(self, Telemetry._begin_worker)

    def _begin_worker(self) -> None:
        _at_exit_of_worker()

    def _reset(self) -> None:
        self._reported: Counter[str] = Counter()

    @property
    def settings(self) -> Settings:
        """The resolved settings; secrets are not in their repr."""
        return self._settings

    def tracer(self, name: str) -> Tracer:
        """Returns an OpenTelemetry tracer in the same pipeline, for spans of your own.

        Args:
            name: The instrumentation scope, such as ``my-tool``.
        """
        return NoOpTracer() if self._pipeline is None else self._pipeline.provider.get_tracer(name)

    def flush(self, timeout: float = 5.0) -> FlushResult:
        """Sends what is waiting; never raises, never takes longer than `timeout`.

        A client's stream whose loop was left counts as abandoned from here on.

        Args:
            timeout: Seconds, over all destinations together.

        Returns:
            What was exported and dropped since the last flush, and what is still spooled or pending.
        """
        if self._pipeline is not None and not self._closed:
            with guard("telemetry.flush"):
                self._pipeline.flush(timeout)
        return self._flushed()

    def stats(self) -> Stats:
        """Returns the health of the pipeline since `configure()`."""
        pipeline = self._pipeline
        destinations: tuple[DestinationStats, ...] = () if pipeline is None else pipeline.destination_stats()
        dropped: Counter[str] = Counter() if pipeline is None else Counter(pipeline.dropped())
        for destination in destinations:
            dropped.update(destination.dropped)
        return Stats(
            queued=0 if pipeline is None else pipeline.queued(),
            exported=sum(destination.exported for destination in destinations),
            spooled=sum(destination.spooled for destination in destinations),
            dropped=dict(dropped),
            internal_errors=dict(guard.faults),
            unpriced_calls={} if pipeline is None else dict(pipeline.worker.unpriced_calls),
            destinations=destinations,
        )

    def shutdown(self, timeout: float = 5.0) -> FlushResult:
        """Stops tracing, sends what is waiting and stops every thread; runs at exit by itself. Later calls do nothing.

        Args:
            timeout: Seconds, over everything.

        Returns:
            As `flush`.
        """
        with _lock:
            drop_prices(self._prices)
            if not self._closed and self._pipeline is not None:
                self._closed = True
                with guard("telemetry.shutdown"):
                    self._pipeline.shutdown(timeout)
            return self._flushed()

    def _flushed(self) -> FlushResult:
        stats = self.stats()
        totals = Counter(exported=stats.exported, dropped=sum(stats.dropped.values()))
        since, self._reported = totals - self._reported, totals
        return FlushResult(
            exported=since["exported"],
            spooled=stats.spooled,
            dropped=since["dropped"],
            pending=stats.queued + sum(destination.queued for destination in stats.destinations),
        )

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()


class _Pipeline:
    """The parts of one configuration, wired."""

    def __init__(
        self, settings: Settings, prices: PriceList, endpoint: PullEndpoint | None, stats: Callable[[], Stats]
    ) -> None:
        self._settings = settings
        resource = _resource(settings)
        runs = ActiveRuns()
        metering = _metering(settings, resource, endpoint, runs, stats) if settings.metrics else None
        self._ownership = Ownership(resource, _langfuse_projects(settings))
        self.worker = _worker(settings, prices, metering)
        self._processor = DraftProcessor(self.worker, delay=settings.export_delay, stamp=self._stamp)
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
        leave_open_calls(self._observer, paused_only=True)
        self._processor.force_flush(_milliseconds(timeout))

    def shutdown(self, timeout: float) -> None:
        leave_open_calls(self._observer)
        hooks.remove(self._observer)
        self._processor.shutdown(_milliseconds(timeout))

    def queued(self) -> int:
        return self._processor.queued

    def dropped(self) -> Mapping[str, int]:
        return Counter(self._processor.dropped) + Counter(self.worker.dropped)

    def destination_stats(self) -> tuple[DestinationStats, ...]:
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


def _worker(settings: Settings, prices: PriceList, metering: Metering | None) -> Worker:
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
            build_destination(destination, settings.spool_directory)
            for destination in sorted(settings.destinations, key=lambda one: isinstance(one, CustomDestination))
        ],
        metering=metering,
    )

"""The handle: what `configure()` returns, and how one configuration replaces another.

The module is not called ``configure``: importing it would hide the function of that name in the package.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Literal

from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import NoOpTracer, Tracer

from looopy_otel.core import flushing
from looopy_otel.core.config import resolve
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.settings import Capture, Dialect, History, Options, Settings, TailSampling
from looopy_otel.core.sigterm import SigtermHandler
from looopy_otel.core.types import DestinationStats, FlushResult, Stats
from looopy_otel.export.deadline import seconds_of
from looopy_otel.export.metrics import opened_endpoint
from looopy_otel.export.prometheus import PullEndpoint
from looopy_otel.pipeline import Pipeline
from looopy_otel.pricing.in_force import drop_prices, use_prices
from looopy_otel.pricing.price_list import PriceList

ExporterName = Literal["auto", "langfuse", "otlp", "local", "console", "none"]
Exporters = str | SpanExporter | Sequence[str | SpanExporter]
Prices = Mapping[str, Mapping[str, float | Decimal | str]] | str | os.PathLike[str]
Metrics = str | MetricReader | Sequence[str | MetricReader]

logger = logging.getLogger("looopy_otel")


class _Current:
    """The configuration in force, and the lock under which it changes; a forked child has a lock of its own."""

    def __init__(self) -> None:
        self.telemetry: Telemetry | None = None
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self.lock = threading.RLock()


_current = _Current()


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
    langfuse_projects: Mapping[str, Mapping[str, str]] | None = None,
    memory_limit: int | None = None,
    spool_limit: int | None = None,
    shutdown_timeout: float | None = None,
    handle_sigterm: bool = False,
    tracer_provider: TracerProvider | Literal["global"] | None = None,
    instrumentation_scopes: Sequence[str] | None = None,
    tail_sampling: TailSampling | None = None,
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
        dialects: What a destination's spans carry, by its name: ``{"otlp": "seed"}``; under ``tracer_provider`` what
            the exporters of a provider that was handed in get.
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
        langfuse_projects: Keys of further Langfuse projects, by the name that `session(project=)` chooses them with:
            ``{"tenant-a": {"public_key": …, "secret_key": …}}``, if need be with a ``base_url``
            (``LOOOPY_OTEL_LANGFUSE_PROJECTS``: path of a JSON or TOML file that says so).
        memory_limit: Bytes that all spans on their way out may take in memory (``LOOOPY_OTEL_MEMORY_LIMIT``; default
            64 MiB).
        spool_limit: Bytes on disk per destination (``LOOOPY_OTEL_SPOOL_LIMIT``; default 512 MiB).
        shutdown_timeout: Seconds that the end of the process may take (``LOOOPY_OTEL_SHUTDOWN_TIMEOUT``; default 5).
        handle_sigterm: True to deliver when SIGTERM ends the process, which it then does all the same, with exit code
            143 as the first process of a container. Only from the main thread; a handler of the program's own stays in
            place.
        tracer_provider: The provider to make spans with, or ``"global"`` for OpenTelemetry's global one, which may be
            set later. Its own exporters then send our spans; `exporters` are added only where they are said, and get
            what is about LLMs. Its sampler decides. Default is a private one.
        instrumentation_scopes: Whose spans go out: names of instrumentation scopes, ``*`` for any characters; those
            that begin with ``!`` are left out (``LOOOPY_OTEL_INSTRUMENTATION_SCOPES``, with commas between them).
        tail_sampling: Which whole traces are kept; default all.

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
        langfuse_projects=langfuse_projects,
        memory_limit=memory_limit,
        spool_limit=spool_limit,
        shutdown_timeout=shutdown_timeout,
        handle_sigterm=handle_sigterm,
        tracer_provider=tracer_provider,
        instrumentation_scopes=instrumentation_scopes,
        tail_sampling=tail_sampling,
    )
    settings = resolve(options)
    for warning in settings.warnings:
        logger.warning("looopy-otel: %s", warning)
    return _activate(settings)


def _activate(settings: Settings) -> Telemetry:
    with _current.lock:
        endpoint = None if settings.disabled else opened_endpoint(settings.metrics)
        before = _current.telemetry
        try:
            telemetry = _current.telemetry = Telemetry(settings, endpoint)
        except BaseException:
            if endpoint is not None:
                endpoint.close()
            raise
        if before is None:
            atexit.register(_at_exit)
        else:
            _sigterm.remove()
        _at_exit_of_worker()
        if settings.handle_sigterm and not settings.disabled:
            _handle_sigterm(settings.limits.shutdown_timeout)
        if before is not None:
            # Draining may take seconds, in which calls are traced by the new one.
            before.shutdown()
        return telemetry


_SHARE_OF_EXIT = 0.95
"""How much of the time that the end of the process may take is ours; the interpreter has an end of its own."""


def _handle_sigterm(timeout: float) -> None:
    problem = _sigterm.install(timeout)
    if problem is not None:
        logger.warning(
            "looopy-otel: handle_sigterm=True has no effect: %s. Call shutdown() of what configure() returned "
            "where SIGTERM is handled.",
            problem,
        )


def _shut_down() -> None:
    telemetry = _current.telemetry
    if telemetry is not None:
        telemetry.shutdown(telemetry.settings.limits.shutdown_timeout * _SHARE_OF_EXIT)


_sigterm = SigtermHandler(_shut_down)


def _at_exit() -> None:
    _shut_down()
    _sigterm.end_if_arrived()


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
        self._pipeline: Pipeline | None = None
        if not settings.disabled:
            self._pipeline = Pipeline(settings, self._prices, endpoint, self.stats)
        # Also where nothing is traced: budgets ask what a call costs.
        use_prices(self._prices)
        flushing.install(self)
        self._closed = False
        self._reset()
        reset_after_fork(self._reset)
        reset_after_fork(self._in_child)

    def _in_child(self) -> None:
        # Another thread may have been in the middle of importing it.
        register = getattr(sys.modules.get("multiprocessing.util"), "register_after_fork", None)
        if register is not None:
            # What is registered now is forgotten when the worker begins, right before it calls this.
            register(self, Telemetry._begin_worker)

    def _begin_worker(self) -> None:
        _at_exit_of_worker()

    def _reset(self) -> None:
        # The handler of a signal may flush while its own thread sums up.
        self._reporting = threading.RLock()
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
        return NoOpTracer() if self._pipeline is None else self._pipeline.tracer(name)

    def flush(self, timeout: float = 5.0) -> FlushResult:
        """Sends what is waiting; never raises, never takes longer than `timeout`.

        A client's stream whose loop was left counts as abandoned from here on.

        Args:
            timeout: Seconds, over all destinations together; a week at most, and 0 for less than that.

        Returns:
            What was exported and dropped since the last flush, and what is still spooled or pending.
        """
        if self._pipeline is not None and not self._closed:
            with guard("telemetry.flush"):
                self._pipeline.flush(seconds_of(timeout, default=self._settings.limits.shutdown_timeout))
        return self._flushed()

    def stats(self) -> Stats:
        """Returns the health of the pipeline since `configure()`."""
        pipeline = self._pipeline
        destinations: tuple[DestinationStats, ...] = () if pipeline is None else pipeline.destination_stats()
        dropped: Counter[str] = Counter() if pipeline is None else Counter(pipeline.dropped())
        shed: Counter[str] = Counter() if pipeline is None else Counter(pipeline.content_shed())
        for destination in destinations:
            dropped.update(destination.dropped)
            shed.update(destination.content_shed)
        return Stats(
            queued=0 if pipeline is None else pipeline.queued(),
            exported=sum(destination.exported for destination in destinations),
            spooled=sum(destination.spooled for destination in destinations),
            dropped=dict(dropped),
            content_shed=dict(shed),
            memory=0 if pipeline is None else pipeline.memory.used,
            internal_errors=dict(guard.faults),
            unpriced_calls={} if pipeline is None else dict(pipeline.worker.unpriced_calls),
            sampled_out=0 if pipeline is None else pipeline.worker.sampled_out,
            undecided=0 if pipeline is None else pipeline.worker.undecided,
            destinations=destinations,
        )

    def shutdown(self, timeout: float | None = None) -> FlushResult:
        """Stops tracing, sends what is waiting and stops every thread; runs at exit by itself. Later calls do nothing.

        Args:
            timeout: Seconds, over everything; by default what `configure()` was told, else 5.

        Returns:
            As `flush`.
        """
        with _current.lock:
            drop_prices(self._prices)
            flushing.remove(self)
            if not self._closed and self._pipeline is not None:
                self._closed = True
                with guard("telemetry.shutdown"):
                    self._pipeline.shutdown(seconds_of(timeout, default=self._settings.limits.shutdown_timeout))
            if _current.telemetry is self:
                _sigterm.remove()
            return self._flushed()

    def _flushed(self) -> FlushResult:
        with self._reporting:
            stats = self.stats()
            totals = Counter(
                exported=stats.exported, dropped=sum(stats.dropped.values()), shed=sum(stats.content_shed.values())
            )
            since, self._reported = totals - self._reported, totals
        return FlushResult(
            exported=since["exported"],
            spooled=stats.spooled,
            dropped=since["dropped"],
            pending=stats.queued + sum(destination.queued for destination in stats.destinations),
            content_shed=since["shed"],
        )

    def __enter__(self) -> Telemetry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

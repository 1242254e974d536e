"""The settings themselves: frozen dataclasses, built by `looopy_otel.core.config`, read by everyone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from looopy_otel.core.model_price import ModelPrice

Capture = Literal["full", "redacted", "metadata"]
History = Literal["full", "delta"]
Dialect = Literal["langfuse", "genai", "seed"]
Temporality = Literal["cumulative", "delta", "lowmemory"]
ExemplarFilter = Literal["trace_based", "always_on", "always_off"]

DEFAULT_MEMORY_LIMIT = 64 * 1024 * 1024
DEFAULT_SPOOL_LIMIT = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """What the export path may take.

    Attributes:
        memory: Bytes in this process's memory, of all that waits anywhere on its way out, together.
        spool: Bytes on disk per destination, of all processes together.
        shutdown_timeout: Seconds that the end of the process may take.
        delay: Seconds between the worker's rounds; what has waited longer survives the end of the process in any way.
    """

    memory: int = DEFAULT_MEMORY_LIMIT
    spool: int = DEFAULT_SPOOL_LIMIT
    shutdown_timeout: float = 5.0
    delay: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TailSampling:
    """Which traces are kept, decided when their root in this process has ended. Metrics count every call anyway.

    A trace is kept where any of these holds of it, else with the probability `ratio`.

    Attributes:
        errors: A span of it failed.
        slower_than: Its root took more seconds than this; None for no such rule.
        costlier_than: Its LLM calls cost more USD than this, together; None for no such rule.
        ratio: The share of the others that is kept, 0 to 1; the same traces in every process.
        memory: Bytes of spans that may wait for their decision; beyond it the oldest traces are kept undecided.
        patience: Seconds after its last span at which a trace is decided whose root is lost; one that is open is waited
            for.
    """

    errors: bool = True
    slower_than: float | None = None
    costlier_than: float | None = None
    ratio: float = 0.0
    memory: int = 16 * 1024 * 1024
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """What stands on every span because the process is what it is.

    Attributes:
        environment: ``production``, ``staging``, …
        release: The release that Langfuse shows.
        version: The service's version.
    """

    environment: str | None = None
    release: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class HTTPDestination:
    """An OTLP/HTTP endpoint.

    Attributes:
        name: ``langfuse`` or ``otlp``.
        endpoint: The whole URL of the traces route.
        headers: Sent with every request; secrets, so left out of the repr.
        dialects: What the spans carry.
        timeout: Seconds for one request.
        certificate: Path of a CA bundle, or None for the system's.
        gzip: True to compress bodies.
        project: The name under which `session(project=)` chooses it; None for one that takes what names no project.
        further_projects: What else of these it takes, where several lead to the same place.
    """

    name: Literal["langfuse", "otlp"]
    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    dialects: tuple[Dialect, ...] = ("genai",)
    timeout: float = 10.0
    certificate: str | None = None
    gzip: bool = True
    project: str | None = None
    further_projects: tuple[str | None, ...] = ()

    @property
    def projects(self) -> frozenset[str | None]:
        """The projects that it takes, by name; None among them stands for what names none."""
        return frozenset((self.project, *self.further_projects))

    @property
    def label(self) -> str:
        """What it is called in stats and messages: ``otlp``, ``langfuse``, ``langfuse:tenant-a``."""
        return self.name if None in self.projects else f"{self.name}:{self.project}"

    def __repr__(self) -> str:
        # A query may hold a token.
        endpoint = self.endpoint.partition("?")[0]
        return f"{type(self).__name__}(name={self.label!r}, endpoint={endpoint!r}, dialects={self.dialects!r})"


@dataclass(frozen=True, slots=True)
class LocalDestination:
    """The SQLite store on this machine."""

    path: Path
    name: Literal["local"] = "local"


@dataclass(frozen=True, slots=True)
class ConsoleDestination:
    """Standard error, for people."""

    dialects: tuple[Dialect, ...] = ("seed",)
    name: Literal["console"] = "console"


@dataclass(frozen=True, slots=True)
class CustomDestination:
    """A `SpanExporter` that the user handed in."""

    exporter: Any
    dialects: tuple[Dialect, ...] = ("genai", "langfuse", "seed")
    name: str = "custom"


Destination: TypeAlias = HTTPDestination | LocalDestination | ConsoleDestination | CustomDestination


@dataclass(frozen=True, slots=True)
class OTLPMetrics:
    """An OTLP/HTTP endpoint that metrics are pushed to.

    Attributes:
        endpoint: Where, with headers; its dialects mean nothing here.
        interval: Seconds between pushes.
        temporality: What counters and histograms say: all since the start, or what is new since the last push.
    """

    endpoint: HTTPDestination
    interval: float = 60.0
    temporality: Temporality = "cumulative"


@dataclass(frozen=True, slots=True)
class PrometheusMetrics:
    """An HTTP endpoint of this process that Prometheus pulls metrics from.

    Attributes:
        host: The name or address that it listens at.
        port: The TCP port.
    """

    host: str = "localhost"
    port: int = 9464


@dataclass(frozen=True, slots=True)
class CustomMetrics:
    """A `MetricReader` that the user handed in."""

    reader: Any


MetricsDestination: TypeAlias = OTLPMetrics | PrometheusMetrics | CustomMetrics


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that `configure()` builds from. Frozen; secrets are left out of the repr.

    Attributes:
        service_name: ``service.name``.
        deployment: Environment, release and version.
        resource_attributes: Further resource attributes.
        destinations: Where spans go, without doubles.
        capture: What is recorded of content.
        history: Whether each call records the whole conversation or what is new in it.
        spool_directory: Where outboxes live.
        sampler: One of `SAMPLERS`.
        sampler_argument: The ratio, 0 to 1, for the ratio samplers.
        disabled: True when ``OTEL_SDK_DISABLED`` turns everything off.
        limits: What the export path may take.
        tail_sampling: Which whole traces are kept; None for all.
        instrumentation_scopes: Patterns of the scopes whose spans go out; those that begin with ``!`` leave out.
        tracer_provider: The provider that spans are made with, ``"global"``, or None for a private one.
        provider_dialects: What the spans carry that a provider handed in exports by itself; None for what its exporters
            understand.
        handle_sigterm: True to deliver when the process is told to end by SIGTERM.
        content_budget: Bytes of content kept of one value at most.
        metrics: Where metrics go; nothing is measured when it is empty.
        metric_label_values: How many values one label of a metric takes before it says ``other``.
        exemplar_filter: Which measurements may become exemplars.
        prices: What models cost, as the user says.
        warnings: What is doubtful in what was said, one line each, without secrets.
    """

    service_name: str
    deployment: Deployment
    resource_attributes: Mapping[str, str]
    destinations: tuple[Destination, ...]
    capture: Capture = "redacted"
    history: History = "full"
    spool_directory: Path = Path()
    sampler: str = "parentbased_always_on"
    sampler_argument: float = 1.0
    disabled: bool = False
    limits: ExportLimits = field(default_factory=ExportLimits)
    tail_sampling: TailSampling | None = None
    instrumentation_scopes: tuple[str, ...] = ()
    tracer_provider: Any = None
    provider_dialects: tuple[Dialect, ...] | None = None
    handle_sigterm: bool = False
    content_budget: int = 16 * 1024 * 1024
    metrics: tuple[MetricsDestination, ...] = ()
    metric_label_values: int = 100
    exemplar_filter: ExemplarFilter = "trace_based"
    prices: tuple[ModelPrice, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user said to `configure()`; None means not said.

    Attributes:
        service_name: ``service.name``; environment ``OTEL_SERVICE_NAME``.
        service_version: ``service.version`` and Langfuse's version.
        environment: Deployment environment; environment ``LANGFUSE_TRACING_ENVIRONMENT``.
        release: Langfuse's release; environment ``LANGFUSE_RELEASE``.
        exporters: ``"auto"``, names, `SpanExporter`s, or a list of these; environment ``LOOOPY_OTEL_EXPORTERS``.
        capture: Environment ``LOOOPY_OTEL_CAPTURE``.
        history: Environment ``LOOOPY_OTEL_HISTORY``.
        dialects: Dialect (or several) by destination name.
        otlp_endpoint: Base URL as in ``OTEL_EXPORTER_OTLP_ENDPOINT``.
        otlp_headers: Headers as in ``OTEL_EXPORTER_OTLP_HEADERS``, as a mapping.
        langfuse_public_key: Environment ``LANGFUSE_PUBLIC_KEY``.
        langfuse_secret_key: Environment ``LANGFUSE_SECRET_KEY``.
        langfuse_base_url: Environment ``LANGFUSE_BASE_URL`` or ``LANGFUSE_HOST``.
        database: Path of the local store; environment ``LOOOPY_OTEL_DB``.
        spool_directory: Directory of the outboxes; environment ``LOOOPY_OTEL_SPOOL_DIR``.
        metrics: ``"auto"``, names, `MetricReader`s, or a list of these; environment ``LOOOPY_OTEL_METRICS``.
        prices: USD per million tokens by model and part, or the path of a file; environment ``LOOOPY_OTEL_PRICES``.
        langfuse_projects: Keys of further Langfuse projects, by the name that `session(project=)` says; environment
            ``LOOOPY_OTEL_LANGFUSE_PROJECTS``, the path of a file.
        memory_limit: Bytes; environment ``LOOOPY_OTEL_MEMORY_LIMIT``.
        spool_limit: Bytes per destination; environment ``LOOOPY_OTEL_SPOOL_LIMIT``.
        shutdown_timeout: Seconds; environment ``LOOOPY_OTEL_SHUTDOWN_TIMEOUT``.
        handle_sigterm: Whether to deliver at SIGTERM.
        tracer_provider: A TracerProvider, or ``"global"``.
        instrumentation_scopes: Patterns; environment ``LOOOPY_OTEL_INSTRUMENTATION_SCOPES``, with commas between them.
        tail_sampling: Which whole traces are kept.
    """

    service_name: str | None = None
    service_version: str | None = None
    environment: str | None = None
    release: str | None = None
    exporters: Any = None
    capture: str | None = None
    history: str | None = None
    dialects: Mapping[str, str | Sequence[str]] | None = None
    otlp_endpoint: str | None = None
    otlp_headers: Mapping[str, str] | None = field(default=None, repr=False)
    langfuse_public_key: str | None = None
    langfuse_secret_key: str | None = field(default=None, repr=False)
    langfuse_base_url: str | None = None
    database: str | os.PathLike[str] | None = None
    spool_directory: str | os.PathLike[str] | None = None
    metrics: Any = None
    prices: Any = None
    langfuse_projects: Mapping[str, Mapping[str, str]] | None = field(default=None, repr=False)
    memory_limit: int | None = None
    spool_limit: int | None = None
    shutdown_timeout: float | None = None
    handle_sigterm: bool = False
    tracer_provider: Any = None
    instrumentation_scopes: Any = None
    tail_sampling: Any = None

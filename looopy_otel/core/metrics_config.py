"""Builds the settings of metrics: where they go, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast, get_args

from looopy_otel.core.endpoint import is_langfuse, with_metrics_path
from looopy_otel.core.environment import EnvironmentReader
from looopy_otel.core.otlp_config import OTLPVariables
from looopy_otel.core.settings import (
    CustomMetrics,
    MetricsDestination,
    Options,
    OTLPMetrics,
    PrometheusMetrics,
    Temporality,
)

DEFAULT_METRICS_ENDPOINT = "http://localhost:4318/v1/metrics"
NAMES = ("auto", "otlp", "prometheus", "none")


class MetricsResolution:
    """Options and environment on metrics.

    Args:
        options: What the user said.
        reader: Reads the environment, and takes the problems.
    """

    def __init__(self, options: Options, reader: EnvironmentReader) -> None:
        self._options = options
        self._reader = reader

    def destinations(self) -> tuple[MetricsDestination, ...]:
        """Where metrics go, without doubles."""
        made = [one for one in map(self._destination, self._wanted()) if one is not None]
        found: dict[object, MetricsDestination] = {}
        for destination in made:
            key = id(destination.reader) if isinstance(destination, CustomMetrics) else type(destination)
            found.setdefault(key, destination)
        return tuple(found.values())

    def _wanted(self) -> list[object]:
        said = self._options.metrics
        if said is None:
            said = self._reader.text("LOOOPY_OTEL_METRICS") or self._standard() or "auto"
        if isinstance(said, str):
            said = [name.strip().lower() for name in said.split(",") if name.strip()]
        elif not isinstance(said, Iterable):
            said = [said]
        wanted: list[object] = []
        for one in cast("Iterable[object]", said):
            wanted.extend(self._automatic() if one == "auto" else [] if one == "none" else [one])
        return wanted

    def _standard(self) -> str:
        """The names in ``OTEL_METRICS_EXPORTER`` that are known here; others are meant for other SDKs here."""
        names = (self._reader.text("OTEL_METRICS_EXPORTER") or "").lower().split(",")
        known = [name.strip() for name in names if name.strip() in NAMES]
        # The variable's own default is "otlp", whether or not there is an endpoint: auto asks whether there is one.
        return ",".join("auto" if name == "otlp" else name for name in known)

    def _automatic(self) -> Iterator[str]:
        endpoint = self._endpoint()
        if endpoint is not None and not is_langfuse(endpoint) and not self._is_for_others():
            yield "otlp"

    def _is_for_others(self) -> bool:
        """True where a provider was handed in whose exporters speak another protocol than ours, by the variables.

        OpenTelemetry's distribution sets them to gRPC by itself.
        """
        if self._options.tracer_provider is None or self._options.otlp_endpoint:
            return False
        names = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        return next(filter(None, map(self._reader.text, names)), "http/protobuf") != "http/protobuf"

    def _destination(self, wanted: object) -> MetricsDestination | None:
        match wanted:
            case "otlp":
                return self._otlp()
            case "prometheus":
                return PrometheusMetrics(
                    self._reader.text("OTEL_EXPORTER_PROMETHEUS_HOST") or "localhost",
                    self._reader.whole_number("OTEL_EXPORTER_PROMETHEUS_PORT", 9464, 1, 65535),
                )
            case _ if callable(getattr(wanted, "collect", None)) and callable(getattr(wanted, "shutdown", None)):
                return CustomMetrics(wanted)
            case _:
                self._reader.problems.append(
                    f"metrics: {wanted!r} is unknown; use 'auto', 'otlp', 'prometheus', 'none' "
                    "or an OpenTelemetry MetricReader"
                )
                return None

    def _endpoint(self) -> str | None:
        """The URL of the metrics route; one of Langfuse, which takes no metrics, only where there is no other."""
        base, own = self._options.otlp_endpoint, self._reader.text("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
        if base and not is_langfuse(base):
            return with_metrics_path(base)
        if own:
            return own
        base = base or self._reader.text("OTEL_EXPORTER_OTLP_ENDPOINT")
        return with_metrics_path(base) if base else None

    def _otlp(self) -> OTLPMetrics | None:
        endpoint = self._endpoint() or DEFAULT_METRICS_ENDPOINT
        if is_langfuse(endpoint):
            self._reader.problems.append(
                "metrics='otlp': the OTLP endpoint is a Langfuse, which takes no metrics; "
                "set OTEL_EXPORTER_OTLP_METRICS_ENDPOINT to a collector's /v1/metrics"
            )
            return None
        # Headers that were said for a Langfuse are its keys, and nobody else's.
        foreign = is_langfuse(self._options.otlp_endpoint or "")
        headers = None if foreign else self._options.otlp_headers
        destination = OTLPVariables(self._reader, "METRICS", headers).destination(
            endpoint,
            "OTLP metrics endpoint",
            ("genai",),
            "for gRPC hand in metrics=PeriodicExportingMetricReader(OTLPMetricExporter(…)) "
            "from opentelemetry's grpc exporter (looopy-otel[grpc])",
            said=bool(self._options.otlp_endpoint),
        )
        variable = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
        temporality = self._reader.choice(variable, get_args(Temporality), "cumulative")
        interval = self._reader.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000.0, 10.0, 86_400_000.0) / 1000
        if destination is None:
            return None
        return OTLPMetrics(destination, interval, cast("Temporality", temporality))

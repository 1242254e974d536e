"""How Prometheus spells the names of core/semconv.py."""

from __future__ import annotations

from typing import Final

from looopy_otel.core import semconv

HISTOGRAM: Final = ("_bucket", "_sum", "_count")
COUNTER: Final = ("_total",)
GAUGE: Final = ("",)

# Instrument and unit of each metric, where the unit is no annotation in braces.
METRICS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    semconv.METRIC_OPERATION_DURATION: (HISTOGRAM, "seconds"),
    semconv.METRIC_TIME_TO_FIRST_CHUNK: (HISTOGRAM, "seconds"),
    semconv.METRIC_TIME_PER_OUTPUT_CHUNK: (HISTOGRAM, "seconds"),
    semconv.METRIC_TOKEN_USAGE: (HISTOGRAM, ""),
    semconv.METRIC_CACHE_READ_TOKENS: (COUNTER, ""),
    semconv.METRIC_CACHE_WRITE_TOKENS: (COUNTER, ""),
    semconv.METRIC_REASONING_TOKENS: (COUNTER, ""),
    semconv.METRIC_AGENT_DURATION: (HISTOGRAM, "seconds"),
    semconv.METRIC_AGENT_INFERENCE_CALLS: (HISTOGRAM, ""),
    semconv.METRIC_AGENT_TOOL_CALLS: (HISTOGRAM, ""),
    semconv.METRIC_AGENT_ITERATIONS: (HISTOGRAM, ""),
    semconv.METRIC_TOOL_DURATION: (HISTOGRAM, "seconds"),
    semconv.METRIC_COST: (COUNTER, ""),
    semconv.METRIC_UNPRICED_CALLS: (COUNTER, ""),
    semconv.METRIC_ACTIVE_RUNS: (GAUGE, ""),
    semconv.METRIC_SPANS_QUEUED: (GAUGE, ""),
    semconv.METRIC_SPANS_EXPORTED: (COUNTER, ""),
    semconv.METRIC_SPANS_SPOOLED: (GAUGE, ""),
    semconv.METRIC_SPANS_DROPPED: (COUNTER, ""),
}

LABELS: Final = (
    semconv.GEN_AI_OPERATION_NAME,
    semconv.GEN_AI_PROVIDER_NAME,
    semconv.GEN_AI_REQUEST_MODEL,
    semconv.GEN_AI_RESPONSE_MODEL,
    semconv.GEN_AI_AGENT_NAME,
    semconv.GEN_AI_TOOL_NAME,
    semconv.GEN_AI_TOKEN_TYPE,
    semconv.DEPLOYMENT_ENVIRONMENT,
    semconv.ERROR_TYPE,
    semconv.AGENT_OUTCOME,
    semconv.LABEL_DESTINATION,
    semconv.LABEL_REASON,
)

PROMETHEUS_LABELS: Final = ("job", "instance", "le")
"""Labels that Prometheus itself adds."""

OF_THE_COLLECTOR: Final = (
    "otelcol_exporter_queue_size",
    "otelcol_exporter_queue_capacity",
    "otelcol_exporter_send_failed_spans",
)
"""The collector's own metrics."""

COLLECTOR_LABELS: Final = ("exporter",)


def spelled(name: str) -> str:
    """A name without dots."""
    return name.replace(".", "_")


def metric_names() -> set[str]:
    """Every name of a series of the library that a dashboard can ask for."""
    return {
        "_".join(filter(None, [spelled(name), unit])) + suffix
        for name, (suffixes, unit) in METRICS.items()
        for suffix in suffixes
    }


def label_names() -> set[str]:
    """Every label that a dashboard can ask for."""
    return {spelled(name) for name in LABELS} | {*PROMETHEUS_LABELS, *COLLECTOR_LABELS}

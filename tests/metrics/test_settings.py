"""Where metrics go, by argument and environment."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import looopy_otel as lo
from looopy_otel.core.config import resolve
from looopy_otel.core.settings import CustomMetrics, MetricsDestination, Options, OTLPMetrics, PrometheusMetrics

COLLECTOR = "http://collector:4318"
LANGFUSE = "https://cloud.langfuse.com/api/public/otel"


def destinations(options: Options | None = None, /, **environ: str) -> tuple[MetricsDestination, ...]:
    return resolve(options, environ).metrics


def endpoint(options: Options | None = None, /, **environ: str) -> str:
    (only,) = destinations(options, **environ)
    assert isinstance(only, OTLPMetrics)
    return only.endpoint.endpoint


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, f"{COLLECTOR}/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"{COLLECTOR}/base/"}, f"{COLLECTOR}/base/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/own"}, "http://m:1/own"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": LANGFUSE, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:1/own"},
            "http://m:1/own",
        ),
        ({"LOOOPY_OTEL_METRICS": "otlp"}, "http://localhost:4318/v1/metrics"),
    ],
)
def test_where_otlp_metrics_go(environ: Mapping[str, str], expected: str) -> None:
    assert endpoint(**environ) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [(COLLECTOR, f"{COLLECTOR}/v1/metrics"), (f"{COLLECTOR}/v1/traces", f"{COLLECTOR}/v1/metrics")],
)
def test_the_endpoint_that_was_said_wins(said: str, expected: str) -> None:
    assert endpoint(Options(otlp_endpoint=said), OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://m:1/own") == expected


def test_the_headers_that_were_said_for_a_langfuse_go_nowhere_else() -> None:
    options = Options(otlp_endpoint=LANGFUSE, otlp_headers={"authorization": "Basic a2V5OnNlY3JldA=="})
    (only,) = destinations(options, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://m:1/own")
    assert isinstance(only, OTLPMetrics)
    assert only.endpoint.headers == {}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": LANGFUSE},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{LANGFUSE}/v1/metrics"},
        {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_METRICS_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "LOOOPY_OTEL_METRICS": "none"},
        {"OTEL_METRICS_EXPORTER": "otlp"},
        {"OTEL_METRICS_EXPORTER": "console"},
    ],
)
def test_where_there_are_none(environ: Mapping[str, str]) -> None:
    assert destinations(**environ) == ()


def test_prometheus_is_where_the_standard_variables_say() -> None:
    assert destinations(Options(metrics="prometheus")) == (PrometheusMetrics("localhost", 9464),)
    environ = {"OTEL_EXPORTER_PROMETHEUS_HOST": "0.0.0.0", "OTEL_EXPORTER_PROMETHEUS_PORT": "9999"}
    assert destinations(OTEL_METRICS_EXPORTER="prometheus", **environ) == (PrometheusMetrics("0.0.0.0", 9999),)


def test_several_at_once_and_none_twice() -> None:
    reader = InMemoryMetricReader()
    found = destinations(Options(metrics=["prometheus", "otlp", reader, "otlp", reader, "none"]))
    assert [type(one) for one in found] == [PrometheusMetrics, OTLPMetrics, CustomMetrics]
    assert destinations(Options(metrics=reader)) == (CustomMetrics(reader),)


def test_the_interval_is_in_milliseconds() -> None:
    (only,) = destinations(Options(metrics="otlp"), OTEL_METRIC_EXPORT_INTERVAL="1500")
    assert isinstance(only, OTLPMetrics)
    assert only.interval == 1.5


@pytest.mark.parametrize(
    ("metrics", "environ", "words"),
    [
        ("statsd", {}, "'statsd' is unknown; use 'auto', 'otlp'"),
        (7, {}, "7 is unknown"),
        ("otlp", {"OTEL_METRIC_EXPORT_INTERVAL": "soon"}, "OTEL_METRIC_EXPORT_INTERVAL='soon'"),
        ("otlp", {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "x"}, "cumulative, delta, lowmemory"),
        (
            "otlp",
            {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"},
            "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL='grpc'",
        ),
        ("otlp", {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "collector"}, "must be an http:// or https:// URL"),
        ("otlp", {"OTEL_EXPORTER_OTLP_ENDPOINT": LANGFUSE}, "Langfuse, which takes no metrics"),
        ("prometheus", {"OTEL_EXPORTER_PROMETHEUS_PORT": "0"}, "OTEL_EXPORTER_PROMETHEUS_PORT='0'"),
        ("prometheus", {"OTEL_EXPORTER_PROMETHEUS_PORT": "94.5"}, "must be a whole number"),
        ("none", {"LOOOPY_OTEL_METRIC_LABEL_VALUES": "0"}, "LOOOPY_OTEL_METRIC_LABEL_VALUES='0'"),
        ("none", {"OTEL_METRICS_EXEMPLAR_FILTER": "maybe"}, "OTEL_METRICS_EXEMPLAR_FILTER='maybe'"),
    ],
)
def test_wrong_settings_are_named(metrics: object, environ: Mapping[str, str], words: str) -> None:
    with pytest.raises(lo.ConfigurationError) as caught:
        resolve(Options(metrics=metrics), environ)
    assert words in str(caught.value)

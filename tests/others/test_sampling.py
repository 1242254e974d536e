"""Head sampling by the standard variables: on our own provider only, and metrics see every call."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import looopy_otel as lo
from looopy_otel.core.errors import ConfigurationError
from tests.others.application import call, calls_in

CALLS = 100


@pytest.mark.parametrize(
    ("sampler", "argument", "least", "most"),
    [
        ("always_on", None, CALLS, CALLS),
        ("always_off", None, 0, 0),
        ("traceidratio", "0.5", 20, 80),
        ("parentbased_always_on", None, CALLS, CALLS),
        ("parentbased_always_off", None, 0, 0),
        ("parentbased_traceidratio", "0.5", 20, 80),
    ],
)
def test_spans_are_sampled_and_every_call_is_measured(
    sampler: str, argument: str | None, least: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    if argument is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    with lo.configure(exporters=exporter, metrics=reader) as telemetry:
        for _ in range(CALLS):
            call()
        telemetry.flush()
        measured = calls_in(reader)
    assert least <= len(exporter.get_finished_spans()) <= most
    assert measured == CALLS


@pytest.mark.parametrize(("sampler", "argument"), [("jaeger_remote", "endpoint=x"), ("traceidratio", "half")])
def test_what_we_cannot_do_is_named_but_is_the_providers_own_affair(
    sampler: str, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with pytest.raises(ConfigurationError, match="OTEL_TRACES_SAMPLER"):
        lo.configure(exporters="none")
    monkeypatch.delenv("OTEL_TRACES_SAMPLER")
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    lo.configure(tracer_provider=provider).shutdown()


def test_grpc_in_the_environment_is_the_providers_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
    with lo.configure(tracer_provider="global") as telemetry:
        assert (telemetry.settings.destinations, telemetry.settings.metrics) == ((), ())


@pytest.mark.parametrize("handed_in", [False, True])
def test_disabled_means_nothing_at_all(handed_in: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with lo.configure(exporters=exporter, tracer_provider=provider if handed_in else None) as telemetry:
        call()
        with telemetry.tracer("mine").start_as_current_span("mine"):
            pass
    assert exporter.get_finished_spans() == ()


def test_calls_are_measured_on_a_provider_that_samples_nothing() -> None:
    reader = InMemoryMetricReader()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with lo.configure(tracer_provider=provider, metrics=reader) as telemetry:
        call()
        telemetry.flush()
        assert calls_in(reader) == 1

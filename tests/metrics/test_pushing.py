"""Metrics by OTLP: when they are pushed, and what happens where nobody takes them."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricReader

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.core import semconv
from looopy_otel.providers import Reply, ScriptedProvider
from tests.metrics.points import CUMULATIVE, DELTA, metrics, point, points_of
from tests.metrics.workload import COST, agent, ask, reply
from tests.support.otlp_sink import LANGFUSE_PATH, Answer, OTLPSink

PATIENCE = 20.0
UNREACHABLE = "http://127.0.0.1:9"


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("looopy-otel-m")}


def cost_in(sink: OTLPSink) -> list[float]:
    """The cost that each accepted request tells, in order."""
    return [
        sum(one.value for one in points_of(metrics(request)[semconv.METRIC_COST]))
        for request in sink.metric_requests
        if request.accepted and semconv.METRIC_COST in metrics(request)
    ]


def test_configure_starts_no_thread_and_the_first_measurement_does(sink: OTLPSink) -> None:
    before = threading.active_count()
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        assert threading.active_count() == before
        telemetry.flush()
        assert sink.metric_requests == []
        ask()
        telemetry.flush()
        assert threads() == {"looopy-otel-metrics"}
    assert threads() == set()


def test_metrics_are_pushed_by_themselves_at_the_standard_interval(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "30")
    monkeypatch.setenv("LOOOPY_OTEL_EXPORT_DELAY", "0.01")
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url):
        ask()
        sink.wait_for_metrics(3)
    assert all(request.headers["content-encoding"] == "gzip" for request in sink.metric_requests)


def test_counts_are_cumulative_by_default(sink: OTLPSink) -> None:
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        for _ in range(2):
            ask()
            telemetry.flush()
    metric = metrics(sink.metric_requests[-1])[semconv.METRIC_COST]
    assert metric.sum.aggregation_temporality == CUMULATIVE
    assert cost_in(sink)[:2] == [float(COST), float(2 * COST)]


@pytest.mark.parametrize("preference", ["delta", "DELTA", "lowmemory"])
def test_the_temporality_preference_is_honoured(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch, preference: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
    with lo.configure(exporters="otlp", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        for _ in range(2):
            ask()
            telemetry.flush()
    arrived = metrics(sink.metric_requests[0])
    assert arrived[semconv.METRIC_COST].sum.aggregation_temporality == DELTA
    assert arrived[semconv.METRIC_TOKEN_USAGE].histogram.aggregation_temporality == DELTA
    observed = CUMULATIVE if preference == "lowmemory" else DELTA
    assert arrived[semconv.METRIC_SPANS_EXPORTED].sum.aggregation_temporality == observed
    assert arrived[semconv.METRIC_SPANS_QUEUED].sum.aggregation_temporality == CUMULATIVE
    assert cost_in(sink) == [float(COST), float(COST)]


def test_what_an_endpoint_did_not_take_is_told_by_the_next_push(
    sink: OTLPSink, caplog: pytest.LogCaptureFixture
) -> None:
    sink.answer_metrics(Answer(503))
    with (
        caplog.at_level(logging.WARNING, "looopy_otel"),
        lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry,
    ):
        ask()
        telemetry.flush()
        assert cost_in(sink) == []
        ask()
        telemetry.flush()
        assert cost_in(sink) == [float(2 * COST)]
    assert "/v1/metrics answered 503; the next push says all again" in caplog.text


def test_deltas_that_an_endpoint_did_not_take_are_kept_and_sent_first(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta")
    sink.answer_metrics(Answer(503), Answer(drop=True))
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        for _ in range(3):
            ask()
            telemetry.flush()
    assert sum(cost_in(sink)) == float(3 * COST)


def test_what_is_rejected_is_not_sent_again(sink: OTLPSink, caplog: pytest.LogCaptureFixture) -> None:
    sink.answer_metrics(Answer(404), then=Answer(200))
    with (
        caplog.at_level(logging.WARNING, "looopy_otel"),
        lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry,
    ):
        ask()
        telemetry.flush()
        assert len(sink.metric_requests) == 1
    assert "usually ends in /v1/metrics" in caplog.text


def test_a_dead_endpoint_does_not_hold_up_the_exit() -> None:
    telemetry = lo.configure(exporters="none", metrics="otlp", otlp_endpoint=UNREACHABLE)
    ask()
    begun = time.monotonic()
    telemetry.shutdown(timeout=PATIENCE)
    assert time.monotonic() - begun < PATIENCE / 2


def test_an_endpoint_that_never_answers_is_waited_for_until_the_one_deadline(sink: OTLPSink) -> None:
    answer = threading.Event()
    sink.answer_metrics(then=Answer(hold=answer))
    telemetry = lo.configure(exporters="otlp", metrics="otlp", otlp_endpoint=sink.url)
    ask()
    begun = time.monotonic()
    telemetry.flush(timeout=0.5)
    telemetry.shutdown(timeout=1.0)
    assert time.monotonic() - begun < PATIENCE / 2
    assert len(sink.spans) == 1
    answer.set()


def test_credentials_and_headers_go_along(sink: OTLPSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", sink.metrics_url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-all=1,x-both=all")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "authorization=Bearer%20abc,x-both=metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none")
    with lo.configure(exporters="none"):
        ask()
    headers = sink.metric_requests[0].headers
    assert {name: headers[name] for name in ("authorization", "x-all", "x-both")} == {
        "authorization": "Bearer abc",
        "x-all": "1",
        "x-both": "metrics",
    }
    assert "content-encoding" not in headers


def test_nothing_is_pushed_to_a_langfuse(sink: OTLPSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url + LANGFUSE_PATH)
    with lo.configure():
        ask()
    assert len(sink.spans) == 1
    assert sink.metric_requests == []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", sink.metrics_url)
    with lo.configure():
        ask()
    assert {request.path for request in sink.metric_requests} == {"/v1/metrics"}


def test_a_second_configuration_counts_from_zero(sink: OTLPSink) -> None:
    for _ in range(2):
        with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url):
            ask()
    assert set(cost_in(sink)) == {float(COST)}


def test_a_reader_of_the_users_own() -> None:
    reader = InMemoryMetricReader()
    with lo.configure(exporters="none", metrics=reader) as telemetry:
        ask()
        telemetry.flush()
        assert _value(reader, semconv.METRIC_COST) == float(COST)
    with pytest.raises(lo.ConfigurationError, match="InMemoryMetricReader belongs to another"):
        lo.configure(exporters="none", metrics=[reader])


@pytest.mark.usefixtures("swallowed_faults")
def test_a_reader_that_raises_or_hangs_hurts_nobody(sink: OTLPSink) -> None:
    release = threading.Event()

    class Bad(InMemoryMetricReader):
        def force_flush(self, timeout_millis: float = 10_000) -> bool:
            raise RuntimeError("bad")

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
            release.wait(PATIENCE)

    telemetry = lo.configure(exporters="none", metrics=[Bad(), "otlp"], otlp_endpoint=sink.url)
    ask()
    telemetry.flush()
    assert cost_in(sink) == [float(COST)]
    begun = time.monotonic()
    telemetry.shutdown(timeout=0.5)
    assert time.monotonic() - begun < PATIENCE / 2
    release.set()


async def test_runs_under_way_are_counted() -> None:
    reader = InMemoryMetricReader()
    seen: list[float | None] = []

    def look(expression: str) -> str:
        """Looks how many runs there are.

        Args:
            expression: Anything.
        """
        seen.append(_value(reader, semconv.METRIC_ACTIVE_RUNS))
        return "looked"

    loop = AgentLoop(
        agent_id="looker",
        llm_provider=ScriptedProvider([Reply(tool_calls=(("look", {"expression": "x"}),)), reply()]),
        tool_providers=[FunctionTools([look])],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
    )
    with lo.configure(exporters="none", metrics=reader):
        async for _ in loop.execute("Go!"):
            pass
        assert seen == [1]
        assert _value(reader, semconv.METRIC_ACTIVE_RUNS) == 0


def test_metrics_can_be_off(sink: OTLPSink) -> None:
    with lo.configure(exporters="otlp", metrics="none", otlp_endpoint=sink.url):
        agent([reply()]).run("Hello!")
    assert sink.spans
    assert sink.metric_requests == []


def _value(reader: MetricReader, name: str) -> float | None:
    assert isinstance(reader, InMemoryMetricReader)
    data = reader.get_metrics_data()
    found = [
        getattr(one, "value", None)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for one in metric.data.data_points
    ]
    assert len(found) <= 1
    return found[0] if found else None


def test_the_last_cost_is_that_of_all_calls(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    for _ in range(40):
        ask()
    pushed.shutdown()
    assert point(sink, semconv.METRIC_COST).value == pytest.approx(float(40 * COST), abs=1e-9)

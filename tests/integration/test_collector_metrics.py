"""Metrics through a real collector into a real Prometheus: the names, labels and numbers that dashboards ask for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.providers import LiteLLM, ScriptedServer
from tests.integration.example import ANSWER_TEXT, PROMPT, calculate, example_model
from tests.support.collector import Collector
from tests.support.otlp_sink import OTLPSink
from tests.support.prometheus import Prometheus

pytestmark = pytest.mark.slow
RUNS = 3


@pytest.fixture
def prometheus(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Prometheus]:
    targets = [collector.prometheus_address, collector.own_metrics_address]
    with Prometheus(tmp_path_factory.mktemp("prometheus"), targets) as running:
        yield running


@contextmanager
def example_run(collector: Collector) -> Generator[lo.Telemetry]:
    """Tracing and metrics to the collector, in which the example has run; both are flushed at the end."""
    with ScriptedServer(example_model) as model:
        with lo.configure(
            service_name="tests",
            environment="testing",
            exporters=["otlp"],
            otlp_endpoint=collector.url,
            metrics="otlp",
        ) as telemetry:
            agent = AgentLoop(
                agent_id="my-agent", llm_provider=LiteLLM.gpt4(model.url), tool_providers=[FunctionTools([calculate])]
            )
            for _ in range(RUNS):
                assert agent.run(PROMPT).output == ANSWER_TEXT
            yield telemetry


def run_example(collector: Collector) -> None:
    with example_run(collector):
        pass


def test_numbers_arrive_under_the_names_of_the_dashboards(collector: Collector, prometheus: Prometheus) -> None:
    run_example(collector)
    (cost,) = prometheus.wait_for("looopy_cost_usd_total")
    assert cost.value == pytest.approx(RUNS * 0.0145, abs=1e-9)
    assert cost.labels["gen_ai_request_model"] == "gpt-4"
    assert cost.labels["gen_ai_response_model"] == "gpt-4-0613"
    assert cost.labels["gen_ai_agent_name"] == "my-agent"
    assert cost.labels["deployment_environment_name"] == "testing"
    assert cost.labels["job"] == "tests"
    tokens = prometheus.wait_for("sum by (gen_ai_token_type) (gen_ai_client_token_usage_sum)", 2)
    assert {sample.labels["gen_ai_token_type"]: sample.value for sample in tokens} == {
        "input": RUNS * 384,
        "output": RUNS * 96,
    }
    counts = {
        "gen_ai_client_operation_duration_seconds_count": 2 * RUNS,
        "gen_ai_invoke_agent_duration_seconds_count": RUNS,
        "gen_ai_execute_tool_duration_seconds_count": RUNS,
    }
    assert {name: prometheus.wait_for(f"sum({name})")[0].value for name in counts} == counts


def test_no_series_tells_who_or_what_was_asked(collector: Collector, prometheus: Prometheus) -> None:
    with lo.session(session_id="s-1", user_id="u-1"):
        run_example(collector)
    prometheus.wait_for("looopy_cost_usd_total")
    series = prometheus.query('{job="tests"}')
    assert len(series) > 10
    labels = {label for sample in series for label in sample.labels}
    assert not labels & {"session_id", "user_id", "agent_task_id", "gen_ai_conversation_id", "trace_id", "span_id"}
    assert not any(label.startswith("otel_scope") for label in labels)
    assert {sample.labels["job"] for sample in series} == {"tests"}


def test_an_exemplar_leads_from_a_metric_to_its_trace(
    collector: Collector, prometheus: Prometheus, sink: OTLPSink
) -> None:
    # An export holds the exemplars of what came since the one before, so the last one, at the end, would hold none.
    with example_run(collector) as telemetry:
        telemetry.flush()
        exemplars = prometheus.wait_for_exemplars("gen_ai_client_operation_duration_seconds_bucket")
        traces = {span.trace_id for span in sink.wait_for(RUNS * 6)}
        assert {exemplar["labels"]["trace_id"] for exemplar in exemplars} <= traces


def test_the_collector_tells_of_itself(collector: Collector, prometheus: Prometheus, sink: OTLPSink) -> None:
    run_example(collector)
    sink.wait_for(RUNS * 6)
    sent = prometheus.wait_for('otelcol_exporter_sent_spans{exporter="otlp_http/langfuse"} > 0')
    assert [sample.value for sample in sent] == [RUNS * 6]
    assert [sample.value for sample in prometheus.wait_for("otelcol_exporter_queue_size")] == [0.0]
    known = set(prometheus.names())
    assert {
        "otelcol_exporter_queue_capacity",
        "otelcol_receiver_accepted_spans",
        "otelcol_receiver_refused_spans",
    } <= known

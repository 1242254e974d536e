"""The endpoint that Prometheus pulls from, scraped over HTTP."""

from __future__ import annotations

import re
import socket
import urllib.request
from importlib.util import find_spec

import pytest

from tests.support.require import require_packages

require_packages("opentelemetry.exporter.prometheus")

import looopy_otel as lo  # noqa: E402
from looopy_otel.core.errors import MissingExtraError  # noqa: E402
from tests.metrics.workload import COST, MODEL, ask, run  # noqa: E402


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free port that the standard variables name."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free: int = probe.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(free))
    return free


def scraped(port: int) -> dict[str, float]:
    """The samples, by name and labels as they stand there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        lines = response.read().decode().splitlines()
    return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def names(samples: dict[str, float]) -> set[str]:
    return {re.sub(r"\{.*", "", key) for key in samples}


def test_the_names_that_prometheus_sees(port: int) -> None:
    with lo.configure(exporters="none", metrics="prometheus", environment="test") as telemetry:
        run()
        ask(model="nobody-knows", cost=None)
        telemetry.flush()
        samples = scraped(port)
    histograms = {
        "gen_ai_client_operation_duration_seconds",
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "gen_ai_client_token_usage",
        "gen_ai_invoke_agent_duration_seconds",
        "gen_ai_invoke_agent_inference_calls",
        "gen_ai_invoke_agent_tool_calls",
        "gen_ai_execute_tool_duration_seconds",
        "looopy_agent_iterations",
    }
    others = {
        "gen_ai_client_inference_usage_cache_read_input_tokens_total",
        "gen_ai_client_inference_usage_reasoning_output_tokens_total",
        "looopy_cost_usd_total",
        "looopy_unpriced_calls_total",
        "looopy_active_runs",
        "looopy_spans_queued",
        "target_info",
    }
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    assert names(samples) == parts | others
    (instance,) = {found for key in samples for found in re.findall(r'service_instance_id="([^"]+)"', key)}
    assert [key for key in samples if "service_instance_id=" not in key] == []
    labels = (
        f'{{deployment_environment_name="test",gen_ai_agent_name="counter",gen_ai_operation_name="chat",'
        f'gen_ai_provider_name="litellm",gen_ai_request_model="{MODEL}",gen_ai_response_model="{MODEL}",service_instance_id="{instance}"}}'
    )
    assert samples[f"looopy_cost_usd_total{labels}"] == float(2 * COST)


def test_it_answers_before_the_first_call_and_not_after_the_end(port: int) -> None:
    with lo.configure(exporters="none", metrics="prometheus"):
        assert "looopy_spans_queued" in names(scraped(port))
    with pytest.raises(OSError, match="refused"):
        scraped(port)


def test_one_configuration_after_another_at_the_same_port(port: int) -> None:
    lo.configure(exporters="none", metrics="prometheus")
    ask()
    with lo.configure(exporters="none", metrics="prometheus") as telemetry:
        assert "looopy_cost_usd_total" not in names(scraped(port))
        ask()
        ask()
        telemetry.flush()
        (cost,) = [value for key, value in scraped(port).items() if key.startswith("looopy_cost_usd_total")]
        assert cost == float(2 * COST)


def test_each_process_has_series_of_its_own(port: int) -> None:
    seen: list[str] = []
    for _ in range(2):
        with lo.configure(exporters="none", metrics="prometheus") as telemetry:
            ask()
            telemetry.flush()
            seen += [key for key in scraped(port) if key.startswith("looopy_cost_usd_total")]
    assert len(set(seen)) == 2


def test_a_port_that_is_taken_is_named_and_leaves_the_configuration_in_place(port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        lo.configure(exporters="none", metrics="none") as telemetry,
    ):
        with pytest.raises(lo.ConfigurationError, match=rf"127\.0\.0\.1:{port}.*OTEL_EXPORTER_PROMETHEUS_PORT"):
            lo.configure(exporters="none", metrics="prometheus")
        with lo.span("still traced") as step:
            assert step.trace_id is not None
        assert telemetry.stats().internal_errors == {}


def test_a_host_that_does_not_exist_is_named(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "no-such-host.invalid")
    with pytest.raises(lo.ConfigurationError, match=r"no-such-host\.invalid"):
        lo.configure(exporters="none", metrics="prometheus")


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str, package: str | None = None) -> object:
        return None if name == "prometheus_client" else find_spec(name, package)

    monkeypatch.setattr("looopy_otel.export.prometheus.find_spec", without)
    with pytest.raises(MissingExtraError, match=r"looopy-otel\[prometheus\]"):
        lo.configure(exporters="none", metrics="prometheus")


def test_localhost_is_reached_by_name(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "localhost")
    with (
        lo.configure(exporters="none", metrics="prometheus"),
        urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=20) as response,
    ):
        assert response.status == 200


@pytest.mark.usefixtures("swallowed_faults")
def test_a_fault_while_it_collects_is_answered_with_500(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: lo.Telemetry) -> lo.Stats:
        raise RuntimeError("broken")

    with lo.configure(exporters="none", metrics="prometheus"):
        monkeypatch.setattr("opentelemetry.exporter.prometheus._CustomCollector.collect", broken)
        with pytest.raises(OSError, match="500"):
            scraped(port)

"""Every panel of every dashboard, asked of a real Prometheus after a workload whose numbers are known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, get_args

import httpx
import pytest

from tests.dashboards.grafana import Target, interpolated, targets
from tests.dashboards.shop import SPENT, Shop, Source, open_shop
from tests.dashboards.workload import ENVIRONMENT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dashboards")]

WINDOW = "10m"
TARGETS = targets()
to_the_cent = partial(pytest.approx, abs=1e-9)


@pytest.fixture(scope="module", params=get_args(Source))
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("shop"), request.param) as opened:
        yield opened


def values(shop: Shop, dashboard: str, panel: str, column: str = "", *by: str, **chosen: str) -> dict[Any, float]:
    """What a query of a panel says, by the values of the labels in `by` (one value, or a tuple of several)."""
    (target,) = [one for one in TARGETS if (one.dashboard, one.panel, one.column) == (dashboard, panel, column)]
    samples = shop.prometheus.query(interpolated(target.expr, WINDOW, **chosen))
    keys = [tuple(sample.labels.get(label, "") for label in by) for sample in samples]
    return {key[0] if len(key) == 1 else key: sample.value for key, sample in zip(keys, samples, strict=True)}


def value(shop: Shop, dashboard: str, panel: str, column: str = "", **chosen: str) -> float:
    (only,) = values(shop, dashboard, panel, column, **chosen).values()
    return only


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_panel_has_data(shop: Shop, target: Target) -> None:
    if "otelcol_" in target.expr and shop.source == "direct":
        pytest.skip("there is no collector")
    samples = shop.prometheus.query(interpolated(target.expr, WINDOW))
    assert [sample for sample in samples if sample.value >= 0], target.expr


COST = "Cost and tokens"
MODEL, VERSION, AGENT = "gen_ai_request_model", "gen_ai_response_model", "gen_ai_agent_name"


def test_spend_is_right_to_the_cent(shop: Shop) -> None:
    for panel in ("Last hour", "Today", "Time range"):
        assert value(shop, COST, panel) == to_the_cent(SPENT)
    assert value(shop, COST, "Cost per run") == to_the_cent(0.59 / 7)
    assert values(shop, COST, "By agent", "{{gen_ai_agent_name}}", AGENT) == to_the_cent(
        {"planner": 0.40, "writer": 0.19, "": 0.05}
    )
    assert values(shop, COST, "By environment", "{{deployment_environment_name}}", "deployment_environment_name") == (
        to_the_cent({ENVIRONMENT: SPENT})
    )
    assert values(shop, COST, "By service", "{{job}}", "job") == to_the_cent({shop.job: SPENT})
    assert values(shop, COST, "By the model that answered", "Cost", MODEL, VERSION) == to_the_cent(
        {("large", "large"): 0.34, ("large", "large-2026-01"): 0.06, ("small", "small"): 0.24}
    )
    assert values(shop, COST, "Agents", "Cost per run", AGENT) == to_the_cent({"planner": 0.40 / 3, "writer": 0.19 / 4})


def test_variables_choose(shop: Shop) -> None:
    assert value(shop, COST, "Time range", model="small") == to_the_cent(0.24)
    assert value(shop, COST, "Time range", agent="(planner|writer)") == to_the_cent(0.59)
    assert value(shop, COST, "Time range", service=shop.job, environment=ENVIRONMENT) == to_the_cent(SPENT)
    assert not values(shop, COST, "Time range", environment="production")


def test_bars_over_time_add_up_to_the_total(shop: Shop) -> None:
    (target,) = [one for one in TARGETS if (one.dashboard, one.column) == (COST, "{{gen_ai_request_model}}")][:1]
    assert target.panel == "By model"
    end = (time.time() // 5 + 1) * 5
    asked = {"query": interpolated(target.expr, "5s"), "start": end - 300, "end": end, "step": 5}
    answer = httpx.post(f"{shop.prometheus.url}/api/v1/query_range", data=asked, trust_env=False).json()
    bars = {one["metric"][MODEL]: [float(bar) for _, bar in one["values"]] for one in answer["data"]["result"]}
    assert {model: sum(amounts) for model, amounts in bars.items()} == to_the_cent({"large": 0.40, "small": 0.24})


def test_tokens_are_right(shop: Shop) -> None:
    kinds = ("input", "input: read from cache", "input: written to cache", "output", "output: reasoning")
    assert [value(shop, COST, "By kind", kind) for kind in kinds] == [13_000, 7_800, 1_300, 2_600, 650]
    assert value(shop, COST, "Tokens") == 15_600
    assert values(shop, COST, "Share of cached input", "{{gen_ai_request_model}}", MODEL) == to_the_cent(
        {"large": 0.6, "small": 0.6, "nobody-knows": 0.6}
    )
    assert values(shop, COST, "Share of reasoning in output", "{{gen_ai_request_model}}", MODEL) == to_the_cent(
        {"large": 0.25, "small": 0.25, "nobody-knows": 0.25}
    )


def test_calls_without_a_price_are_named(shop: Shop) -> None:
    assert value(shop, COST, "Unpriced calls") == 1
    assert values(shop, COST, "Unpriced calls", "Calls", MODEL, VERSION) == {("nobody-knows", "nobody-knows"): 1}
    assert value(shop, COST, "Unpriced calls", model="large") == 0
    assert not values(shop, COST, "Unpriced calls", model="of-nobody")


def test_runs_calls_and_tools_are_counted(shop: Shop) -> None:
    agents = "Agents"
    assert value(shop, agents, "Runs") == 7
    assert value(shop, agents, "Under way") == 1
    assert value(shop, agents, "Completed") == pytest.approx(6 / 7)
    assert value(shop, agents, "Failed LLM calls") == pytest.approx(1 / 14)
    assert value(shop, agents, "Failed LLM calls", model="large") == 0
    assert values(shop, agents, "How runs end", "{{agent_outcome}}", "agent_outcome") == {"completed": 6, "failed": 1}
    assert values(shop, agents, "Runs under way", "{{gen_ai_agent_name}}", AGENT) == {"planner": 1, "writer": 0}
    assert value(shop, agents, "What a run takes", "iterations") == pytest.approx(11 / 7)
    assert value(shop, agents, "What a run takes", "LLM calls") == pytest.approx(11 / 7)
    assert value(shop, agents, "What a run takes", "tool calls") == pytest.approx(4 / 7)
    assert values(shop, agents, "By agent", "Completed", AGENT) == pytest.approx({"planner": 1, "writer": 0.75})
    failed = "{{gen_ai_request_model}}: {{error_type}}"
    assert values(shop, agents, "Failed LLM calls", failed, MODEL, "error_type") == {("small", "500"): 1}
    assert values(shop, agents, "By tool", "Calls", "gen_ai_tool_name") == {"calculate": 4}
    assert values(shop, agents, "By tool", "Failed", "gen_ai_tool_name") == {"calculate": 0.25}
    failed = "{{gen_ai_tool_name}}: {{error_type}}"
    assert values(shop, agents, "Failed tool calls", failed, "error_type") == {"ZeroDivisionError": 1}


def test_what_became_of_the_spans_is_what_the_process_says(shop: Shop) -> None:
    health, told = "Telemetry health", shop.told
    assert told["dropped"] == {"langfuse": {"http-401": 1}, "otlp": {}}
    exported, spooled = sum(told["exported"].values()), sum(told["spooled"].values())
    assert exported > 0
    assert spooled > 0
    assert value(shop, health, "Processes") == 1
    assert value(shop, health, "Delivered") == exported
    assert value(shop, health, "Lost") == 1
    assert value(shop, health, "Share delivered") == pytest.approx(exported / (exported + 1))
    assert value(shop, health, "Waiting on disk") == spooled
    assert value(shop, health, "Waiting in memory") == told["queued"]
    if shop.source == "collector":
        assert values(shop, health, "Lost by collectors", "{{exporter}}", "exporter") == {"otlp_http/langfuse": 1}
        assert values(shop, health, "Queue on disk", "{{exporter}}", "exporter") == {"otlp_http/langfuse": 0}
    lost = values(shop, health, "Lost spans", "Spans", "looopy_destination", "looopy_reason")
    assert lost == {("langfuse", "http-401"): 1}
    assert values(shop, health, "By service", "Delivered", "job", "looopy_destination") == {
        (shop.job, name): spans for name, spans in told["exported"].items()
    }

"""Every expression is PromQL, and every alert fires when it should, says what it means, and is silent otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.alerts import Alert, alerts
from tests.dashboards.grafana import ALERTS, interpolated, targets
from tests.dashboards.promtool import expect, try_rules
from tests.support.prometheus import run_promtool

SHOP = 'job="shop"'
CALL = f'{SHOP},gen_ai_provider_name="openai",gen_ai_request_model="gpt-4o"'
ANSWERED = f'{CALL},gen_ai_response_model="gpt-4o-2024-08-06"'
CALLS = "gen_ai_client_operation_duration_seconds"
RUN = f'{SHOP},gen_ai_agent_name="planner"'
RUNS = "gen_ai_invoke_agent_duration_seconds_count"
AT_COLLECTOR = 'instance="127.0.0.1:8888",exporter="otlp_http/langfuse"'
TO_LANGFUSE = f'{SHOP},looopy_destination="langfuse"'


def test_every_expression_of_the_dashboards_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:{number}", "expr": interpolated(target.expr, "5m"), "labels": {"panel": str(target)}}
        for number, target in enumerate(targets())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    done = run_promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_a_broken_expression_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    rule = {"record": "panel:query:0", "expr": "sum by (job) (increase(looopy_cost_usd_total[5m])"}
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": [rule]}]}), encoding="utf-8")
    assert run_promtool("check", "rules", str(path)).returncode != 0


def test_the_alerts_are_rules() -> None:
    done = run_promtool("check", "rules", str(ALERTS))
    assert done.returncode == 0, done.stdout + done.stderr


@dataclass(frozen=True)
class Case:
    """Series, one value per minute, and when an alert fires on them.

    Attributes:
        alert: The alert's name.
        values: By series.
        fires: The minute, and the labels that it then has besides its own; None where it never does.
        silent: Minutes at which it does not.
    """

    alert: str
    values: dict[str, str]
    fires: tuple[int, str] | None
    silent: Sequence[int] = ()


CASES = {
    "an hour that is too dear, from the first call on": Case(
        "LooopySpendHigh",
        {f'looopy_cost_usd_total{{{ANSWERED},deployment_environment_name="production"}}': "_x9 9 10.5+0x100"},
        (10, f'{SHOP},deployment_environment_name="production"'),
        silent=(9, 75),
    ),
    "many services that each spend little": Case(
        "LooopySpendHigh",
        {f'looopy_cost_usd_total{{job="shop-{number}"}}': "0+0.1x90" for number in range(5)},
        None,
        silent=(60, 90),
    ),
    "four times the usual": Case(
        "LooopySpendJumped",
        {f"looopy_cost_usd_total{{{ANSWERED}}}": "0+0.01x1440 14.4+0.1x100"},
        (1500, SHOP),
        silent=(600, 1440, 1450),
    ),
    "a new service": Case(
        "LooopySpendJumped",
        {f"looopy_cost_usd_total{{{ANSWERED}}}": "0+0.0333x300"},
        None,
        silent=(60, 180, 299),
    ),
    "four times the usual of a service of short processes": Case(
        "LooopySpendJumped",
        {
            'looopy_cost_usd_total{job="shop",instance="a"}': "14+0x300 stale",
            'looopy_cost_usd_total{job="shop",instance="b"}': "_x1500 0+0.1x100",
        },
        (1600, SHOP),
        silent=(1400, 1500),
    ),
    "four times next to nothing": Case(
        "LooopySpendJumped",
        {f"looopy_cost_usd_total{{{ANSWERED}}}": "0+0.001x1440 1.44+0.01x100"},
        None,
        silent=(1500, 1530),
    ),
    "the very first call without a price": Case(
        "LooopyUnpricedCalls",
        {f"looopy_unpriced_calls_total{{{ANSWERED}}}": "_x4 1+0x100"},
        (5, ANSWERED),
        silent=(3, 70),
    ),
    "one call of ten fails": Case(
        "LooopyCallErrors",
        {f'{CALLS}_count{{{CALL},error_type="429"}}': "0+1x60", f"{CALLS}_count{{{CALL}}}": "0+9x60"},
        (20, CALL),
        silent=(0, 2),
    ),
    "one call of a hundred fails": Case(
        "LooopyCallErrors",
        {f'{CALLS}_count{{{CALL},error_type="429"}}': "0+1x60", f"{CALLS}_count{{{CALL}}}": "0+99x60"},
        None,
        silent=(20, 60),
    ),
    "too few calls to judge": Case(
        "LooopyCallErrors",
        {f'{CALLS}_count{{{CALL},error_type="429"}}': "0+1x60"},
        None,
        silent=(20, 60),
    ),
    "runs that stop at a budget": Case(
        "LooopyRunFailures",
        {
            f'{RUNS}{{{RUN},agent_outcome="budget_exceeded"}}': "0+1x60",
            f'{RUNS}{{{RUN},agent_outcome="completed"}}': "0+4x60",
        },
        (20, RUN),
    ),
    "runs that are cancelled": Case(
        "LooopyRunFailures",
        {
            f'{RUNS}{{{RUN},agent_outcome="cancelled"}}': "0+4x60",
            f'{RUNS}{{{RUN},agent_outcome="completed"}}': "0+1x60",
        },
        None,
        silent=(20, 60),
    ),
    "one call of ten takes more than 40 seconds": Case(
        "LooopyCallLatency",
        {
            f'{CALLS}_bucket{{{CALL},le="5.12"}}': "0+9x60",
            f'{CALLS}_bucket{{{CALL},le="40.96"}}': "0+9x60",
            f'{CALLS}_bucket{{{CALL},le="81.92"}}': "0+10x60",
            f'{CALLS}_bucket{{{CALL},le="+Inf"}}': "0+10x60",
            f"{CALLS}_count{{{CALL}}}": "0+10x60",
        },
        (30, CALL),
        silent=(1, 5),
    ),
    "fast calls": Case(
        "LooopyCallLatency",
        {
            f'{CALLS}_bucket{{{CALL},le="5.12"}}': "0+10x60",
            f'{CALLS}_bucket{{{CALL},le="+Inf"}}': "0+10x60",
            f"{CALLS}_count{{{CALL}}}": "0+10x60",
        },
        None,
        silent=(30, 60),
    ),
    "the very first loss": Case(
        "LooopySpansDropped",
        {f'looopy_spans_dropped_total{{{TO_LANGFUSE},looopy_reason="http-401"}}': "_x4 17+0x60"},
        (5, f'{TO_LANGFUSE},looopy_reason="http-401"'),
        silent=(3, 30),
    ),
    "a destination that takes nothing": Case(
        "LooopySpansNotDelivered",
        {
            f"looopy_spans_spooled{{{TO_LANGFUSE}}}": "0+5x60",
            f"looopy_spans_exported_total{{{TO_LANGFUSE}}}": "100+0x60",
        },
        (30, TO_LANGFUSE),
        silent=(5, 12),
    ),
    "a busy destination, whose queue is never empty": Case(
        "LooopySpansNotDelivered",
        {
            f"looopy_spans_spooled{{{TO_LANGFUSE}}}": "5+0x60",
            f"looopy_spans_exported_total{{{TO_LANGFUSE}}}": "0+100x60",
        },
        None,
        silent=(30, 60),
    ),
    "a collector whose keys are wrong": Case(
        "LooopyCollectorLosesSpans",
        {f"otelcol_exporter_send_failed_spans{{{AT_COLLECTOR}}}": "_x4 17+0x60"},
        (5, AT_COLLECTOR),
        silent=(3, 30),
    ),
    "a collector whose queue is nearly full": Case(
        "LooopyCollectorQueueFills",
        {
            f"otelcol_exporter_queue_size{{{AT_COLLECTOR}}}": "0+5x60",
            f"otelcol_exporter_queue_capacity{{{AT_COLLECTOR}}}": "100+0x60",
        },
        (30, AT_COLLECTOR),
        silent=(16, 20),
    ),
    "a queue that is far too long": Case(
        "LooopySpansPileUp",
        {f"looopy_spans_spooled{{{TO_LANGFUSE}}}": "9999 10001+10x60"},
        (20, TO_LANGFUSE),
        silent=(0, 10),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_should(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    severity = alert_of(case.alert).severity
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    expected = [expect(firing, f"{minute}m", {}) for minute in case.silent]
    if case.fires is not None:
        minute, labels = case.fires
        fired = f'ALERTS{{alertname="{case.alert}",alertstate="firing",severity="{severity}",{labels}}}'
        expected.append(expect(firing, f"{minute}m", {fired: 1}))
    series = [{"series": series, "values": values} for series, values in case.values.items()]
    try_rules(tmp_path, [{"interval": "1m", "input_series": series, "promql_expr_test": expected}], [ALERTS])


def alert_of(name: str) -> Alert:
    (found,) = [alert for alert in alerts() if alert.name == name]
    return found


def test_every_alert_has_been_tried() -> None:
    assert {case.alert for case in CASES.values() if case.fires is not None} == {alert.name for alert in alerts()}


def test_an_alert_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    alert = alert_of("LooopySpendHigh")
    told = {
        "summary": "shop spent $12.50 on LLM calls within an hour",
        "description": alert.description,
        "action": alert.action,
    }
    expected = {
        "eval_time": "10m",
        "alertname": alert.name,
        "exp_alerts": [{"exp_labels": {"job": "shop", "severity": "critical"}, "exp_annotations": told}],
    }
    series = [{"series": f"looopy_cost_usd_total{{{CALL}}}", "values": "12.5+0x20"}]
    try_rules(tmp_path, [{"interval": "1m", "input_series": series, "alert_rule_test": [expected]}], [ALERTS])


@pytest.mark.parametrize("name", ["LooopySpendHigh", "LooopySpendJumped"])
def test_an_alert_of_money_says_what_a_gap_in_scraping_does(name: str) -> None:
    assert "After a gap in scraping" in alert_of(name).description


def test_what_was_spent_before_a_long_gap_counts_once_more_after_it(tmp_path: Path) -> None:
    firing = 'ALERTS{alertname="LooopySpendHigh",alertstate="firing"}'
    fired = 'ALERTS{alertname="LooopySpendHigh",alertstate="firing",severity="critical",job="shop"}'
    test = {
        "interval": "1m",
        "input_series": [{"series": 'looopy_cost_usd_total{job="shop"}', "values": "100x30 _x125 100x90"}],
        "promql_expr_test": [
            expect(firing, "100m", {}),
            expect(firing, "160m", {fired: 1}),
            expect(firing, "230m", {}),
        ],
    }
    try_rules(tmp_path, [test], [ALERTS])


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_is_complete(alert: Alert) -> None:
    assert re.fullmatch(r"Looopy[A-Z]\w+", alert.name)
    assert alert.description.endswith(".")
    assert alert.action.endswith(".")
    assert len(alert.action) > 60

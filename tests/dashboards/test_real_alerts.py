"""Alerts and exemplars in a real Prometheus: what a workload gives rise to, and where a point in a panel leads."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.dashboards.grafana import ALERTS, interpolated, targets
from tests.dashboards.shop import open_shop
from tests.dashboards.workload import JUMP

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("dashboards")]


def firing(name: str) -> str:
    return f'ALERTS{{alertname="{name}",alertstate="firing"}}'


def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    with open_shop(tmp_path, "direct", (ALERTS,)) as shop:
        prometheus = shop.prometheus
        (unpriced,) = prometheus.wait_for(firing("LooopyUnpricedCalls"))
        assert unpriced.labels["gen_ai_response_model"] == "nobody-knows"
        assert unpriced.labels["severity"] == "warning"
        (lost,) = prometheus.wait_for(firing("LooopySpansDropped"))
        assert (lost.labels["looopy_destination"], lost.labels["looopy_reason"]) == ("langfuse", "http-401")
        assert not prometheus.query(firing("LooopySpendHigh"))
        # The others hold for minutes before somebody is told.
        assert not prometheus.query(firing("LooopySpansNotDelivered"))

        shop.go_on()
        prometheus.wait_for(f"sum(looopy_cost_usd_total) > {JUMP}")
        (spend,) = prometheus.wait_for(firing("LooopySpendHigh"))
        assert spend.labels["job"] == shop.job


def test_a_point_in_a_latency_panel_leads_to_its_trace(tmp_path: Path) -> None:
    # Through a collector: the Python exporter that Prometheus pulls from carries no exemplars.
    (target,) = [one for one in targets() if one.exemplars and one.panel == "Duration of LLM calls"]
    asked = interpolated(target.expr, "10m")
    with open_shop(tmp_path, "collector") as shop:
        deadline = time.monotonic() + 60
        while not (found := shop.prometheus.exemplars(asked)):
            assert time.monotonic() < deadline, f"no exemplar: {asked}"
            # A collector has the exemplars of the last push only, and the next push may come before the next scrape.
            shop.go_on()
            time.sleep(1)
        known = {span.trace_id for span in shop.traces.wait_for(20)}
        assert {exemplar["labels"]["trace_id"] for exemplar in found} <= known

"""What a counter grew by: exact from its first value on, whatever the processes behind it do."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards.promql import added, total
from tests.dashboards.promtool import expect, try_rules

# Values at 0m, 1m, 2m, …; `_` is a scrape without the series.
CASES = {
    "a series that is born with a value": ("_x30 12", "30m", 12.0),
    "a series that is born and grows": ("_x30 2 2 2.5", "33m", 2.5),
    "a process that lives for one scrape": ("_x30 7 stale", "59m", 7.0),
    "a series from before the window": ("100+1x200", "120m", 60.0),
    "nothing new": ("100+0x200", "120m", 0.0),
    "a process that ended in the window": ("100+1x90 stale", "120m", 30.0),
    "a collector that restarts: the series is away for a while": ("100+1x80 _x10 180+1x30", "120m", 49.0),
    "away while the window begins": ("100+1x50 _x20 150+1x50", "120m", 49.0),
    "a process that restarts while the window begins": ("500+0x58 _x3 3+0x60", "120m", 3.0),
    "a small amount": ("0.1+0x5 0.3", "6m", 0.3),
}


@pytest.mark.parametrize("case", CASES)
def test_growth_within_an_hour(case: str, tmp_path: Path) -> None:
    values, at, grown = CASES[case]
    series = [{"series": 'spend{job="shop"}', "values": values}]
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [expect(f"round({total(added('spend', '1h'))}, 1e-6)", at, {"{}": grown})],
    }
    try_rules(tmp_path, [test])


def test_a_counter_that_starts_over_is_estimated(tmp_path: Path) -> None:
    # 60 before the restart in the middle of the window, 30 after it: `increase()` extrapolates by a little.
    series = [{"series": 'spend{job="shop"}', "values": "0+2x90 0+1x60"}]
    grown = total(added("spend", "1h"))
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [expect(f"abs({grown} - 90) < bool 3", "121m", {"{}": 1})],
    }
    try_rules(tmp_path, [test])


def test_a_process_that_starts_again_is_a_series_of_its_own(tmp_path: Path) -> None:
    series = [
        {"series": 'spend{job="shop",service_instance_id="a"}', "values": "8x20 stale"},
        {"series": 'spend{job="shop",service_instance_id="b"}', "values": "_x22 4x30"},
    ]
    spent = expect(total(added("spend", "1h"), "job"), "50m", {'{job="shop"}': 12.0})
    try_rules(tmp_path, [{"interval": "1m", "input_series": series, "promql_expr_test": [spent]}])


def test_steps_of_time_add_up_to_the_whole(tmp_path: Path) -> None:
    series = [
        {"series": 'spend{instance="a"}', "values": "_x7 3 4 4 9 9 12+0x20"},
        {"series": 'spend{instance="b"}', "values": "1+1x11 stale"},
    ]
    step = total(added("spend", "5m"))
    steps = {"5m": 5.0, "10m": 9.0 + 5.0, "15m": 3.0 + 1.0, "20m": 0.0}
    whole = expect(total(added("spend", "20m")), "20m", {"{}": sum(steps.values())})
    test = {
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [whole, *(expect(step, at, {"{}": grown}) for at, grown in steps.items())],
    }
    try_rules(tmp_path, [test])

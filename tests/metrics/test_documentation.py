"""The page on metrics names every metric, as OpenTelemetry and as Prometheus call it."""

from __future__ import annotations

import re
from pathlib import Path

from looopy_otel.core import semconv

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
METRICS = {value for name, value in vars(semconv).items() if name.startswith("METRIC_")}


def test_every_metric_has_a_row_and_no_other_has() -> None:
    assert set(re.findall(r"^\| `([a-z_.]+)` \| (?:histogram|counter|up-down)", PAGE, re.MULTILINE)) == METRICS


def test_the_names_in_prometheus_follow_from_kind_and_unit() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([a-z\- ]+), (\S+) \| `(\w+)`", PAGE, re.MULTILINE)
    assert len(rows) == len(METRICS)
    for name, kind, unit, seen in rows:
        suffix = ("_seconds" if unit == "s" else "") + ("_total" if kind == "counter" else "")
        assert seen == name.replace(".", "_") + suffix

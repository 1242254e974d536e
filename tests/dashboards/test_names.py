"""Dashboards and alerts speak of metrics and labels that exist: those of core/semconv.py, as Prometheus spells them."""

from __future__ import annotations

import re

import pytest

from looopy_otel.core import semconv
from tests.dashboards.grafana import ALERTS, DIRECTORY, dashboards, interpolated, targets
from tests.dashboards.prometheus_names import METRICS, OF_THE_COLLECTOR, label_names, metric_names

FUNCTIONS_AND_WORDS = {
    "sum", "count", "by", "or", "and", "unless", "offset", "topk", "increase", "resets", "last_over_time",
    "min_over_time", "histogram_quantile",
}  # fmt: skip


def expressions() -> list[str]:
    asked = [interpolated(target.expr, "5m") for target in targets()]
    text = ALERTS.read_text(encoding="utf-8")
    asked += re.findall(r"expr: \|\n((?: {10}.*\n)+)", text)
    assert len(asked) == len(targets()) + text.count("- alert:")
    return asked


def names_in(expression: str) -> set[str]:
    """The names of series."""
    bare = re.sub(r"\{[^{}]*\}|\[[^\]]*\]|by \([^()]*\)|\"[^\"]*\"", " ", expression)
    return set(re.findall(r"\b[a-zA-Z_:][\w:]*", bare)) - FUNCTIONS_AND_WORDS


def labels_in(expression: str) -> set[str]:
    """The names of labels in selectors and groupings."""
    grouped = re.findall(r"by \(([^()]*)\)", expression)
    inside = " ".join(re.findall(r"\{([^{}]*)\}", expression))
    return set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", inside)) | {
        label.strip() for labels in grouped for label in labels.split(",")
    }


def test_every_metric_of_the_library_is_tied() -> None:
    names = {value for name, value in vars(semconv).items() if name.startswith("METRIC_")}
    assert names == set(METRICS)


def test_every_series_is_one_that_the_library_makes() -> None:
    asked = {name for expression in expressions() for name in names_in(expression)}
    assert asked <= metric_names() | set(OF_THE_COLLECTOR)
    assert len(asked) > 20


def test_every_label_is_one_that_the_library_or_prometheus_sets() -> None:
    asked = {label for expression in expressions() for label in labels_in(expression)}
    assert asked <= label_names()


def test_legends_columns_and_messages_name_labels_that_are_there() -> None:
    # Legends: {{label}}; alerts: {{ $labels.label }}.
    for target in targets():
        named = set(re.findall(r"\{\{(\w+)\}\}", target.column))
        assert named <= labels_in(target.expr), str(target)
    for alert in ALERTS.read_text(encoding="utf-8").split("- alert: ")[1:]:
        expression, annotations = alert.split("        for:")
        named = set(re.findall(r"\$labels\.(\w+)", annotations))
        assert named <= labels_in(expression), alert.splitlines()[0]


def test_every_metric_is_shown_somewhere() -> None:
    asked = {name for expression in expressions() for name in names_in(expression)}
    unseen = {name for name in METRICS if not any(one.startswith(name.replace(".", "_")) for one in asked)}
    assert not unseen


@pytest.mark.parametrize("file", sorted(dashboards()))
def test_variables_ask_for_labels_of_series_that_are_there(file: str) -> None:
    for variable in dashboards()[file]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        asked = re.fullmatch(r"label_values\((\w+)(\{.*\})?, (\w+)\)", variable["query"]["query"])
        assert asked is not None
        assert asked[1] in metric_names()
        assert asked[3] in label_names()


def test_the_exemplars_label_is_the_one_that_leads_to_langfuse() -> None:
    provisioned = (DIRECTORY / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    assert "- name: trace_id" in provisioned
    assert "url: $LANGFUSE_PROJECT_URL/traces/$${__value.raw}" in provisioned
    assert any(target.exemplars for target in targets())

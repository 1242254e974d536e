"""What a reader of the dashboards can count on: every panel says what it means, in which unit, and where to go on."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.dashboards.grafana import dashboards, panels
from tests.support.require import require_packages

BOARDS = dashboards()
PANELS = [
    pytest.param(panel, id=f"{board['uid']}/{panel['id']}-{panel['title']}")
    for board in BOARDS.values()
    for panel in panels(board)
]


def test_there_are_three_dashboards() -> None:
    assert {board["title"] for board in BOARDS.values()} == {"Cost and tokens", "Agents", "Telemetry health"}


def test_the_files_are_what_the_code_makes() -> None:
    require_packages("grafana_foundation_sdk")
    from dashboards.__main__ import HERE, generated

    for name, text in generated().items():
        assert (HERE / name).read_text(encoding="utf-8") == text, f"{name}: run python -m dashboards"
    assert {path.name for path in HERE.glob("*.json")} | {"alerts.yml"} == set(generated())


@pytest.mark.parametrize("file", sorted(BOARDS))
def test_a_dashboard_has_variables_links_and_panels_that_do_not_overlap(file: str) -> None:
    board = BOARDS[file]
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert {"datasource", "service", "langfuse"} <= variables.keys()
    used = set(re.findall(r"\$\{?(\w+)", str(board["panels"]) + str(board["links"])))
    builtin = {"__range", "__interval", "__rate_interval"}
    assert used - builtin == variables.keys()
    assert [link["url"] for link in board["links"] if link["type"] == "link"] == ["${langfuse}/traces"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in board["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["id"] > 0
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGHIJ"[: len(panel["targets"])])
    defaults = panel["fieldConfig"]["defaults"]
    units = {override["matcher"]["options"] for override in panel["fieldConfig"]["overrides"]}
    if panel["type"] == "table":
        renamed = panel["transformations"][1]["options"]["renameByName"]
        several = len(panel["targets"]) > 1
        for target in panel["targets"]:
            assert renamed[f"Value #{target['refId']}" if several else "Value"] == target["legendFormat"]
        assert units == {target["legendFormat"] for target in panel["targets"]}
    else:
        assert defaults["unit"] in {"currencyUSD", "short", "s", "percentunit"}
    if panel["type"] != "stat":
        assert defaults["links"][0]["url"] == "${langfuse}/traces"


def test_numbers_that_have_an_alert_have_its_thresholds() -> None:
    limits = {
        panel["title"]: [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]][-1]
        for board in BOARDS.values()
        for panel in panels(board)
        if panel["type"] == "stat"
    }
    alerts = {"Last hour": 10, "Failed LLM calls": 0.05, "p95 of a call": 30, "Waiting on disk": 10_000}
    assert {title: limits[title] for title in alerts} == alerts


def test_latency_panels_have_points_that_lead_to_traces() -> None:
    with_points = {
        panel["title"]
        for panel in panels(BOARDS["agents.json"])
        if any(target["exemplar"] for target in panel["targets"])
    }
    assert with_points == {
        "Duration of runs",
        "Duration of LLM calls",
        "Time to the first chunk",
        "Time per chunk",
        "Duration of tool calls",
    }

"""What Grafana does with a dashboard before it asks Prometheus: the panels, and their expressions without variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

DIRECTORY: Final = Path(__file__).parents[2] / "dashboards"
ALERTS: Final = DIRECTORY / "alerts.yml"


@dataclass(frozen=True, slots=True)
class Target:
    """One query of one panel.

    Attributes:
        dashboard: The dashboard's title.
        panel: The panel's title.
        column: The name of the query: a legend, or a table's column.
        expr: With variables.
        over_time: True for a range query.
        exemplars: True where points lead to traces.
    """

    dashboard: str
    panel: str
    column: str
    expr: str
    over_time: bool
    exemplars: bool

    def __str__(self) -> str:
        return f"{self.dashboard}/{self.panel}/{self.column}"


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards of the folder, by file name."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))}


def panels(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The panels of a dashboard that show something, rows left out."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            assert not panel["panels"], "rows are open"
        else:
            yield panel


def targets() -> list[Target]:
    """Every query of every panel of every dashboard."""
    return [
        Target(
            dashboard["title"],
            panel["title"],
            "" if target["legendFormat"] == "__auto" else target["legendFormat"],
            target["expr"],
            target["range"],
            target["exemplar"],
        )
        for dashboard in dashboards().values()
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def interpolated(expression: str, window: str, **chosen: str) -> str:
    """An expression as Grafana sends it.

    Args:
        expression: With variables.
        window: What a time range, a step and a rate's interval are, all the same.
        chosen: Values of variables; "All" of those that are not named.
    """
    values = {"__range": window, "__interval": window, "__rate_interval": window}
    return re.sub(r"\$(\w+)", lambda found: values.get(found[1]) or chosen.get(found[1], ".*"), expression)

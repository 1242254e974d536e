"""Writes the dashboards' JSON and the alerts beside this file."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import agents, cost, health
from dashboards.alerts import alerts
from dashboards.rule_file import rule_file

HERE = Path(__file__).parent


def generated() -> Mapping[str, str]:
    """The text of each generated file, by its name in this directory."""
    return {
        "cost-and-tokens.json": _text(cost.dashboard()),
        "agents.json": _text(agents.dashboard()),
        "telemetry-health.json": _text(health.dashboard()),
        "alerts.yml": rule_file(alerts()),
    }


def main() -> None:
    """Writes all files."""
    for name, text in generated().items():
        (HERE / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{HERE / name}\n")


def _text(dashboard: Dashboard) -> str:
    return json.dumps(dashboard, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()

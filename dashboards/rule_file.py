"""The alerts as a rule file of Prometheus."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dashboards.alerts import Alert

_HEAD = """\
# Alerts for Prometheus: name this file in `rule_files`. Written by `python -m dashboards` from dashboards/alerts.py;
# dashboards/README.md says how to change it. `action` says what to do.
groups:
  - name: looopy-otel
    rules:
"""


def rule_file(alerts: Sequence[Alert]) -> str:
    """The text of the file."""
    return _HEAD + "\n".join(_rule(alert) for alert in alerts)


def _rule(alert: Alert) -> str:
    expression = "\n".join(f"          {line}" for line in alert.expr.splitlines())
    notes = {"summary": alert.summary, "description": alert.description, "action": alert.action}
    annotations = "\n".join(f"          {name}: {_quoted(text)}" for name, text in notes.items())
    return (
        f"      - alert: {alert.name}\n"
        f"        expr: |\n{expression}\n"
        f"        for: {alert.hold}\n"
        f"        labels:\n          severity: {alert.severity}\n"
        f"        annotations:\n{annotations}\n"
    )


def _quoted(text: str) -> str:
    # A JSON string is a YAML string.
    return json.dumps(text, ensure_ascii=False)

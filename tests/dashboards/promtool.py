"""Rules and expressions, tried by promtool on made-up series."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.prometheus import run_promtool


def try_rules(directory: Path, tests: Sequence[Mapping[str, Any]], rule_files: Sequence[Path] = ()) -> None:
    """Runs unit tests of promtool.

    Args:
        directory: Where the file of the tests is written.
        tests: As in https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/.
        rule_files: The rules that the tests are about.

    Raises:
        AssertionError: If a test fails; the message is promtool's.
    """
    path = directory / "tests.yml"
    content = {"rule_files": [str(file) for file in rule_files], "evaluation_interval": "1m", "tests": list(tests)}
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    done = run_promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def expect(expression: str, at: str, samples: Mapping[str, float]) -> dict[str, Any]:
    """One test of an expression: its value at a time, by labels as they are written."""
    return {
        "expr": expression,
        "eval_time": at,
        "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()],
    }

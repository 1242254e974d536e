"""A real Prometheus on loopback that scrapes what a test says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from tests.support.child_process import ChildProcess, cache_directory, free_ports
from tests.support.require import ENVIRONMENT, absent

DEFAULT_TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an instant query with its value.

    Attributes:
        labels: All labels; ``__name__`` where the query kept it.
        value: What the series is now.
    """

    labels: dict[str, str]
    value: float


class Prometheus(ChildProcess):
    """Prometheus with an empty database; starts in a ``with`` block or by `start`.

    Args:
        directory: An empty directory for its files.
        targets: ``host:port`` of what it scrapes each second at ``/metrics``, labels honoured.
        rule_files: Files with rules and alerts, evaluated each second.
    """

    def __init__(self, directory: Path, targets: Sequence[str], rule_files: Sequence[Path] = ()) -> None:
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rule_files],
            "scrape_configs": [
                {"job_name": "collector", "honor_labels": True, "static_configs": [{"targets": list(targets)}]}
            ],
        }
        path = directory / "prometheus.yml"
        path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
        command = [
            find_prometheus(),
            f"--config.file={path}",
            f"--storage.tsdb.path={directory / 'tsdb'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--enable-feature=exemplar-storage",
        ]
        super().__init__("prometheus", command, directory, {}, f"{self.url}/-/ready")

    def query(self, expression: str) -> list[Sample]:
        """Runs an instant query; an expression that Prometheus refuses raises with its reason."""
        return [
            Sample(series["metric"], float(series["value"][1]))
            for series in self._get("query", query=expression)["result"]
        ]

    def wait_for(self, expression: str, series: int = 1, timeout: float = DEFAULT_TIMEOUT) -> list[Sample]:
        """Repeats an instant query until it returns so many series at least.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while len(found := self.query(expression)) < series:
            assert time.monotonic() < deadline, f"{expression}: {len(found)} of {series} series; {self.names()}"
            time.sleep(0.1)  # a scrape offers nothing to wait on
        return found

    def names(self) -> list[str]:
        """The names of all metrics that have been scraped."""
        response = httpx.get(f"{self.url}/api/v1/label/__name__/values", trust_env=False)
        return response.raise_for_status().json()["data"]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """The exemplars of the last hour, each with ``labels``, ``value`` and ``timestamp``."""
        now = time.time()
        found = self._get("query_exemplars", query=expression, start=str(now - 3600), end=str(now + 60))
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def wait_for_exemplars(self, expression: str, timeout: float = DEFAULT_TIMEOUT) -> list[dict[str, Any]]:
        """Repeats `exemplars` until there is one.

        Raises:
            AssertionError: If none came within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not (found := self.exemplars(expression)):
            assert time.monotonic() < deadline, f"{expression}: no exemplar"
            time.sleep(0.1)  # a scrape offers nothing to wait on
        return found

    def _get(self, path: str, **parameters: str) -> Any:
        response = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False)
        answer: dict[str, Any] = response.json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]


def check_config(path: Path) -> subprocess.CompletedProcess[str]:
    """Lets promtool say whether a configuration of Prometheus is right."""
    return run_promtool("check", "config", str(path))


def run_promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs promtool; its exit code is 0 when all is well."""
    return subprocess.run([find_promtool(), *arguments], capture_output=True, text=True, timeout=60, check=False)


def find_prometheus() -> str:
    """Where Prometheus is: ``LOOOPY_OTEL_PROMETHEUS_BIN``, else PATH, else what ``tests/collector/prometheus`` got.

    Skips the test where it is in none of these, or fails it where a Prometheus is required.
    """
    return _find("prometheus", ENVIRONMENT.get("LOOOPY_OTEL_PROMETHEUS_BIN"))


def find_promtool() -> str:
    """Where promtool is: beside ``LOOOPY_OTEL_PROMETHEUS_BIN``, else on PATH, else beside the unpacked Prometheus."""
    server = ENVIRONMENT.get("LOOOPY_OTEL_PROMETHEUS_BIN")
    return _find("promtool", str(Path(server).with_name("promtool")) if server else None)


def _find(program: str, said: str | None) -> str:
    on_path = shutil.which(program, path=ENVIRONMENT.get("PATH"))
    unpacked = sorted(cache_directory().glob(f"prometheus-*/usr/bin/{program}"), key=os.path.getmtime)
    chosen = said or on_path or (str(unpacked[-1]) if unpacked else "")
    if not os.access(chosen, os.X_OK):
        absent("prometheus", f"no {program} found; run tests/collector/prometheus, or install Debian's prometheus")
    return chosen

"""A real OpenTelemetry Collector on loopback that runs the project's own collector-config.yaml."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.child_process import ChildProcess, cache_directory, free_ports
from tests.support.require import ENVIRONMENT, absent

CONFIG: Final = Path(__file__).parents[2] / "collector-config.yaml"
MANIFEST: Final = Path(__file__).parents[1] / "collector" / "manifest.yaml"
PUBLIC_KEY, SECRET_KEY = "pk-lf-collector", "sk-lf-collector"


class Collector(ChildProcess):
    """The collector with its configuration as it stands; only environment variables say where things are.

    It starts in a ``with`` block or by `start`, and keeps its addresses and its queue over restarts.

    Args:
        directory: An empty directory for its files.
        langfuse_url: Base URL of what stands for Langfuse.
        override: Configuration on top of the file, as a second ``--config``.
        variables: Environment variables besides.
    """

    def __init__(
        self,
        directory: Path,
        langfuse_url: str,
        override: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        grpc, http, health, prometheus, own = free_ports(5)
        self.grpc_endpoint = f"127.0.0.1:{grpc}"
        self.url = f"http://127.0.0.1:{http}"
        self.prometheus_address = f"127.0.0.1:{prometheus}"
        self.own_metrics_address = f"127.0.0.1:{own}"
        self.directory = directory / "collector-data"
        command = [find_collector(), "--config", str(CONFIG)]
        if override is not None:
            extra = directory / "override.yaml"
            extra.write_text(json.dumps(override), encoding="utf-8")  # JSON is YAML
            command += ["--config", str(extra)]
        environment = {
            "LANGFUSE_BASE_URL": langfuse_url,
            "LANGFUSE_PUBLIC_KEY": PUBLIC_KEY,
            "LANGFUSE_SECRET_KEY": SECRET_KEY,
            "LOOOPY_COLLECTOR_GRPC": self.grpc_endpoint,
            "LOOOPY_COLLECTOR_HTTP": f"127.0.0.1:{http}",
            "LOOOPY_COLLECTOR_HEALTH": f"127.0.0.1:{health}",
            "LOOOPY_COLLECTOR_PROMETHEUS": self.prometheus_address,
            "LOOOPY_COLLECTOR_OWN_METRICS_PORT": str(own),
            "LOOOPY_COLLECTOR_DIRECTORY": str(self.directory),
            "LOOOPY_COLLECTOR_RETRY": "100ms",
            **(variables or {}),
        }
        super().__init__("collector", command, directory, environment, f"http://127.0.0.1:{health}/")


def find_collector() -> str:
    """Where the collector is: ``LOOOPY_OTEL_COLLECTOR_BIN``, else what ``tests/collector/build`` made of the manifest.

    Skips the test where it is in neither place, or fails it where a collector is required.
    """
    manifest = MANIFEST.read_bytes()
    version = re.search(rb"^  version: (\S+)$", manifest, re.MULTILINE)
    assert version is not None
    key = hashlib.sha256(manifest).hexdigest()[:12]
    built = cache_directory() / f"otelcol-{version[1].decode()}-{key}" / "otelcol-looopy"
    chosen = ENVIRONMENT.get("LOOOPY_OTEL_COLLECTOR_BIN") or str(built)
    if not os.access(chosen, os.X_OK):
        absent("collector", f"{chosen} is not there; run tests/collector/build, or set LOOOPY_OTEL_COLLECTOR_BIN")
    return chosen


def validate(config: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Lets the collector say whether it takes a configuration."""
    command = [find_collector(), "validate", "--config", str(config)]
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=30, check=False)

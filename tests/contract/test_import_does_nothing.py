"""Importing has no effect: no thread, no OpenTelemetry, no command-line packages, no output."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROBE = """
import json, sys, threading
{statement}
BY_HTTPX = set() if "httpx" in sys.modules else {{"click", "rich"}}  # it loads them wherever they are installed
print(json.dumps({{
    "threads": threading.active_count(),
    "opentelemetry": sorted(m for m in sys.modules if m.startswith("opentelemetry"))[:3],
    "command_line": sorted({{"typer", "looopy_otel.cli", *BY_HTTPX}} & set(sys.modules)),
    "prices": "genai_prices" in sys.modules,
}}))
"""
NOTHING: dict[str, object] = {"threads": 1, "opentelemetry": [], "command_line": [], "prices": False}


def probe(statement: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE.format(statement=statement)],
        # Logfire, where it is installed, comes with pydantic as its plugin, and brings OpenTelemetry along.
        env={**os.environ, "PYDANTIC_DISABLE_PLUGINS": "__all__"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "import looopy_otel",
        "import looopy_otel; looopy_otel.session; looopy_otel.span; looopy_otel.current()",
        "import looopy_otel.semconv",
        "import looopy_otel.providers",
        "import looopy_otel.agent",
        "from looopy_otel.providers import LiteLLM; LiteLLM.gpt4('http://localhost:4000')",
    ],
)
def test_import_has_no_effect(statement: str) -> None:
    done = probe(statement)
    assert done.stderr == ""
    assert json.loads(done.stdout) == NOTHING


def test_configure_leaves_the_global_provider_alone() -> None:
    statement = (
        "import looopy_otel as lo, logging; from opentelemetry import trace;"
        "before = trace.get_tracer_provider(); handlers = list(logging.getLogger().handlers);"
        "lo.configure(exporters='none'); assert trace.get_tracer_provider() is before;"
        "assert logging.getLogger().handlers == handlers; assert threading.active_count() == 1"
    )
    done = probe(statement)
    assert done.stderr == ""
    assert json.loads(done.stdout)["threads"] == 1

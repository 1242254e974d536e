"""`configure(tracer_provider="global")` with what sets the global provider, before ours and after it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ["after", "agent.execute", "between", "llm.call"]
ALL = ["GET /", "SELECT", *OURS]
TOPS = ["after", "agent.execute"]

EXPECTED = {
    "plain": {"theirs": ALL, "ours": OURS, "roots": sorted(TOPS * 2)},
    "distro": {"theirs": ALL, "ours": OURS, "roots": sorted(TOPS * 2)},
    "logfire": {"theirs": ALL, "ours": OURS, "roots": TOPS},
    "langfuse": {"theirs": [*OURS, "observed", "ours inside"], "ours": [], "roots": [*TOPS, "observed"]},
    "langfuse_on_a_plain_one": {
        "theirs": [*OURS, "observed", "ours inside"],
        "ours": [],
        "roots": [*TOPS, "observed"],
    },
    "langfuse_of_another_project": {
        "theirs": [*OURS, "observed", "ours inside"],
        "ours": [*OURS, "ours inside"],
        "roots": sorted([*TOPS * 2, "observed", *["ours inside"] * 2]),
    },
    "not_the_sdk": {"theirs": [], "ours": OURS, "roots": TOPS},
    "never": {"theirs": [], "ours": OURS, "roots": TOPS},
}
NEEDED = {"distro": "opentelemetry.distro", "logfire": "logfire", "langfuse": "langfuse"}


def is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("order", ["first", "later"])
@pytest.mark.parametrize("name", EXPECTED)
def test_each_place_gets_each_span_once(name: str, order: str) -> None:
    package = NEEDED.get(name.partition("_")[0])
    if package is not None and not is_there(package):
        pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "tests.others.scenarios", name, order],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ("takes no processors" in done.stderr) is (name == "not_the_sdk")
    assert json.loads(done.stdout) == EXPECTED[name]

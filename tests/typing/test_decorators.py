"""Decorated functions keep their types, as pyright sees them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RIGHT = (Path(__file__).parent / "decorated.py").read_text(encoding="utf-8")
WRONG = """
from looopy_otel.instrument.decorators import trace_agent, trace_iteration, trace_llm, trace_tool
from looopy_otel.instrument.flush_after import flush_after
from looopy_otel.instrument.spans import agent_span, llm_span


@trace_agent
def sync(a: int, *, b: str = '') -> list[int]:
    return [a]


sync("a")  # wrong
sync(1, c=2)  # wrong
sync(1).append("a")  # wrong
trace_tool("name")  # wrong
trace_iteration(number="1")  # wrong
trace_llm(modell="gpt-4o")  # wrong
agent_span()  # wrong
llm_span("gpt-4o")  # wrong
flush_after(2.0)  # wrong
flush_after(timeout="2")  # wrong
"""
_REVEALED = re.compile(r'Type of ".*" is "(.*)"', re.DOTALL)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What pyright says of what is right and what is wrong."""
    place = tmp_path_factory.mktemp("pyright")
    (place / "right.py").write_text(RIGHT, encoding="utf-8")
    (place / "wrong.py").write_text(WRONG, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "right.py", "wrong.py"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=110)
    return json.loads(done.stdout)["generalDiagnostics"]


def marked(source: str, pattern: str) -> dict[int, str]:
    """Line numbers (from 0), with what the mark in them says."""
    return {number: found[1] for number, line in enumerate(source.splitlines()) if (found := re.search(pattern, line))}


def found_in(findings: list[dict[str, Any]], name: str, severity: str) -> dict[int, str]:
    return {
        one["range"]["start"]["line"]: one["message"]
        for one in findings
        if one["file"].endswith(name) and one["severity"] == severity
    }


def test_revealed_types(findings: list[dict[str, Any]]) -> None:
    revealed = found_in(findings, "right.py", "information")
    types = {line: found[1] for line, text in revealed.items() if (found := _REVEALED.fullmatch(text))}
    assert types == marked(RIGHT, r"reveal_type\(.*\)  # (.*)$")
    assert found_in(findings, "right.py", "error") == {}


def test_wrong_uses_are_refused(findings: list[dict[str, Any]]) -> None:
    assert found_in(findings, "wrong.py", "error").keys() == marked(WRONG, r"(# wrong)$").keys()

"""A place that takes no output: one line on standard error, no traceback, a failure's exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this platform has no /dev/full")
@pytest.mark.parametrize("arguments", [["demo"], ["--version"]])
def test_output_that_cannot_be_written(arguments: list[str]) -> None:
    with FULL.open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "looopy_otel", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["Error: the output cannot be written: No space left on device"]

"""Whatever the umask, what is written can be read by its owner alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os
os.umask({umask})
import looopy_otel as lo
telemetry = lo.configure(
    exporters=["otlp", "local"], otlp_endpoint="http://127.0.0.1:9", metrics="none", shutdown_timeout=1.0
)
with lo.agent_span("agent", input="hello"):
    with lo.llm_span(model="gpt-4", input="hello") as call:
        call.record(output="hello")
telemetry.flush(0.5)
"""


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777 & ~0o700])
def test_modes(isolated_environment: Path, umask: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(umask=umask)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    written = [path for path in isolated_environment.rglob("*") if "looopy-otel" in path.parts]
    modes = {path.relative_to(isolated_environment): stat.S_IMODE(path.stat().st_mode) for path in written}
    directories = {path: mode for path, mode in modes.items() if (isolated_environment / path).is_dir()}
    files = {path: mode for path, mode in modes.items() if path not in directories}
    assert set(directories.values()) == {0o700}, directories
    assert set(files.values()) == {0o600}, files
    assert {"traces.db"} <= {path.name for path in files}
    assert any(path.suffix == ".otlp" for path in files)

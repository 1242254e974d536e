"""A process that is killed loses nothing that is older than the batch delay."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.export.patience import until
from tests.faults.application import ROOT, deliver_what_is_left
from tests.support.fault_server import FaultServer, answering, healthy, resetting, stalling

DEATHS = 50
AT_ONCE = 5
DELAY = 0.2
MARGIN = 0.8
"""Seconds besides: on a busy machine the worker has to get its turn, and its batch has to be encoded."""
LONGEST_LIFE = 3.0


class Mortals:
    """Forks processes that make calls, and kills them."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def born(self, report: Path) -> int:
        """Has one begin; gives its pid once it has made its first call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{report}\n".encode())
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        until(lambda: report.exists() and report.stat().st_size > 0)
        return pid


@contextmanager
def mortals(url: str, spool: Path) -> Generator[Mortals]:
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
        "LOOOPY_OTEL_EXPORTERS": "otlp",
        "LOOOPY_OTEL_METRICS": "none",
        "LOOOPY_OTEL_SPOOL_DIR": str(spool),
        "LOOOPY_OTEL_EXPORT_DELAY": str(DELAY),
    }
    command = [sys.executable, "-m", "tests.faults.mortals"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield Mortals(process)
        finally:
            process.kill()


@contextmanager
def flapping(server: FaultServer) -> Generator[None]:
    """Lets the endpoint fail in one way after another, and be well in between; well at the end."""
    over = threading.Event()

    def flap() -> None:
        while not over.is_set():
            for fault in (healthy, answering(503), healthy, stalling, healthy, resetting):
                server.fault = fault
                if over.wait(0.3):
                    return

    thread = threading.Thread(target=flap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        server.fault = healthy


def reported(report: Path, before: float) -> set[str]:
    """The spans of calls that were over before a moment."""
    lines = (line.split() for line in report.read_text(encoding="ascii").splitlines() if line.count(" ") == 1)
    return {span_id for span_id, moment in lines if float(moment) < before}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_what_is_older_than_the_batch_delay_survives_kill_9(tmp_path: Path) -> None:
    moments = random.Random()
    old: set[str] = set()
    with FaultServer() as server:
        with flapping(server), mortals(server.url, tmp_path / "spool") as family:
            for generation in range(DEATHS // AT_ONCE):
                reports = [tmp_path / f"{generation}-{number}" for number in range(AT_ONCE)]
                living = [(family.born(report), report) for report in reports]
                ends = sorted(time.monotonic() + moments.uniform(0.0, LONGEST_LIFE) for _ in living)
                for (pid, report), end in zip(living, ends, strict=True):
                    time.sleep(max(0.0, end - time.monotonic()))
                    killed = time.monotonic()
                    os.kill(pid, signal.SIGKILL)
                    old |= reported(report, killed - DELAY - MARGIN)
        deliver_what_is_left(server.url, tmp_path / "spool")
        assert len(old) > 10 * DEATHS
        assert old - server.accepted.keys() == set()
        assert None not in {server.accepted[one] for one in old}
    assert list((tmp_path / "spool").rglob("*.otlp")) == []

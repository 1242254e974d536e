"""Does memory stay flat, and is every span accounted for, while the backend comes and goes for minutes?

``python -m benchmarks.soak --seconds 600 --rate 2000`` prints a table and ends with 1 where it is not so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.fault_server import Fault, FaultServer, answering, healthy, resetting, stalling

ROOT = Path(__file__).parents[1]
MIB = 1024 * 1024
MOST_GROWTH = 10 * MIB
"""What resident memory may grow by after the beginning: the allocator's own unrest."""


def main() -> int:
    """Runs the soak; gives the exit code."""
    parser = argparse.ArgumentParser(description="Memory and counts under load with a flapping backend.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--rate", type=float, default=2000.0, help="spans per second")
    parser.add_argument("--characters", type=int, default=500, help="of content per span")
    parser.add_argument("--warm-up", type=float, default=60.0, help="seconds before memory has to be flat")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as spool, FaultServer() as server:
        with running(server.url, spool, options.rate, options.characters) as process:
            with flapping(server, max(1.0, min(10.0, options.seconds / 20))):
                samples = watched(process.pid, server, options.seconds)
            first = asked(process)
            last = asked(process)
            code = process.wait(60.0)
    return judged(samples, options.warm_up, first, last, len(server.accepted), code)


@contextmanager
def running(url: str, spool: str, rate: float, characters: int) -> Generator[subprocess.Popen[bytes]]:
    """The process under load."""
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
        "LOOOPY_OTEL_EXPORTERS": "otlp",
        "LOOOPY_OTEL_SPOOL_DIR": spool,
    }
    command = [sys.executable, "-m", "benchmarks.load", str(rate), str(characters)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def flapping(server: FaultServer, seconds: float) -> Generator[None]:
    """Lets the backend be well, and then fail in one way after another; well at the end."""
    over = threading.Event()

    def flap() -> None:
        faults: tuple[Fault | None, ...] = (
            healthy,
            answering(503),
            healthy,
            None,
            healthy,
            stalling,
            healthy,
            resetting,
        )
        while not over.is_set():
            for fault in faults:
                if fault is None:
                    server.stop_listening()
                else:
                    server.fault = fault
                over.wait(seconds)
                if fault is None:
                    server.listen()
                if over.is_set():
                    break

    thread = threading.Thread(target=flap, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        server.fault = healthy


def watched(pid: int, server: FaultServer, seconds: float) -> list[tuple[float, int]]:
    """Resident bytes of a process once a second; prints some of them."""
    print(f"{'seconds':>8} {'resident MiB':>13} {'arrived':>10}", flush=True)
    samples: list[tuple[float, int]] = []
    start = time.monotonic()
    shown = 0.0
    while (now := time.monotonic() - start) < seconds:
        samples.append((now, resident(pid)))
        if now >= shown:
            print(f"{now:8.0f} {samples[-1][1] / MIB:13.1f} {len(server.accepted):10d}", flush=True)
            shown += max(seconds / 20, 1.0)
        time.sleep(1.0)
    return samples


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found is not None, "the process under load has ended"
    return int(found[1]) * 1024


def asked(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Has the process go on, and reads what it tells."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def judged(
    samples: list[tuple[float, int]],
    warm_up: float,
    first: dict[str, Any],
    last: dict[str, Any],
    arrived: int,
    code: int,
) -> int:
    """Prints what came of it; gives the exit code."""
    flat = [size for now, size in samples if now >= warm_up]
    third = max(len(flat) // 3, 1)
    growth = statistics.median(flat[-third:]) - statistics.median(flat[:third])
    lost = sum(last["dropped"].values())
    print(f"at the end of the load: {first}\nafter recovery:         {last}")
    print(
        f"{last['made'] / samples[-1][0]:.0f} spans/s made; {arrived} distinct spans arrived, {lost} counted as dropped"
    )
    print(f"resident memory grew by {growth / MIB:.1f} MiB after {warm_up:.0f} s; peak {max(flat) / MIB:.1f} MiB")
    complaints = {
        "memory is not flat": growth > MOST_GROWTH,
        "spans are unaccounted for": last["made"] != arrived + lost,
        "there were internal errors": bool(last["errors"]),
        f"it ended with {code}": code != 0,
    }
    for complaint in (text for text, is_so in complaints.items() if is_so):
        print(f"FAILED: {complaint}")
    return int(any(complaints.values()))


if __name__ == "__main__":
    sys.exit(main())

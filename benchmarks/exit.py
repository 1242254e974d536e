"""How long does a process take to end, how far does it grow, and what is lost, when the backend is dead?

``python -m benchmarks.exit`` makes 5,000 LLM calls of 20,000 characters for a backend that refuses connections, and for
one that accepts them and never answers; then the backend recovers, and a second process delivers what is left.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults.application import Application, deliver_what_is_left
from tests.support.fault_server import FaultServer, deaf, healthy

MIB = 1024 * 1024


def main() -> int:
    """Measures both backends; gives 1 when anything was lost, 0 otherwise."""
    parser = argparse.ArgumentParser(description="Exit with a dead backend.")
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--characters", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{options.calls} calls of {options.characters} characters")
    print(f"{'backend':>14} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'loop s':>7} {'exit s':>7} growth/MiB lost")
    lost = [measured(backend, options.calls, options.characters) for backend in ("refuses", "never answers")]
    return int(any(lost))


def measured(backend: str, calls: int, characters: int) -> int:
    """Prints a line for one backend; gives how many spans or contents were lost."""
    with FaultServer(deaf) as server, tempfile.TemporaryDirectory() as spool:
        if backend == "refuses":
            server.stop_listening()
        with Application(server.url, Path(spool), delay=1.0, timeout=10.0, shutdown_timeout=5.0) as application:
            application.calls(20)
            resident = application.memory(restart=True)["resident"]
            made = application.calls(calls, characters)
            growth = application.memory()["peak"] - resident
            exit_seconds = application.exit()
        if backend == "refuses":
            server.listen()
        server.fault = healthy
        deliver_what_is_left(server.url, Path(spool))
        lost = sum(server.accepted.get(one) is None for one in made.ids)
    p50, p99, most = (made.quantile(share) * 1e3 for share in (0.5, 0.99, 1.0))
    times = f"{p50:8.3f} {p99:8.3f} {most:8.1f} {sum(made.seconds):7.2f} {exit_seconds:7.2f}"
    print(f"{backend:>14} {times} {growth / MIB:10.1f} {lost}")
    return lost


if __name__ == "__main__":
    sys.exit(main())

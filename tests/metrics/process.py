"""A small program whose calls are measured; run as a process of its own, to fork, or to end.

``python -m tests.metrics.process MODE URL``.
"""

from __future__ import annotations

import atexit
import os
import sys

import looopy_otel as lo
from tests.metrics.workload import ask


def forked(url: str) -> None:
    """Three calls before the fork, two in the child, one more in the parent."""
    telemetry = lo.configure(exporters="none", metrics="otlp", otlp_endpoint=url)
    for _ in range(3):
        ask()
    telemetry.flush()
    child = os.fork()
    if child == 0:
        ask()
        ask()
        telemetry.shutdown(20.0)
        os._exit(0)
    ask()
    os.waitpid(child, 0)
    telemetry.shutdown(20.0)


def forked_with_port(url: str) -> None:
    """The child outlives the parent, which held a port for Prometheus."""
    lo.configure(exporters="none", metrics="prometheus")
    ask()
    if os.fork() == 0:
        ask()
        print("forked", flush=True)
        sys.stdin.read()
    os._exit(0)


def exiting(url: str) -> None:
    """Ends without a flush."""
    lo.configure(exporters="none", metrics="otlp", otlp_endpoint=url)
    ask()


def first_call_at_exit(url: str) -> None:
    """Makes its first call when the interpreter is already shutting down."""
    atexit.register(lambda: lo.configure(exporters="none", metrics="otlp", otlp_endpoint=url).shutdown())
    atexit.register(_late, url)


def _late(url: str) -> None:
    lo.configure(exporters="none", metrics="otlp", otlp_endpoint=url)
    ask()


if __name__ == "__main__":
    MODES = {function.__name__: function for function in (forked, forked_with_port, exiting, first_call_at_exit)}
    MODES[sys.argv[1]](sys.argv[2])

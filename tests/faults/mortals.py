"""Processes to be killed: ``python -m tests.faults.mortals`` forks one for each line that it reads.

A line is the path of a report. The forked process makes traced calls without end, and writes for each a line into its
report once the call is over: its span id and the time, in seconds of the monotonic clock that all processes share.
The parent, which traces nothing, only saves the time that imports take; it answers each line with the child's pid.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import NoReturn

from opentelemetry.trace import get_current_span

import looopy_otel as lo
from tests.support.fault_server import numbered_content

CHARACTERS = 2000
PAUSE = 0.004


def live(report: str) -> NoReturn:
    """Makes calls until it is killed."""
    lo.configure()
    file = os.open(report, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while True:
        number += 1
        with lo.llm_span(model="gpt-4o", input=numbered_content(number, CHARACTERS)) as call:
            call.record(output="yes")
            span_id = get_current_span().get_span_context().span_id
        os.write(file, f"{span_id:016x} {time.monotonic():.6f}\n".encode())
        time.sleep(PAUSE)


def main() -> None:
    """Forks on command."""
    # Whoever kills a child need not tell this process; nor does a dead child stay a zombie.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _ = lo.llm_span, lo.configure
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live(line.strip())
        print(pid, flush=True)


if __name__ == "__main__":
    main()

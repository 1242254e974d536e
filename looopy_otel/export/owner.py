"""Who owns a spool directory: a process, by its number and its start, so that a number used again proves nothing."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

UNKNOWN_START = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """One process.

    Attributes:
        pid: Its number.
        started: Its start in clock ticks since boot; `UNKNOWN_START` where the platform does not tell.
    """

    pid: int
    started: int

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(pid, _start(pid) or UNKNOWN_START)

    def is_alive(self) -> bool:
        """False only when the process has surely ended."""
        if Path("/proc/self/stat").exists():
            return _start(self.pid) == self.started
        if sys.platform == "win32":
            # There, signal 0 would end the process; without another proof every owner counts as alive.
            return True
        return _answers(self.pid)


def _start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process that runs; None for zombies and where /proc is missing."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command in parentheses may itself contain blanks and parentheses: proc_pid_stat(5).
    fields = text.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in "ZXx" else int(started)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

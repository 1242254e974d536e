"""Who owns a spool directory: a process, by its number and its start, in the realm where these mean something."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

UNKNOWN_START: Final = 0
SILENT_SECONDS: Final = 600.0
"""Seconds without a heartbeat after which an owner that cannot be seen from here counts as ended."""

_NAME = re.compile(r"(\d{1,10})-(\d{1,20})(?:@([0-9a-f]{12}))?\.(\d{1,20})")


@dataclass(frozen=True, slots=True)
class Owner:
    """One process.

    Attributes:
        pid: Its number.
        started: Its start in clock ticks since boot; `UNKNOWN_START` where the platform does not tell.
        realm: Where the two mean something: this boot of this host, and this namespace of process numbers. Containers
            that share a volume have different ones. Empty in names of earlier versions, which belong to this one.
    """

    pid: int
    started: int
    realm: str = ""

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(pid, _start(pid) or UNKNOWN_START, _realm())

    @classmethod
    def of(cls, directory: Path) -> Owner | None:
        """The owner that a directory is named after; None for a directory that is no outbox's."""
        match = _NAME.fullmatch(directory.name)
        return None if match is None else cls(int(match[1]), int(match[2]), match[3] or "")

    def directory_name(self, number: int) -> str:
        """The name of this owner's directory with that number."""
        return f"{self.pid}-{self.started}@{self.realm}.{number}"

    def answers_for(self, directory: Path) -> bool:
        """False only when the process has surely ended, or has long not touched a directory that we only see."""
        if self.realm in ("", _realm()):
            return self.is_alive()
        try:
            return abs(time.time() - directory.stat().st_mtime) < SILENT_SECONDS
        except FileNotFoundError:
            return False
        except OSError:
            return True

    def is_alive(self) -> bool:
        """False only when the process, which is one of this realm, has surely ended."""
        if Path("/proc/self/stat").exists():
            return _start(self.pid) in (self.started, UNKNOWN_START)
        if sys.platform == "win32":
            # There, signal 0 would end the process; without another proof every owner counts as alive.
            return True
        return _answers(self.pid)


@cache
def _realm() -> str:
    parts = [platform.node()]
    for read in (lambda: Path("/proc/sys/kernel/random/boot_id").read_text(), lambda: os.readlink("/proc/self/ns/pid")):
        try:
            parts.append(read().strip())
        except OSError:
            parts.append("")
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _start(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process that runs; None for zombies and for those that are gone.

    `UNKNOWN_START` where it exists and does not tell, or /proc is missing.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    except OSError:
        return UNKNOWN_START
    # The command in parentheses may itself contain blanks and parentheses: proc_pid_stat(5).
    fields = text.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return None if state in "ZXx" else int(started)


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True

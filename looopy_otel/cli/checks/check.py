"""One thing that was tried, and how it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from looopy_otel.export.deadline import remaining, run_until

Status = Literal["ok", "warning", "failed", "skipped"]

STEPS: Final = ("address", "tcp", "tls", "path", "auth", "clock", "size", "probe", "read back")
"""What is tried at a backend, in this order; a step that fails keeps the later ones from being tried."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        step: What was tried, in a word or two.
        status: How it went; a warning is nothing that keeps spans from arriving.
        detail: What was seen, with figures, in one line without secrets.
        cause: The likely cause and what to do about it; empty where all is well.
        link: Where to look at what was sent; empty where there is no such place.
    """

    step: str
    status: Status
    detail: str
    cause: str = ""
    link: str = ""


def failed(checks: list[Check]) -> bool:
    """True when something failed."""
    return any(check.status == "failed" for check in checks)


def skipped(after: str, steps: tuple[str, ...] = STEPS) -> Iterator[Check]:
    """Says of the steps after a failed one that they were not tried."""
    for step in steps[steps.index(after) + 1 :]:
        yield Check(step, "skipped", f"not tried: {after} failed")


def sooner(deadline: float, seconds: float) -> float:
    """The deadline of one step: so many seconds from now, or that of all where it is sooner."""
    return min(deadline, time.monotonic() + seconds)


def within(deadline: float, work: Callable[[], None]) -> bool:
    """Runs `work`, which may know no deadline, on a thread; False where it was not done in time."""
    return remaining(deadline) > 0 and run_until(deadline, work)


def milliseconds(since: float) -> str:
    """The time since a moment of `time.monotonic`, for people."""
    return f"{(time.monotonic() - since) * 1000:.0f} ms"

"""One thing that was tried, and how it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
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


def skipped(after: str, steps: tuple[str, ...] = STEPS) -> Iterator[Check]:
    """Says of the steps after a failed one that they were not tried."""
    for step in steps[steps.index(after) + 1 :]:
        yield Check(step, "skipped", f"not tried: {after} failed")


def sooner(deadline: float, seconds: float) -> float:
    """The deadline of one step: so many seconds from now, or that of all where it is sooner."""
    return min(deadline, time.monotonic() + seconds)


def within(deadline: float, work: Callable[[], None]) -> bool:
    """Runs `work`, which may know no deadline, on a thread; False where it was not done in time.

    Raises:
        Exception: What the work raised.
    """
    attempt = Attempt()

    def tried() -> None:
        with attempt:
            work()

    done = remaining(deadline) > 0 and run_until(deadline, tried)
    if done and attempt.error is not None:
        raise attempt.error
    return done


class Attempt:
    """``with Attempt() as attempt: …`` keeps the exception that is raised inside in `attempt.error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        self.error = error if isinstance(error, Exception) else None
        return self.error is not None


def completed(checks: Iterator[Check]) -> Iterator[Check]:
    """The checks, with a failed one at the end in place of an exception that nobody has foreseen.

    What the exception says is left out: it may quote a secret.
    """
    while True:
        check = None
        with Attempt() as attempt:
            check = next(checks, None)
        if attempt.error is not None:
            kind, place = type(attempt.error).__name__, _place(attempt.error)
            cause = f"this check itself has failed ({kind} in {place}): a fault of looopy-otel, please report it"
            yield Check("check", "failed", kind, cause)
        if check is None:
            return
        yield check


def _place(error: Exception) -> str:
    """Where it was raised, in the last line of ours."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__) if "looopy_otel" in frame.f_code.co_filename]
    return f"{Path(frames[-1].f_code.co_filename).name}, {frames[-1].f_code.co_name}" if frames else "a library"


def milliseconds(since: float) -> str:
    """The time since a moment of `time.monotonic`, for people."""
    return f"{(time.monotonic() - since) * 1000:.0f} ms"

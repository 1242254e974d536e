"""Keeps deadlines around code that knows none."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final, cast

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard

LONGEST: Final = 7 * 86_400.0
"""Seconds that anything is waited for, at most: locks of the platform take no endless ones."""


def seconds_of(timeout: object, *, default: float) -> float:
    """A timeout that can be waited for, of whatever somebody has given as one.

    Args:
        timeout: Seconds; below 0 is 0, endless is `LONGEST`, and what is no number is `default`.
        default: Seconds.
    """
    try:
        seconds = float(cast("float", timeout))
    except OverflowError:
        return LONGEST
    except (TypeError, ValueError):
        return default
    return default if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST)


def remaining(deadline: float) -> float:
    """Seconds until `deadline` (a value of `time.monotonic`); 0.0 when it has passed."""
    return max(0.0, deadline - time.monotonic())


def run_until(deadline: float, work: Callable[[], object]) -> bool:
    """Runs `work` on a thread of its own and waits for it until `deadline`; late work goes on alone.

    During interpreter shutdown, when no thread may start, it runs here, without a deadline.

    Returns:
        True when it was done in time.
    """
    thread = threading.Thread(target=work, name="looopy-otel-deadline", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        work()
        return True
    thread.join(remaining(deadline))
    return not thread.is_alive()


class Halt:
    """Brings a thread to a halt for good, at a point of its own choice."""

    def __init__(self) -> None:
        self._asked = False
        self._reached = threading.Event()

    def ask(self, seconds: float) -> bool:
        """Asks the thread to halt, and waits so long for it.

        Returns:
            True when it has halted.
        """
        self._asked = True
        return self._reached.wait(seconds)

    def step(self) -> None:
        """Called by the thread where it may halt."""
        if self._asked:
            self._reached.set()
            threading.Event().wait()


class Standby:
    """A thread that is started while threads may be, for one piece of work later, when none may start any more."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._called = threading.Event()
        self._work: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread, unless it waits already.

        Raises:
            RuntimeError: If no thread may start any more.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="looopy-otel-close", daemon=True)
            thread.start()
            self._thread = thread

    def run_until(self, deadline: float, work: Callable[[], object]) -> bool:
        """Runs `work` on the thread and waits for it until `deadline`; here, where the thread was never started.

        Returns:
            True when it was done in time.
        """
        if self._thread is None:
            return run_until(deadline, work)
        self._work = work
        self._called.set()
        self._thread.join(remaining(deadline))
        return not self._thread.is_alive()

    def _run(self) -> None:
        self._called.wait()
        if self._work is not None:
            with guard("export.close"):
                self._work()

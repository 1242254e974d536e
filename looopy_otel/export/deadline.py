"""Keeps deadlines around code that knows none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


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

"""How tests wait: for something to become true, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0
"""Seconds after which a test stops waiting."""


def soon() -> float:
    """A deadline that is far enough away on a busy machine."""
    return time.monotonic() + PATIENCE


def until(met: Callable[[], bool]) -> None:
    """Waits until it is met."""
    deadline = soon()
    while not met():
        assert time.monotonic() < deadline, "not met in time"
        time.sleep(0.005)

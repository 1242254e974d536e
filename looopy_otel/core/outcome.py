"""How a call ended, by what was raised in it."""

from __future__ import annotations

import asyncio

from looopy_otel.core.types import CallOutcome

CANCELLATIONS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)
INTERRUPTIONS = (*CANCELLATIONS, GeneratorExit)
"""What ends an operation without being a failure of it."""


def outcome_of(error: BaseException | None) -> CallOutcome:
    """The outcome of an LLM call in which this was raised; ``completed`` for None."""
    if error is None:
        return "completed"
    if isinstance(error, GeneratorExit):
        return "abandoned"
    if isinstance(error, CANCELLATIONS):
        return "cancelled"
    # A stream that broke off before anything came has no partial response to say so.
    return "truncated" if getattr(error, "truncated", False) is True else "error"

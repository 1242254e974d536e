"""How a call ended, by what was raised in it."""

from __future__ import annotations

import asyncio
from typing import cast

from looopy_otel.core.types import CallOutcome

INTERRUPTIONS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
"""What ends an operation without being a failure of it."""


def is_interruption(error: BaseException) -> bool:
    """True for what ends an operation without being a failure of it, and for a group of nothing else."""
    return _is_only(error, INTERRUPTIONS)


def _is_only(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_only(part, kinds) for part in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    return isinstance(error, kinds)


def outcome_of(error: BaseException | None) -> CallOutcome:
    """The outcome of an LLM call in which this was raised; ``completed`` for None."""
    if error is None:
        return "completed"
    if _is_only(error, (GeneratorExit,)):
        return "abandoned"
    if is_interruption(error):
        return "cancelled"
    # A stream that broke off before anything came has no partial response to say so.
    return "truncated" if getattr(error, "truncated", False) is True else "error"

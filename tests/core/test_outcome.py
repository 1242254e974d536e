"""What was raised, and how the operation in which it was raised ended."""

from __future__ import annotations

import asyncio

import pytest

from looopy_otel.core.outcome import is_interruption, outcome_of
from looopy_otel.core.types import CallOutcome


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BaseExceptionGroup("stop", [KeyboardInterrupt()]), "cancelled"),
        (BaseExceptionGroup("tasks", [asyncio.CancelledError(), BaseExceptionGroup("", [SystemExit()])]), "cancelled"),
        (BaseExceptionGroup("closed", [GeneratorExit(), GeneratorExit()]), "abandoned"),
        (BaseExceptionGroup("both", [GeneratorExit(), asyncio.CancelledError()]), "cancelled"),
    ],
)
def test_a_group_of_interruptions_alone_is_one(error: BaseException, outcome: CallOutcome) -> None:
    assert is_interruption(error)
    assert outcome_of(error) == outcome


def test_a_group_with_a_failure_in_it_is_a_failure() -> None:
    error = BaseExceptionGroup("tasks", [asyncio.CancelledError(), ValueError("wrong")])
    assert not is_interruption(error)
    assert outcome_of(error) == "error"

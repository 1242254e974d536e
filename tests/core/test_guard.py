"""The guard around our own code: what it swallows, and what it logs of that."""

from __future__ import annotations

import pytest

from looopy_otel.core.guard import guard


class Awkward(Exception):
    """An exception that can be neither asked nor printed."""

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    def __str__(self) -> str:
        raise ValueError("unprintable")


def test_an_exception_that_cannot_be_printed_is_swallowed_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "raising", False)
    for _ in range(2):
        with guard("test.awkward"):
            raise Awkward
    assert guard.faults["test.awkward"] == 2

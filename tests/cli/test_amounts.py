"""Amounts as people read them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from looopy_otel.cli.amounts import cost_text, duration_text, moment_iso, usage_text
from looopy_otel.core.usage import Usage


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1.0, "0.0 ms"),
        (0.0, "0.0 ms"),
        (0.0004, "0.4 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.0254, "25 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (1.236, "1.24 s"),
        (59.994, "59.99 s"),
        (59.996, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("cost", "text"),
    [
        ("0", "$0.00"),
        ("0.0068", "$0.0068"),
        ("0.00675", "$0.0068"),
        ("0.001", "$0.0010"),
        ("0.000999", "$0.0010"),
        ("0.00012345", "$0.00012"),
        ("0.0000000051", "$0.0000000051"),
        ("0.99999", "$1.00"),
        ("1", "$1.00"),
        ("1234.567", "$1,234.57"),
    ],
)
def test_costs(cost: str, text: str) -> None:
    assert cost_text(Decimal(cost)) == text


def test_tokens_as_in_langfuse() -> None:
    assert usage_text(Usage(150, 75)) == "150 → 75 (225 total)"


def test_token_parts_that_are_known_and_not_zero() -> None:
    usage = Usage(12_000, 345, cache_read_tokens=9_000, cache_write_tokens=0, reasoning_tokens=300)
    assert usage_text(usage) == "12,000 → 345 (12,345 total, 9,000 cached, 300 reasoning)"


def test_moments_keep_microseconds() -> None:
    assert moment_iso(1_730_000_000_123_456_789) == "2024-10-27T03:33:20.123456+00:00"

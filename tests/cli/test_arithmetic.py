"""The demo's calculator computes arithmetic and nothing else."""

from __future__ import annotations

import pytest

from looopy_otel.cli.arithmetic import LONGEST_EXPRESSION, evaluate


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("15 * 23 + 47", 392),
        (" 2 * (3 + 4) ", 14),
        ("-2 ** 2", -4),
        ("+7 // 2", 3),
        ("7 % 4", 3),
        ("6 / 2", 3),
        ("1 / 4", 0.25),
        ("2 ** -1", 0.5),
        ("2 ** 100", 2**100),
        ("9 ** 0.5", 3),
        ("0 ** 0", 1),
    ],
)
def test_arithmetic(expression: str, result: float) -> None:
    assert evaluate(expression) == result
    assert type(evaluate(expression)) is type(result)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1 +",
        "1; 2",
        "__import__('os').system('true')",
        "(lambda: 1)()",
        "[1][0]",
        "'a' * 3",
        "True + 1",
        "1j * 1j",
        "x",
        "1 < 2",
        "1 if 1 else 2",
        "~1",
        "1 << 9",
        "1 & 1",
        "(-8) ** 0.5",
        "\x00",
    ],
)
def test_anything_else_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"allowed|not an arithmetic expression|real number"):
        evaluate(expression)


@pytest.mark.parametrize(
    "expression",
    ["9 ** 9 ** 9", "9 ** 99999999999", "(10 ** 1000) ** 10", "1e308 * 10", "-1e308 * 10", "10.0 ** 999", "1e999"],
)
def test_what_grows_too_large_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="too large"):
        evaluate(expression)


def test_a_product_is_bounded_too() -> None:
    with pytest.raises(ValueError, match="too large"):
        evaluate("10 ** 1200 * 10 ** 1200")


def test_a_long_or_deep_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="characters at most"):
        evaluate("1+" * LONGEST_EXPRESSION + "1")
    assert evaluate("(" * 90 + "1" + ")" * 90) == 1


def test_division_by_zero() -> None:
    with pytest.raises(ZeroDivisionError):
        evaluate("1 / 0")

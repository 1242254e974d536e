"""Arithmetic as a tool for a model: parsed, never evaluated as code, and bounded in time and memory."""

from __future__ import annotations

import ast
from typing import Final

Number = int | float

LONGEST_EXPRESSION: Final = 200
"""Characters."""

MOST_BITS: Final = 4096
"""Bits of an integer result; a power that could exceed them is refused before it is computed."""


def evaluate(expression: str) -> Number:
    """Computes an arithmetic expression.

    Args:
        expression: Numbers, parentheses and ``+ - * / // % **``, at most `LONGEST_EXPRESSION` characters.

    Returns:
        The result; a float that is whole, such as that of ``6 / 2``, as an integer.

    Raises:
        ValueError: If it is no such expression, or its result is too large or no real number.
        ZeroDivisionError: If it divides by zero.
    """
    if len(expression) > LONGEST_EXPRESSION:
        raise ValueError(f"an expression may have {LONGEST_EXPRESSION} characters at most")
    try:
        result = _value(_parsed(expression))
    except OverflowError as error:
        raise ValueError("the result is too large") from error
    return int(result) if isinstance(result, float) and result.is_integer() else result


def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError) as error:
        # Before 3.11.4 a null byte is a ValueError.
        raise ValueError(f"not an arithmetic expression: {expression!r}") from error


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            return -_value(operand) if isinstance(sign, ast.USub) else _value(operand)
        case ast.BinOp(left=left, op=operation, right=right):
            return _bounded(_combined(operation, _value(left), _value(right)))
        case _:
            raise _refused(node)


def _combined(operation: ast.operator, left: Number, right: Number) -> Number:
    match operation:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case ast.Pow():
            return _power(left, right)
        case _:
            raise _refused(operation)


def _refused(node: ast.AST) -> ValueError:
    what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
    return ValueError(f"only numbers and + - * / // % ** are allowed, not {what!r}")


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * base.bit_length() > MOST_BITS:
        raise ValueError("the result is too large")
    result: Number | complex = base**exponent
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    return result


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > MOST_BITS:
        raise ValueError("the result is too large")
    if isinstance(number, float) and not abs(number) <= 1e308:
        raise ValueError("the result is too large")
    return number

"""Arithmetic with amounts of USD: exact, whatever precision, rounding and traps the application has set for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

NOTHING: Final = Decimal(0)

# Everything is said here: what is left out would come from `decimal.DefaultContext`, which an application can change.
_EXACT: Final = Context(
    prec=200, rounding=ROUND_HALF_EVEN, Emin=-999_999, Emax=999_999, capitals=1, clamp=0, flags=[], traps=[]
)


def plus(one: Decimal, other: Decimal) -> Decimal:
    """The two amounts together."""
    return _EXACT.add(one, other)


def total_of(amounts: Iterable[Decimal]) -> Decimal:
    """All the amounts together; 0 without any."""
    total = NOTHING
    for amount in amounts:
        total = plus(total, amount)
    return total


def total_if_known(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """All the amounts together; None where one of them is unknown."""
    known = [amount for amount in amounts if amount is not None]
    return total_of(known) if len(known) == len(amounts) else None


def price_of_tokens(rate: Decimal, tokens: int) -> Decimal:
    """What tokens cost.

    Args:
        rate: USD per million.
        tokens: How many.
    """
    return _EXACT.scaleb(_EXACT.multiply(rate, Decimal(tokens)), Decimal(-6))


def price_of_one(rate: Decimal) -> Decimal:
    """What one call costs at a price in USD per thousand."""
    return _EXACT.scaleb(rate, Decimal(-3))


def plain(amount: Decimal) -> str:
    """An amount, or any limit, as text without an exponent and without trailing zeros."""
    return f"{_EXACT.normalize(amount):f}"

"""The cost of a call as somebody reports it."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation


def reported_cost(reported: object, *, free: bool = False) -> Decimal | None:
    """Reads an amount.

    Args:
        reported: USD, as a number or a text.
        free: True where the model is known to cost nothing. For any other 0 means unknown: a proxy says 0 of what it
            has no price for.

    Returns:
        USD, or None when it is unknown.
    """
    if isinstance(reported, bool) or not isinstance(reported, str | int | float | Decimal):
        return None
    try:
        cost = Decimal(str(reported).strip())
    except InvalidOperation:
        return None
    if not cost.is_finite() or not math.isfinite(float(cost)) or cost < 0 or (cost == 0 and not free):
        return None
    return cost

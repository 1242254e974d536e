"""The cost of a call as somebody reports it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, TypedDict

from looopy_otel.core.shapes.fields import get
from looopy_otel.core.types import CostSource
from looopy_otel.core.vendors import is_free

DEAREST_CALL: Final = 1_000_000
"""USD that one call costs at most; more is a mistake, whose sum would hide what all other calls cost."""


class CostFields(TypedDict):
    """What a response says of its cost.

    Attributes:
        cost: USD, or None.
        cost_source: Where it comes from.
    """

    cost: Decimal | None
    cost_source: CostSource


def cost_fields(usage: object, model: str | None) -> CostFields:
    """The cost that stands in an answer's ``usage``.

    Args:
        usage: The answer's own object.
        model: The model that answered.

    Returns:
        The fields of an `LLMResponse` that say so.
    """
    cost = reported_cost(cost_in(usage), free=is_free(model))
    return {"cost": cost, "cost_source": "unknown" if cost is None else "provider"}


def cost_in(usage: object) -> object:
    """What a ``usage`` says of the cost: OpenRouter and LiteLLM an amount, Perplexity its parts and their total."""
    cost = get(usage, "cost")
    total = get(cost, "total_cost")
    return cost if total is None else total


def reported_cost(reported: object, *, free: bool = False) -> Decimal | None:
    """Reads an amount.

    Args:
        reported: USD, as a number or a text.
        free: True where the model is known to cost nothing. For any other 0 means unknown: a proxy says 0 of what it
            has no price for.

    Returns:
        USD, or None when it is unknown, or more than `DEAREST_CALL`.
    """
    if isinstance(reported, bool) or not isinstance(reported, str | int | float | Decimal):
        return None
    try:
        cost = Decimal(str(reported).strip())
    except InvalidOperation:
        return None
    return cost if is_believable(cost) and (cost > 0 or free) else None


def is_believable(cost: Decimal) -> bool:
    """True for what one call may cost: 0 to `DEAREST_CALL`."""
    return cost.is_finite() and 0 <= cost <= DEAREST_CALL

"""What a call cost: as the provider says, else by the user's prices, else by the price table."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

from looopy_otel.core.guard import guard
from looopy_otel.core.money import total_if_known
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse

_table_loaded = threading.Event()


async def price_of(operation: LLMCall, response: LLMResponse) -> Decimal | None:
    """USD of one call, or None when unknown."""
    if _says_its_cost(response) or _table_loaded.is_set():
        return price_at_once(operation, response)
    cost: Decimal | None = None
    with guard("agent.price"):
        # The first look-up reads the price table, which would hold up every other run on this event loop.
        cost = await asyncio.to_thread(_look_up, operation, response)
        _table_loaded.set()
    return cost


def price_at_once(operation: LLMCall, response: LLMResponse) -> Decimal | None:
    """USD of one call, or None when it is unknown or could not be told without reading the price table first."""
    if _says_its_cost(response):
        return response.cost
    cost: Decimal | None = None
    if _table_loaded.is_set():
        with guard("agent.price"):
            cost = _look_up(operation, response)
    return cost


def _says_its_cost(response: LLMResponse) -> bool:
    return response.cost is not None and response.cost.is_finite() and response.cost > 0


def _look_up(operation: LLMCall, response: LLMResponse) -> Decimal | None:
    """Each try has its own price: a long prompt is dearer, two short ones are not."""
    return total_if_known([_cost_of(operation, answer) for answer in response.tries or (response,)])


def _cost_of(operation: LLMCall, response: LLMResponse) -> Decimal | None:
    from looopy_otel.pricing.cost import cost_of, text_parameter
    from looopy_otel.pricing.in_force import prices_in_force

    cost = cost_of(
        response.usage,
        request_model=operation.model,
        response_model=response.model,
        system=response.system or operation.system,
        reported=response.cost,
        service_tier=response.service_tier or text_parameter(operation.parameters, "service_tier"),
        speed=text_parameter(operation.parameters, "speed"),
        prices=prices_in_force(),
    )
    return None if cost is None else cost.total

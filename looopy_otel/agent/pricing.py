"""What a call cost: as the provider says, else by the price table."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal

from looopy_otel.core.guard import guard
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse

_table_loaded = threading.Event()


async def price_of(operation: LLMCall, response: LLMResponse) -> Decimal | None:
    """USD of one call, or None when unknown."""
    if response.cost is not None and response.cost > 0:
        return response.cost
    cost: Decimal | None = None
    with guard("agent.price"):
        if _table_loaded.is_set():
            cost = _look_up(operation, response)
        else:
            # The first look-up reads the price table, which would hold up every other run on this event loop.
            cost = await asyncio.to_thread(_look_up, operation, response)
            _table_loaded.set()
    return cost


def _look_up(operation: LLMCall, response: LLMResponse) -> Decimal | None:
    from looopy_otel.pricing.cost import cost_of

    cost = cost_of(
        response.usage,
        request_model=operation.model,
        response_model=response.model,
        system=response.system or operation.system,
        reported=response.cost,
    )
    return None if cost is None else cost.total

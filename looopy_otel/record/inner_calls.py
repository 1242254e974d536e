"""What the LLM calls inside another have told, for what that one does not know by itself."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, Final

from looopy_otel.core.draft import CallPart
from looopy_otel.core.money import total_of
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse
from looopy_otel.core.usage import Usage

_TAKEN: Final = ("model", "finish_reason", "id", "request_id", "service_tier")


def parts_of_tries(call: LLMCall, result: object) -> tuple[CallPart, ...]:
    """The answers to a call of which some were refused, each as its price needs it; none for a call of one answer."""
    return tuple(_part(call, answer) for answer in result.tries) if isinstance(result, LLMResponse) else ()


def _part(call: LLMCall, response: LLMResponse) -> CallPart:
    return CallPart(
        request_model=call.model,
        response_model=response.model,
        system=response.system or call.system,
        usage=response.usage,
        reported_cost=response.cost,
        service_tier=response.service_tier,
    )


class InnerCalls:
    """The calls inside one that is the generation, as they end; from any thread."""

    def __init__(self) -> None:
        self._ended: list[tuple[LLMCall, LLMResponse]] = []

    def add(self, call: LLMCall, result: object) -> None:
        """Keeps what a call gave, the partial response of a failed one included.

        Args:
            call: What was asked.
            result: What came of it.
        """
        if isinstance(result, LLMResponse):
            self._ended.append((call, result))

    def complete(self, result: object) -> object:
        """The result of the call around them, with what it lacks: the usage and cost of all, the rest of the last one.

        Args:
            result: Its own result; without one, what the last call inside gave is its result.
        """
        if not self._ended:
            return result
        last = self._ended[-1][1]
        if not isinstance(result, LLMResponse):
            result = replace(last, usage=None, usage_source="missing", cost=None, cost_source="unknown")
        changes: dict[str, Any] = {name: getattr(last, name) for name in _TAKEN if getattr(result, name) is None}
        if not result.headers:
            changes["headers"] = last.headers
        if result.outcome == "completed" and last.outcome == "truncated":
            # Frameworks say of such an answer that it ended well, and even why.
            changes |= {"outcome": last.outcome, "finish_reason": last.finish_reason}
        return replace(result, **changes, **self._usage_for(result), **self._cost_for(result))

    def parts(self, result: object) -> tuple[CallPart, ...]:
        """Several calls whose sum is the usage of the one around them; none where its usage is its own.

        Args:
            result: Its result as `complete` gave it.
        """
        if len(self._ended) < 2 or not isinstance(result, LLMResponse) or result.usage != self._usage():
            return ()
        return tuple(
            _part(call, response)
            for call, response in self._ended
            if response.usage is not None or response.cost is not None
        )

    def _usage(self) -> Usage | None:
        told = [response.usage for _, response in self._ended if response.usage is not None]
        return reduce(add, told) if told else None

    def _usage_for(self, result: LLMResponse) -> dict[str, Any]:
        sources = {response.usage_source for _, response in self._ended if response.usage is not None}
        source = "estimated" if "estimated" in sources else "reported"
        own = result.usage
        lacks = own is None or not own.total_tokens or (result.usage_source, source) == ("estimated", "reported")
        return {"usage": self._usage(), "usage_source": source} if sources and lacks else {}

    def _cost_for(self, result: LLMResponse) -> dict[str, Any]:
        costs = [response.cost for _, response in self._ended if response.usage or response.cost is not None]
        told = [cost for cost in costs if cost is not None]
        if result.cost is not None or not told or len(told) < len(costs):
            return {}
        return {"cost": total_of(told), "cost_source": "provider"}

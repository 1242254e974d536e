"""What the user's code says of an operation, beside what its result says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Any

from looopy_otel.core.guard import guard
from looopy_otel.core.shapes.cost import is_believable
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.core.usage import Usage, usage_of


@dataclass(frozen=True, slots=True)
class Told:
    """Facts given by `record()`; None means not given.

    Attributes:
        usage: Tokens.
        response_model: The model that answered.
        finish_reason: The provider's word.
        cost: USD.
    """

    usage: Usage | None = None
    response_model: str | None = None
    finish_reason: str | None = None
    cost: Decimal | None = None

    def with_facts(self, usage: object, response_model: str | None, finish_reason: str | None, cost: object) -> Told:
        """These facts with others in their place where they are given."""
        return Told(
            usage=(None if usage is None else usage_of(usage)) or self.usage,
            response_model=response_model or self.response_model,
            finish_reason=finish_reason or self.finish_reason,
            cost=_amount(cost) if cost is not None else self.cost,
        )

    def of(self, result: object) -> object:
        """The result of an LLM call in the light of what was told of it."""
        response = result if isinstance(result, LLMResponse) else None
        if self == NOTHING_TOLD:
            return result
        response = response or LLMResponse(message=Message("assistant"))
        changes: dict[str, Any] = {}
        if self.usage is not None:
            changes |= {"usage": self.usage, "usage_source": "reported"}
        if self.response_model is not None:
            changes["model"] = self.response_model
        if self.finish_reason is not None:
            changes["finish_reason"] = self.finish_reason
        if self.cost is not None:
            changes |= {"cost": self.cost, "cost_source": "provider"}
        return replace(response, **changes)


NOTHING_TOLD = Told()


def with_answer(result: object, answer: object) -> object:
    """What a call came to, with the facts of the model's answer that `record(output=…)` gave during it.

    A function often returns the text of an answer only: that is the output then, and the answer says the rest.

    Args:
        result: The call's own result.
        answer: The answer, or None.
    """
    if result is None or not (isinstance(result, LLMResponse) and isinstance(answer, LLMResponse)):
        return answer if result is None else result
    if result.usage is not None or result.model:
        return result
    said = result.message.content or result.message.tool_calls
    return replace(answer, message=result.message if said else answer.message, outcome=result.outcome)


def _amount(cost: object) -> Decimal | None:
    with guard("record.cost"):
        try:
            amount = Decimal(str(cost))
        except InvalidOperation:
            raise ValueError(f"cost must be a number of USD, not {cost!r}") from None
        return amount if is_believable(amount) else None
    return None

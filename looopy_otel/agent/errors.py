"""What the agent loop raises besides the errors of providers and tools."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from looopy_otel.core.errors import LooopyError
from looopy_otel.core.types import RunOutcome


class BudgetExceededError(LooopyError):
    """A budget is spent, so the next call was not made.

    Attributes:
        limit: The limit's name, such as ``max_cost_usd``.
        allowed: The limit: USD, tokens, calls or seconds; None for a cost that must be known and is not.
        used: What was used when the next call was refused, in the same unit.
        run_outcome: The outcome of a run that ends with it.
    """

    run_outcome: ClassVar[RunOutcome] = "budget_exceeded"

    def __init__(self, message: str, *, limit: str, allowed: Decimal | None, used: Decimal | None) -> None:
        super().__init__(message)
        self.limit = limit
        self.allowed = allowed
        self.used = used


class ToolSignatureError(LooopyError, TypeError):
    """A function cannot be a tool as it is. The message names the function, the reason and the cure."""


class InvalidArgumentsError(LooopyError, ValueError):
    """A model called a tool with arguments that do not fit. The message names every argument that is wrong."""


class TaskNotFoundError(LooopyError, LookupError):
    """The state store holds no such task, or its time to live is over."""


class TaskStateError(LooopyError, ValueError):
    """A task cannot be resumed: it is completed, belongs to another agent, or nothing was ever saved."""


class MiddlewareResultError(LooopyError, TypeError):
    """A middleware returned something else than the operation's result, most often by forgetting ``return``."""


class ProviderProtocolError(LooopyError, RuntimeError):
    """An LLM provider broke its contract: `call` gave no stream, or the stream held nothing to build a response of."""

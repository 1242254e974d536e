"""Limits of a run, as middleware: they stop it before its next call and say why."""

from __future__ import annotations

import logging
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from weakref import WeakKeyDictionary

from looopy_otel.agent.errors import BudgetExceededError
from looopy_otel.agent.ledger import CallKind, Ledger, current_ledger
from looopy_otel.agent.pricing import price_of
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.operation import AgentRun, CallNext, LLMCall

logger = logging.getLogger("looopy_otel.agent.budget")


class Budget:
    """Stops a run before the call that it has no means left for. Works untraced.

    In a loop's ``middleware`` it counts per run, sub-agents included, and also stops these; one `Budget` may serve any
    number of concurrent runs. Calls that a tool makes on a provider by itself are not the loop's: they count only in a
    `Budget` of that provider. In a provider's ``middleware`` it counts that provider's calls: per run where there is
    one, else over the budget's life. The calls that spent the means are finished, never cut off.

    Args:
        max_cost_usd: USD of all LLM calls together.
        max_tokens: Input and output tokens of all LLM calls together.
        max_llm_calls: LLM calls, failed ones included.
        max_tool_calls: Tool calls, failed ones included.
        max_seconds: Seconds since the run began.
        on_unknown_cost: With `max_cost_usd`, what a call without a known cost does: ``warn`` logs once per run,
            ``stop`` refuses the next call.

    Raises:
        ConfigurationError: If no limit is given, or one is not positive.
    """

    def __init__(
        self,
        *,
        max_cost_usd: Decimal | float | str | None = None,
        max_tokens: int | None = None,
        max_llm_calls: int | None = None,
        max_tool_calls: int | None = None,
        max_seconds: float | None = None,
        on_unknown_cost: Literal["warn", "stop"] = "warn",
    ) -> None:
        given = {
            "max_cost_usd": max_cost_usd,
            "max_tokens": max_tokens,
            "max_llm_calls": max_llm_calls,
            "max_tool_calls": max_tool_calls,
            "max_seconds": max_seconds,
        }
        limits = {name: _number(value) for name, value in given.items() if value is not None}
        wrong = [f"{name}={given[name]!r}" for name, value in limits.items() if value is None or not value > 0]
        if wrong or not limits:
            raise ConfigurationError(
                f"Budget: {', '.join(wrong)} must be a number > 0" if wrong else "Budget: give a limit"
            )
        self._limits = {name: value for name, value in limits.items() if value is not None}
        if on_unknown_cost not in ("warn", "stop"):
            raise ConfigurationError(f"Budget: on_unknown_cost={on_unknown_cost!r} must be 'warn' or 'stop'")
        self._on_unknown_cost = on_unknown_cost
        self._outside = self._new_ledger()
        self._by_run: WeakKeyDictionary[Ledger, Ledger] = WeakKeyDictionary()
        self._warned: WeakKeyDictionary[Ledger, bool] = WeakKeyDictionary()

    async def __call__(self, operation: Any, call_next: CallNext, /) -> Any:
        """Registers itself with a run; counts the calls of a provider whose run does not know it."""
        run = current_ledger()
        if isinstance(operation, AgentRun) and run is not None:
            run.limits.append(self)
        elif isinstance(operation, LLMCall) and not (run is not None and run.limited_by(self)):
            return await self._counted(operation, call_next, self._ledger_for(run))
        return await call_next(operation)

    def check(self, ledger: Ledger, kind: CallKind) -> None:
        """Refuses one more call of that kind.

        Raises:
            BudgetExceededError: If a limit is reached, naming the first one that is.
        """
        for name, used in self._used(ledger, kind).items():
            allowed = self._limits.get(name)
            if allowed is not None and used >= allowed:
                raise BudgetExceededError(
                    f"budget exceeded: {name}={allowed.normalize():f}, used {used.normalize():f} "
                    f"in {ledger.llm_calls} LLM and {ledger.tool_calls} tool calls; the next {kind} call was not made",
                    limit=name,
                    allowed=allowed,
                    used=used,
                )
        if "max_cost_usd" in self._limits and ledger.unpriced_models:
            self._unknown_cost(ledger, kind)

    def _used(self, ledger: Ledger, kind: CallKind) -> dict[str, Decimal]:
        used = {
            "max_cost_usd": ledger.cost or Decimal(0),
            "max_tokens": Decimal(0 if ledger.usage is None else ledger.usage.total_tokens),
            "max_seconds": Decimal(str(round(ledger.seconds, 3))),
        }
        if kind == "LLM":
            return used | {"max_llm_calls": Decimal(ledger.llm_calls)}
        return used | {"max_tool_calls": Decimal(ledger.tool_calls)}

    def _unknown_cost(self, ledger: Ledger, kind: CallKind) -> None:
        models = ", ".join(ledger.unpriced_models)
        if self._on_unknown_cost == "stop":
            raise BudgetExceededError(
                f"budget exceeded: the cost of a call of {models} is unknown, so max_cost_usd cannot be kept; "
                f"the next {kind} call was not made",
                limit="max_cost_usd",
                allowed=self._limits["max_cost_usd"],
                used=None,
            )
        if ledger not in self._warned:
            self._warned[ledger] = True
            logger.warning("max_cost_usd counts only part of this run: the cost of a call of %s is unknown", models)

    async def _counted(self, operation: LLMCall, call_next: CallNext, ledger: Ledger) -> Any:
        ledger.admit("LLM")
        response = await call_next(operation)
        ledger.add(response.model or operation.model, response.usage, await price_of(operation, response))
        return response

    def _ledger_for(self, run: Ledger | None) -> Ledger:
        if run is None:
            return self._outside
        return self._by_run.setdefault(run, self._new_ledger())

    def _new_ledger(self) -> Ledger:
        ledger = Ledger()
        ledger.limits.append(self)
        return ledger


def _number(value: object) -> Decimal | None:
    """The value as a number; None for what is none, or not a number (NaN)."""
    if isinstance(value, bool):
        return None
    try:
        # Through str: Decimal(0.1) is 0.1000000000000000055…
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return None if number.is_nan() else number

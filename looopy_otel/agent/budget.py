"""Limits of a run, a session or an agent, as middleware: they stop it before its next call and say why."""

from __future__ import annotations

import logging
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, TypeAlias, get_args
from weakref import WeakKeyDictionary

from looopy_otel.agent.accounts import Accounts
from looopy_otel.agent.errors import BudgetExceededError
from looopy_otel.agent.ledger import CallKind, Ledger, current_ledger
from looopy_otel.agent.pricing import price_at_once, price_of
from looopy_otel.core.delivery import accounted
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.identity import Identity
from looopy_otel.core.money import plain
from looopy_otel.core.operation import AgentRun, CallNext, LLMCall
from looopy_otel.core.types import LLMResponse

logger = logging.getLogger("looopy_otel.agent.budget")

BudgetScope: TypeAlias = Literal["run", "session", "agent"]

MOST_ACCOUNTS: Final = 10_000
"""How many sessions or agents one budget remembers."""


class Budget:
    """Stops before the call that there are no means left for. Works untraced, in any number of threads at once.

    In a loop's ``middleware`` it counts the calls of the loop's runs, sub-agents included, and also stops these. Calls
    that a tool makes on a provider by itself are not the loop's: they count only in a `Budget` of that provider. In a
    provider's ``middleware``, or in that of a wrapped client (``lo.wrap(client, middleware=[budget])``), it counts the
    calls made there, whether or not there is a loop around them; those of sub-agents belong to the outermost run, and
    a resumed task goes on with its account (`forget` begins a new one). Of a call that fails or is left, it counts
    the usage that was told until then; many endpoints tell it at a stream's end only. The calls that spent the
    means are finished, never cut off; of several at once, all that began before the means were spent.

    What a call cost is what the provider reported, else what it costs by the user's prices (``configure(prices=…)`` or
    ``LOOOPY_OTEL_PRICES``), else by the price table; the service tier counts.

    Args:
        max_cost_usd: USD of all LLM calls together.
        max_tokens: Input and output tokens of all LLM calls together.
        max_llm_calls: LLM calls, failed ones included.
        max_tool_calls: Tool calls, failed ones included.
        max_seconds: Seconds since the run, or the first call of the session or agent, began.
        on_unknown_cost: With `max_cost_usd`, what a call without a known cost does: ``warn`` logs once per run
            (session, agent), ``stop`` refuses the next call.
        scope: What is counted together. ``run``: each run by itself; outside of runs all calls of the budget's life.
            ``session``: all runs and calls of one session (`looopy_otel.session`); a run without one is its own.
            ``agent``: all runs of one agent, by its id. A budget counts what this process does, since it was made; of
            sessions or agents beyond 10 000 it forgets the one that was quiet longest, and says so in the log.

    Raises:
        ConfigurationError: If no limit is given, one is not positive, or a choice is unknown.
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
        scope: BudgetScope = "run",
    ) -> None:
        self._limits = _checked(
            {
                "max_cost_usd": max_cost_usd,
                "max_tokens": max_tokens,
                "max_llm_calls": max_llm_calls,
                "max_tool_calls": max_tool_calls,
                "max_seconds": max_seconds,
            }
        )
        if on_unknown_cost not in ("warn", "stop"):
            raise ConfigurationError(f"Budget: on_unknown_cost={on_unknown_cost!r} must be 'warn' or 'stop'")
        if scope not in get_args(BudgetScope):
            raise ConfigurationError(f"Budget: scope={scope!r} must be one of {', '.join(get_args(BudgetScope))}")
        self._on_unknown_cost = on_unknown_cost
        self._scope: BudgetScope = scope
        self._accounts = Accounts(self._new_ledger, MOST_ACCOUNTS, warn=scope != "run")
        self._warned: WeakKeyDictionary[Ledger, bool] = WeakKeyDictionary()

    async def __call__(self, operation: Any, call_next: CallNext, /) -> Any:
        """Registers itself with a run; counts the calls of a provider whose run does not know it."""
        run = current_ledger()
        if isinstance(operation, AgentRun) and run is not None:
            self._join(run, operation.identity)
        elif isinstance(operation, LLMCall) and not (run is not None and run.limited_by(self)):
            return await self._counted(operation, call_next, self._account(operation.identity))
        return await call_next(operation)

    def forget(self, key: str | None = None) -> None:
        """Starts counting anew, for the calls that come from now on.

        Args:
            key: The session's or the agent's id, or the run's task id; None forgets everything.
        """
        self._accounts.forget(key)

    def _join(self, run: Ledger, identity: Identity) -> None:
        if self._scope == "run":
            run.limits.append(self)
        else:
            run.add_to(self._account(identity))

    def check(self, ledger: Ledger, kind: CallKind) -> None:
        """Refuses one more call of that kind.

        Raises:
            BudgetExceededError: If a limit is reached, naming the first one that is.
        """
        for name, used in self._used(ledger, kind).items():
            allowed = self._limits.get(name)
            if allowed is not None and used >= allowed:
                raise BudgetExceededError(
                    f"budget exceeded: {name}={plain(allowed)}{self._whose}, used {plain(used)} "
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
                f"budget exceeded: the cost of a call of {models} is unknown, so max_cost_usd{self._whose} cannot be "
                f"kept; the next {kind} call was not made; {_CURE}",
                limit="max_cost_usd",
                allowed=self._limits["max_cost_usd"],
                used=None,
            )
        if ledger not in self._warned:
            self._warned[ledger] = True
            logger.warning(
                "max_cost_usd counts only part of this %s: the cost of a call of %s is unknown; %s",
                self._scope,
                models,
                _CURE,
            )

    async def _counted(self, operation: LLMCall, call_next: CallNext, ledger: Ledger) -> Any:
        ledger.admit("LLM")
        begun = False

        def emit(delta: object) -> None:
            nonlocal begun
            begun = True
            operation.emit(delta)

        def enter(told: LLMResponse) -> None:
            ledger.add(told.model or operation.model, told.usage, price_at_once(operation, told))

        # What a stream that is left has used is entered at once: the next call may come before this one is told of it.
        with accounted(on_partial=enter) as expense:
            try:
                response = await call_next(replace(operation, emit=emit))
            except BudgetExceededError:
                if not expense.answers and not expense.partials:
                    ledger.withdraw("LLM")
                raise
            except BaseException:
                for answer in expense.answers:
                    enter(answer)
                if begun and not expense.answers and not expense.partials:
                    # It broke off in the middle of an answer, which will be charged for.
                    ledger.add(operation.model, None, None)
                raise
        ledger.add(response.model or operation.model, response.usage, await price_of(operation, response))
        return response

    @property
    def _whose(self) -> str:
        return "" if self._scope == "run" else f" of this {self._scope}"

    def _account(self, identity: Identity) -> Ledger:
        match self._scope:
            case "session":
                return self._accounts.of(identity.effective_session_id)
            case "agent":
                return self._accounts.of(identity.agent_id)
            case "run":
                return self._accounts.of(identity.root_task_id or identity.task_id)

    def _new_ledger(self) -> Ledger:
        ledger = Ledger()
        ledger.limits.append(self)
        return ledger


_CURE: Final = "say what it costs with configure(prices=…) or in the file of LOOOPY_OTEL_PRICES"


def _checked(given: dict[str, object]) -> dict[str, Decimal]:
    said = {name: _number(value) for name, value in given.items() if value is not None}
    limits = {name: value for name, value in said.items() if value is not None and value > 0}
    wrong = [f"{name}={given[name]!r}" for name in said if name not in limits]
    if wrong:
        raise ConfigurationError(f"Budget: {', '.join(wrong)} must be a number > 0")
    if not limits:
        raise ConfigurationError("Budget: give a limit")
    return limits


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

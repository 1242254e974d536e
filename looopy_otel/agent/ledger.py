"""What a run has used so far. A sub-agent's run adds to the run above it, any run to the accounts of its budgets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from decimal import Decimal
from typing import ClassVar, Final, Literal, Protocol, TypeAlias

from looopy_otel.core.money import plus
from looopy_otel.core.usage import Usage

CallKind: TypeAlias = Literal["LLM", "tool"]


class Limit(Protocol):
    """Something that can refuse a run's next call."""

    def check(self, ledger: Ledger, kind: CallKind) -> None:
        """Raises `BudgetExceededError` when `ledger` has no room for one more call of that kind."""
        ...


MOST_MODELS: Final = 100
"""How many models without a price an account remembers by name."""


class Ledger:
    """The account of one run, sub-agents included; or of all that one budget counts together.

    Attributes:
        usage: Tokens of all LLM calls together; None when none reported any.
        cost: USD of all LLM calls together; None when no call's cost is known.
        llm_calls: LLM calls begun.
        tool_calls: Tool calls begun.
        unpriced_models: Models of the calls whose cost is unknown.
        limits: Who is asked before each call.
        parent: The ledger of the run above, or None.
        accounts: Further ledgers that this one adds to: those of a session, or of an agent.
    """

    # One lock for all: a call is asked for and counted in its own ledger and in those above at one moment, also when
    # sub-agents run in other threads. A finaliser may enter a call in the middle of any of it: see `add`.
    _lock = threading.RLock()
    _entries: ClassVar[deque[tuple[Ledger, str, Usage | None, Decimal | None]]] = deque()
    _entering: ClassVar[bool] = False

    def __init__(self, parent: Ledger | None = None) -> None:
        self.usage: Usage | None = None
        self.cost: Decimal | None = None
        self.llm_calls = 0
        self.tool_calls = 0
        self.unpriced_models: list[str] = []
        self.limits: list[Limit] = []
        self.parent = parent
        self.accounts: list[Ledger] = []
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    def add_to(self, account: Ledger) -> None:
        """Has an account count what happens here from now on."""
        with self._lock:
            self.accounts.append(account)

    def admit(self, kind: CallKind) -> None:
        """Counts a call that is about to be made, here and above.

        Raises:
            BudgetExceededError: If a limit, here or above, refuses it; then it is not counted.
        """
        with self._lock:
            ledgers = list(self._upwards())
            for ledger in ledgers:
                for limit in ledger.limits:
                    limit.check(ledger, kind)
            for ledger in ledgers:
                ledger.llm_calls += kind == "LLM"
                ledger.tool_calls += kind == "tool"

    def add(self, model: str, usage: Usage | None, cost: Decimal | None) -> None:
        """Enters what one LLM call used, here and above; safe in a finaliser, too."""
        self._entries.append((self, model, usage, cost))
        with self._lock:
            if Ledger._entering:
                return
            Ledger._entering = True
            try:
                while self._entries:
                    lowest, *_ = entry = self._entries.popleft()
                    for ledger in list(lowest._upwards()):
                        ledger._enter(*entry[1:])
            finally:
                Ledger._entering = False

    def withdraw(self, kind: CallKind) -> None:
        """Takes a call back that was let through here, and then refused further inside."""
        with self._lock:
            for ledger in list(self._upwards()):
                ledger.llm_calls -= kind == "LLM"
                ledger.tool_calls -= kind == "tool"

    def limited_by(self, limit: Limit) -> bool:
        """True when `limit` is asked before each call of this run."""
        return any(limit is known for ledger in self._upwards() for known in ledger.limits)

    def _enter(self, model: str, usage: Usage | None, cost: Decimal | None) -> None:
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage + usage
        if cost is not None:
            self.cost = cost if self.cost is None else plus(self.cost, cost)
        elif model not in self.unpriced_models and len(self.unpriced_models) < MOST_MODELS:
            self.unpriced_models.append(model)

    def _upwards(self) -> Iterator[Ledger]:
        """This one, those above, and the accounts of all of them: each once, whoever shares it."""
        seen: set[int] = set()
        ledger: Ledger | None = self
        while ledger is not None:
            for one in (ledger, *ledger.accounts):
                if id(one) not in seen:
                    seen.add(id(one))
                    yield one
            ledger = ledger.parent


_current: ContextVar[Ledger | None] = ContextVar("looopy_otel_ledger", default=None)


def current_ledger() -> Ledger | None:
    """The ledger of the run that this code is a part of, or None."""
    return _current.get()


def open_ledger() -> Ledger:
    """Opens a ledger under the current one and makes it the current one of this task."""
    ledger = Ledger(_current.get())
    _current.set(ledger)
    return ledger

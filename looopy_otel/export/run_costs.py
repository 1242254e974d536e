"""What the calls of each run cost together: added up where calls are priced, given to the run when its draft comes.

A run's draft comes after those of its calls, and its code knows no prices. So the amounts wait here, by the run's span,
and a run inside another hands on what it got.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from decimal import Decimal
from typing import Final

from looopy_otel.core.draft import AgentDraft, Draft, LLMDraft
from looopy_otel.core.money import NOTHING, plus

MOST_RUNS: Final = 10_000
"""How many unfinished runs are remembered; beyond it, the one whose last call was longest ago is forgotten."""


class RunCosts:
    """Amounts by run; for any thread."""

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._most = most
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._by_run: OrderedDict[str, Decimal] = OrderedDict()

    def settled(self, draft: Draft, span_id: int | None) -> Draft:
        """Counts a priced call for its run; gives a run that does not know its cost what its calls cost.

        Args:
            draft: Priced.
            span_id: Of the draft's own span.

        Returns:
            The draft; a run's with its cost, unless no call of it had one.
        """
        match draft:
            case LLMDraft() if draft.cost is not None:
                self._add(draft.run, draft.cost.total)
            case AgentDraft():
                inside = self._taken(span_id)
                self._add(draft.run, draft.cost if inside is None else inside)
                return draft if draft.cost is not None or inside is None else replace(draft, cost=inside)
            case _:
                pass
        return draft

    def _add(self, run: str | None, amount: Decimal | None) -> None:
        if run is None or amount is None:
            return
        with self._lock:
            self._by_run[run] = plus(self._by_run.get(run, NOTHING), amount)
            self._by_run.move_to_end(run)
            if len(self._by_run) > self._most:
                self._by_run.popitem(last=False)

    def _taken(self, span_id: int | None) -> Decimal | None:
        with self._lock:
            return None if span_id is None else self._by_run.pop(format(span_id, "016x"), None)

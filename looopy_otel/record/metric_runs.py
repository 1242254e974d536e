"""The runs of agents that are under way."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Protocol
from weakref import WeakSet

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.operation import Operation


class Run(Protocol):
    """A run, as its recorder knows it."""

    @property
    def operation(self) -> Operation:
        """What is run."""
        ...

    @property
    def ended(self) -> bool:
        """True once it has ended."""
        ...


class ActiveRuns:
    """Counts runs that were started and have neither ended nor been forgotten by everybody."""

    def __init__(self) -> None:
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may start a run while this very thread counts.
        self._lock = threading.RLock()
        self._runs: WeakSet[Run] = WeakSet()

    def add(self, run: Run) -> None:
        """Takes a run that has just started; it leaves by itself."""
        with self._lock:
            self._runs.add(run)

    def by_agent(self) -> Counter[str]:
        """How many runs each agent has under way; an agent without a name is the empty text."""
        with self._lock:
            runs = list(self._runs)
            for run in runs:
                if run.ended:
                    self._runs.discard(run)
        return Counter(run.operation.identity.agent_id or "" for run in runs if not run.ended)

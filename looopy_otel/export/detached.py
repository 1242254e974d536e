"""A destination on a thread of its own, so that one that takes its time, or for ever, holds up no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from looopy_otel.core.settings import Dialect
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.deadline import remaining, run_until
from looopy_otel.export.destination import DestinationExporter, Outgoing
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.queue import ByteQueue
from looopy_otel.export.shed_content import outgoing_without_content
from looopy_otel.export.weight import outgoing_bytes

MOST: Final = 4
"""Into how many shares the memory goes, of which one destination that has stopped may keep one."""

LEAST: Final = 16
"""Into how many shares the memory goes, of which one is left to each destination, whatever others keep."""

SETTLING_SHARE: Final = 0.1
"""How much of the time that a close has is left for what the exporter counts at the end of its own."""


class Detached:
    """Hands spans on to another exporter, on a thread that starts at the first of them.

    What it does not take waits in memory: over its share first the content of the oldest spans is shed, then spans.
    What it is about to take next may be larger than the share, up to the limit.

    Args:
        exporter: The exporter; its `accept`, `flush` and `close` are called one at a time.
        memory: Counts what waits.
    """

    def __init__(self, exporter: DestinationExporter, memory: MemoryBudget) -> None:
        self._exporter = exporter
        self._memory = memory
        self._queue = ByteQueue[Outgoing](
            f"looopy-otel-{exporter.name}",
            take=exporter.accept,
            weigh=outgoing_bytes,
            lighten=outgoing_without_content,
            memory=memory,
            too_much=self._too_much,
        )

    @property
    def name(self) -> str:
        """The exporter's."""
        return self._exporter.name

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The exporter's."""
        return self._exporter.dialects

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Queues a batch; where no thread can take it any more, the exporter gets it here."""
        if self._exporter.dialects:
            # All that it says is in the attributes.
            spans = [replace(outgoing, draft=None) for outgoing in spans]
        late = [outgoing for outgoing in spans if not self._queue.put(outgoing)]
        if late:
            self._exporter.accept(late)

    def flush(self, deadline: float) -> bool:
        """Waits until the exporter has all, and has flushed; neither beyond `deadline`."""
        if not self._queue.waiting and not self._queue.is_running:
            return True
        if remaining(deadline) <= 0:
            return self._queue.drain(deadline)
        flushed: list[bool] = []
        return self._queue.call(lambda: flushed.append(self._exporter.flush(deadline)), deadline) and flushed == [True]

    def close(self, deadline: float) -> None:
        """Gives the exporter what it takes until `deadline`, and closes it."""
        theirs = deadline - remaining(deadline) * SETTLING_SHARE

        def close() -> None:
            self._exporter.close(theirs)

        if not self._queue.close(deadline, close):
            run_until(deadline, close)

    def stats(self) -> DestinationStats:
        """The exporter's health, with what waits for it, and what was lost before it had it."""
        stats = self._exporter.stats()
        return replace(
            stats,
            queued=stats.queued + self._queue.waiting,
            dropped=dict(Counter(stats.dropped) + Counter(self._queue.dropped)),
            content_shed=dict(Counter(stats.content_shed) + Counter(self._queue.content_shed)),
        )

    def _too_much(self, size: int, next_size: int) -> int:
        limit = self._memory.limit
        # It is there already, and about to go: nothing that waits for it is saved by shedding it.
        if next_size <= limit:
            size -= next_size
        over_share = size - limit // MOST
        others = self._memory.excess if size > limit // LEAST else 0
        return max(over_share, others, 0)

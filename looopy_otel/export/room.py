"""Keeps one outbox within the limits of disk and memory: what is given up, in which order, in how much time."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final, Protocol

from looopy_otel.export.batch import Batch
from looopy_otel.export.disk_usage import DiskUsage
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.set_aside import SetAside

SHEDDING_SECONDS: Final = 0.25
"""How long content is taken out at a stretch, before spans are dropped where that is not enough."""

ADOPTING_SECONDS: Final = 30.0
"""Seconds between the times that what ended processes left is taken over to be given up first."""

_SLACK = 8
"""An eighth beyond a limit is borne for the moment, while there is content left to take out."""


class Waiting(Protocol):
    """The batches that may be given up."""

    @property
    def queued(self) -> int:
        """Spans in memory."""
        ...

    def strip(self, batch: Batch, reason: str) -> bool:
        """Takes the content out of a batch, once; False when there is none.

        Raises:
            OSError: If it cannot for now.
        """
        ...

    def drop_oldest(self, reason: str, *, on_disk: bool) -> bool:
        """Drops the oldest batch of one kind that is not being sent; False when there is none."""
        ...

    def is_sending(self, batch: Batch) -> bool:
        """True for the batch that is being sent."""
        ...

    def adopt(self) -> int:
        """Takes over what ended processes left."""
        ...


class Room:
    """Sheds content first, oldest first, each batch once; then drops batches, oldest first.

    Args:
        usage: What the disk holds, over all processes.
        memory: What the memory of this process holds.
        aside: What was set aside, which goes before anything else.
    """

    def __init__(self, usage: DiskUsage, memory: MemoryBudget, aside: SetAside) -> None:
        self._usage = usage
        self._memory = memory
        self._aside = aside
        self.reset()

    def reset(self) -> None:
        """Knows of nothing, as in a forked child."""
        self._making = threading.Lock()
        self._lock = threading.RLock()
        self._with_content: dict[bool, deque[Batch]] = {True: deque(), False: deque()}
        self._adopted_at = -ADOPTING_SECONDS

    def note(self, batch: Batch, *, first: bool = False) -> None:
        """Notes a batch that may hold content, after all others or before them."""
        with self._lock:
            known = self._with_content[batch.path is not None]
            if first:
                known.appendleft(batch)
            else:
                known.append(batch)

    def make(self, waiting: Waiting) -> None:
        """Gives up what is too much; while another thread is at it, nothing."""
        if not self._making.acquire(blocking=False):
            return
        try:
            until = time.monotonic() + SHEDDING_SECONDS
            self._on_disk(waiting, until)
            while waiting.queued and (excess := self._memory.excess) > 0:
                if not self._give_up_in_memory(waiting, until, excess):
                    break
        finally:
            self._making.release()

    def _on_disk(self, waiting: Waiting, until: float) -> None:
        over = self._usage.over(self._aside.size)
        if over <= 0:
            return
        if self._aside.size:
            self._aside.prune(over)
        if self._usage.orphaned and time.monotonic() - self._adopted_at > ADOPTING_SECONDS:
            self._adopted_at = time.monotonic()
            waiting.adopt()
        while (excess := self._usage.excess(self._aside.size)) > 0:
            if not self._give_up_on_disk(waiting, until, bearable=excess <= self._usage.limit // _SLACK):
                return

    def _give_up_on_disk(self, waiting: Waiting, until: float, *, bearable: bool) -> bool:
        """Gives up content, or else the oldest batch; False when that is all for now."""
        while (batch := self._next(waiting, on_disk=True)) is not None:
            if time.monotonic() > until:
                if bearable:
                    return False
                break
            try:
                if waiting.strip(batch, "spool-full"):
                    return True
            except OSError:
                until = 0.0
        return waiting.drop_oldest("spool-full", on_disk=True)

    def _give_up_in_memory(self, waiting: Waiting, until: float, excess: int) -> bool:
        """As `_give_up_on_disk`. While there is content, here or where spans come from, no span goes.

        More than that cannot come in meanwhile than the limit bears: there the queue sheds its own content.
        """
        while (batch := self._next(waiting, on_disk=False)) is not None:
            if time.monotonic() > until:
                return False
            try:
                if waiting.strip(batch, "memory-full"):
                    return True
            except OSError:
                until = 0.0
        return self._memory.shed_content(excess) or waiting.drop_oldest("memory-full", on_disk=False)

    def _next(self, waiting: Waiting, on_disk: bool) -> Batch | None:
        with self._lock:
            known = self._with_content[on_disk]
            while known and (known[0].gone or known[0].bare or (known[0].path is not None) is not on_disk):
                known.popleft()
            return next((one for one in known if not (one.gone or one.bare or waiting.is_sending(one))), None)

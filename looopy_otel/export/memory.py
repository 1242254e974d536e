"""How much of the process's memory waits on its way out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from looopy_otel.core.fork import reset_after_fork


class MemoryBudget:
    """One count of bytes for one process, kept by all who hold spans: the queue, the outboxes in memory, the store.

    It refuses nothing. Who holds something asks for the `excess` after each `take`, and sheds what it has itself, first
    content and then spans, oldest first, until nothing is too much or nothing of its own is left.

    Args:
        limit: Bytes.
        reserve: Bytes of these that are left to the queue: while a destination keeps all that it may, since nobody
            takes it, what is on its way there needs room as well.

    Attributes:
        limit: Bytes.
    """

    def __init__(self, limit: int, reserve: int = 0) -> None:
        self.limit: Final = limit
        self._shared: Final = limit - reserve
        self._sheds_content: Callable[[int], bool] | None = None
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes that are held now."""
        return self._used

    @property
    def excess(self) -> int:
        """Bytes that are too much for the destinations to go on holding; 0 when there is room."""
        return max(0, self._used - self._shared)

    @property
    def overflow(self) -> int:
        """Bytes beyond the limit itself; 0 when there is room."""
        return max(0, self._used - self.limit)

    def spare_spans_with(self, sheds_content: Callable[[int], bool]) -> None:
        """Names who sheds content, so many bytes of it, before a destination that has none left drops spans."""
        self._sheds_content = sheds_content

    def shed_content(self, size: int) -> bool:
        """Has so many bytes of content shed where spans come from; false where there is none."""
        return self._sheds_content is not None and self._sheds_content(size)

    def take(self, size: int) -> None:
        """Counts bytes that are held from now on."""
        with self._lock:
            self._used += size

    def give_back(self, size: int) -> None:
        """Counts bytes that are not held any more."""
        with self._lock:
            self._used -= size

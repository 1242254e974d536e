"""When the pieces of a stream came."""

from __future__ import annotations


class Chunks:
    """The pieces of one stream.

    Attributes:
        count: How many came.
        first: Seconds to the first one, or None.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: float | None = None
        self._last = 0.0

    def add(self, time: float) -> None:
        """Notes one.

        Args:
            time: Seconds since the call began.
        """
        self.count += 1
        self._last = time
        if self.first is None:
            self.first = time

    @property
    def mean(self) -> float | None:
        """Mean seconds between two pieces; None for fewer than two."""
        return (self._last - self.first) / (self.count - 1) if self.first is not None and self.count > 1 else None

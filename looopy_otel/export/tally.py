"""Counts what became of one destination's spans."""

from __future__ import annotations

import threading
import time
from collections import Counter

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.types import DestinationState, DestinationStats


class Tally:
    """Exported, dropped and why, last error and last success; safe between threads, zero again in a forked child."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._exported = 0
        self._dropped: Counter[str] = Counter()
        self._content_shed: Counter[str] = Counter()
        self._last_error: str | None = None
        self._last_success: float | None = None

    def exported(self, spans: int) -> None:
        """Counts spans that their destination has acknowledged, now."""
        with self._lock:
            self._exported += spans
            self._last_success = time.time()

    def dropped(self, reason: str, spans: int) -> None:
        """Counts lost spans under a short, low-cardinality reason such as ``http-401``."""
        with self._lock:
            self._dropped[reason] += spans

    def content_shed(self, reason: str, spans: int) -> None:
        """Counts spans that go on without their content, under a reason such as ``memory-full``.

        Args:
            reason: Why.
            spans: How many; below 0 for those that were counted and are lost after all.
        """
        with self._lock:
            self._content_shed[reason] += spans

    def failed(self, error: str) -> None:
        """Keeps a failure in one line, secrets masked, as the last one."""
        with self._lock:
            self._last_error = error

    def stats(
        self,
        *,
        queued: int = 0,
        spooled: int = 0,
        state: DestinationState = "ok",
        state_since: float | None = None,
    ) -> DestinationStats:
        """The counts, with the spans that wait in memory and on disk, and how the destination is."""
        with self._lock:
            return DestinationStats(
                name=self._name,
                queued=queued,
                exported=self._exported,
                spooled=spooled,
                dropped=dict(self._dropped),
                content_shed=dict(+self._content_shed),
                last_error=self._last_error,
                last_success=self._last_success,
                state=state,
                state_since=state_since,
            )

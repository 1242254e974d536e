"""Says in the log what was lost and why, in few lines: one a minute for each class of reasons, one at the end."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.types import Stats

logger = logging.getLogger("looopy_otel")

SECONDS_BETWEEN_LINES: Final = 60.0

_WHAT_TO_DO: Final[Mapping[str, str]] = {
    "memory-full": "more spans came than could be taken on; a larger memory_limit= bears longer bursts, a writable "
    "spool_directory= keeps them on disk, capture='metadata' makes them small",
    "spool-full": "a backend has not taken them for long; a larger spool_limit= bears longer outages",
    "spool-unreadable": "files of the spool directory cannot be read; see its permissions and the disk",
    "shutdown": "the end came before they were safe; a larger shutdown_timeout= gives more time",
    "after-shutdown": "they ended after shutdown(); end them before",
    "http": "the backend refused them; see last_error in stats(), or run `looopy-otel doctor`",
    "exporter": "an exporter of your own failed; see its last_error in stats()",
    "stalled": "a destination was busy for too long at the end",
    "store": "the local store cannot be written; see its last_error in stats()",
    "fault": "a fault of this library; please report what stats().internal_errors says",
}


class _Loss(NamedTuple):
    shed: bool
    destination: str
    reason: str

    @property
    def kind(self) -> tuple[str, str]:
        return self.destination, _class_of(self.reason)


class LossLog:
    """Compares the health now with what was told before.

    Args:
        stats: Tells the health.
    """

    def __init__(self, stats: Callable[[], Stats]) -> None:
        self._stats = stats
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._told: Counter[_Loss] = Counter()
        self._told_at: dict[tuple[str, str], float] = {}
        self._looked_at = 0.0

    def look(self) -> None:
        """Logs what is new, unless the same class of reasons was told of within the last minute."""
        lost = _losses(self._stats())
        now = time.monotonic()
        with self._lock:
            due = [loss for loss, spans in lost.items() if spans > self._told[loss] and self._is_due(loss, now)]
            news = {loss: lost[loss] - self._told[loss] for loss in due}
            for loss in due:
                self._told[loss] = lost[loss]
                self._told_at[loss.kind] = now
        for loss, spans in news.items():
            logger.warning("looopy-otel: %s: %s", _told(loss, spans), _advice(loss.reason))

    def look_soon(self) -> None:
        """As `look`, on a thread of its own, for callers who must not wait for a log; once a minute at most."""
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at < SECONDS_BETWEEN_LINES and self._looked_at:
                return
            self._looked_at = now
        try:
            threading.Thread(target=self._look_here, name="looopy-otel-losses", daemon=True).start()
        except RuntimeError:
            # The interpreter is shutting down: the summary tells.
            return

    def summarise(self) -> None:
        """Logs in one line what was lost in all and what is left on disk; nothing where that is nothing."""
        stats = self._stats()
        lost = _losses(stats)
        parts = [_told(loss, spans) for loss, spans in sorted(lost.items())]
        held = stats.queued + sum(one.queued for one in stats.destinations)
        if held > 0:
            parts.append(f"{_spans_are(held)} in the hands of something that has not come back, such as a disk")
        if stats.spooled:
            parts.append(
                f"{_spans_are(stats.spooled)} spooled on disk: the next process that sends there delivers, "
                "or `looopy-otel spool flush`"
            )
        if parts:
            logger.warning("looopy-otel: at the end: %s", "; ".join(parts))

    def _is_due(self, loss: _Loss, now: float) -> bool:
        return now - self._told_at.get(loss.kind, -SECONDS_BETWEEN_LINES) >= SECONDS_BETWEEN_LINES

    def _look_here(self) -> None:
        with guard("export.losses"):
            self.look()


def _losses(stats: Stats) -> Counter[_Loss]:
    lost: Counter[_Loss] = Counter()
    for shed, counts in ((False, stats.dropped), (True, stats.content_shed)):
        for reason, spans in counts.items():
            lost[_Loss(shed, "", reason)] += spans
    for one in stats.destinations:
        for shed, counts in ((False, one.dropped), (True, one.content_shed)):
            for reason, spans in counts.items():
                lost[_Loss(shed, one.name, reason)] += spans
                # The totals hold these as well; what remains was lost on the way to all.
                lost[_Loss(shed, "", reason)] -= spans
    return +lost


def _spans_are(spans: int) -> str:
    return "1 span is" if spans == 1 else f"{spans} spans are"


def _told(loss: _Loss, spans: int) -> str:
    amount = "1 span was" if spans == 1 else f"{spans} spans were"
    outcome = "kept without content" if loss.shed else "lost"
    return f"{amount} {outcome} ({loss.destination + ': ' if loss.destination else ''}{loss.reason})"


def _class_of(reason: str) -> str:
    return reason if reason in _WHAT_TO_DO else reason.partition("-")[0]


def _advice(reason: str) -> str:
    return _WHAT_TO_DO.get(_class_of(reason), "see stats()")

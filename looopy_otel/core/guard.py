"""The one place that swallows our own faults: counted, logged once per place, re-raised under test."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from types import TracebackType
from typing import ClassVar

logger = logging.getLogger("looopy_otel")


class guard:
    """Runs our own code so that no fault of it reaches the user's call.

    ``with guard("record.finish"): …`` swallows an `Exception` raised inside, counts it under that place and logs the
    first of each place with its traceback. `BaseException`s that are no `Exception` pass.
    """

    faults: ClassVar[Counter[str]] = Counter()
    raising: ClassVar[bool] = False
    _lock: ClassVar[threading.Lock] = threading.Lock()

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        with guard._lock:
            guard.faults[self._place] += 1
            first = guard.faults[self._place] == 1
        if guard.raising:
            return False
        if first:
            logger.warning(
                "looopy-otel: a fault in %s was swallowed; the call it belongs to goes on. "
                "Further faults there are counted in stats().internal_errors only.",
                self._place,
                exc_info=error,
            )
        return True

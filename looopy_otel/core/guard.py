"""The one place that swallows our own faults: counted, logged once per place, re-raised under test."""

from __future__ import annotations

import logging
import signal
import threading
from collections import Counter
from contextlib import suppress
from types import FrameType, TracebackType
from typing import ClassVar

_SIGNALS = tuple(signal.valid_signals())
logger = logging.getLogger("looopy_otel")


class guard:
    """Runs our own code so that no fault of it reaches the user's call.

    ``with guard("record.finish"): …`` swallows an `Exception` raised inside, counts it under that place and logs the
    first of each place with its traceback. `BaseException`s that are no `Exception` pass, and so does what a handler of
    a signal raises meanwhile, such as a time limit: it is meant for the user's code.
    """

    faults: ClassVar[Counter[str]] = Counter()
    raising: ClassVar[bool] = False
    # A handler of a signal may count a fault while its own thread counts another.
    _lock: ClassVar[threading.RLock] = threading.RLock()

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or is_from_signal(error):
            return False
        with guard._lock:
            guard.faults[self._place] += 1
            first = guard.faults[self._place] == 1
        if guard.raising:
            return False
        if first:
            _log(self._place, error)
        return True


def _log(place: str, error: Exception) -> None:
    # An exception of the user's, whose truth value or text may raise, is asked for both by whoever prints it.
    with suppress(Exception):
        logger.warning(
            "looopy-otel: a fault in %s was swallowed; the call it belongs to goes on. "
            "Further faults there are counted in stats().internal_errors only.",
            place,
            exc_info=(type(error), error, error.__traceback__),
        )


def is_from_signal(error: BaseException) -> bool:
    """True for what a handler of a signal has raised, on top of whatever was running in the main thread."""
    codes = _handlers()
    traceback = error.__traceback__ if codes else None
    while traceback is not None:
        if traceback.tb_frame.f_code in codes:
            return True
        traceback = traceback.tb_next
    return False


def is_handling_signal(frame: FrameType | None) -> bool:
    """True where a frame, or one below it, is that of a signal's handler."""
    codes = _handlers()
    while frame is not None and codes:
        if frame.f_code in codes:
            return True
        frame = frame.f_back
    return False


def _handlers() -> set[object]:
    """The code of the handlers of signals, which run in the main thread; none in others."""
    if threading.current_thread() is not threading.main_thread():
        return set()
    return {code for number in _SIGNALS if (code := _code_of(signal.getsignal(number))) is not None}


def _code_of(handler: object) -> object:
    """The code of a Python function or method; None for any other handler."""
    return getattr(getattr(handler, "__func__", handler), "__code__", None)

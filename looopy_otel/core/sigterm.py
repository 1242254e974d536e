"""SIGTERM that leaves time for work, and then ends the process as if nobody had handled it."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

from looopy_otel.core.fork import reset_after_fork

HOLD: Final = 0.1
"""Seconds for which the main thread is held at a stretch while the work goes on."""

LET_GO: Final = 0.02
"""Seconds between two stretches, in which the main thread leaves whatever lock it holds."""

GRACE: Final = 1.0
"""Seconds for which the main thread is awaited in the end; blocked outside of Python, it runs no handler."""

_LOCKING: Final = ("looopy_otel", "opentelemetry", "logging", "concurrent")
"""Packages whose locks the work may need."""


class SigtermHandler:
    """Does some work at SIGTERM, on a thread of its own, and ends the process by the same signal.

    The main thread, on which Python runs handlers, may hold any lock just then, also one that the work needs. So it is
    neither used for the work nor stopped for good: it is held for short stretches, until the work is done or its time
    is over. Forked children inherit the handler, and do their own work.

    Args:
        work: What is to be done. Called once, on any thread.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._timeout = 0.0
        self._handler = self._arrived
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._done = threading.Event()
        self._begun = False
        self._holding = False
        self._left_to_exit = False
        self._until = 0.0

    def install(self, timeout: float) -> str | None:
        """Puts the handler in the place of the default one.

        Args:
            timeout: Seconds that the work may take.

        Returns:
            Why it cannot be done; None when it is.
        """
        self._timeout = timeout
        if self._is_installed():
            return None
        if not hasattr(signal, "pthread_kill"):
            return "this platform has no SIGTERM that could be handled"
        if threading.current_thread() is not threading.main_thread():
            return "handlers of signals are set in the main thread only, and this is another"
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return "SIGTERM has a handler already"
        signal.signal(signal.SIGTERM, self._handler)
        return None

    def remove(self) -> None:
        """Puts the default handler back, if this one is still in its place and the signal has not come."""
        if self._is_installed() and not self._begun and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _is_installed(self) -> bool:
        return signal.getsignal(signal.SIGTERM) is self._handler

    def end_if_arrived(self) -> None:
        """Ends the process by the signal if it came; for the end of the interpreter, which would hide that."""
        if not self._begun or threading.current_thread() is not threading.main_thread():
            return
        self._holding = True
        if not self._left_to_exit:
            self._done.wait(max(self._until - time.monotonic(), 0.0))
        _end()

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self._holding or self._left_to_exit:
            return
        if not self._begun:
            self._begin(frame)
        elif not self._is_over():
            self._hold()
        if self._is_over():
            _end()

    def _begin(self, frame: FrameType | None) -> None:
        self._begun, self._until = True, time.monotonic() + self._timeout
        try:
            # Not `threading.Thread`, whose start waits for a lock that the main thread may hold.
            _thread.start_new_thread(self._do, ())
            _thread.start_new_thread(self._remind, ())
        except RuntimeError:
            # The interpreter is ending, and no thread starts any more. What holds a lock is let go on, up to the work
            # that the exit does anyway.
            self._left_to_exit = _is_in(_LOCKING, frame)
            if not self._left_to_exit:
                self._do()
            return
        self._hold()

    def _is_over(self) -> bool:
        return not self._left_to_exit and (self._done.is_set() or self._until <= time.monotonic())

    def _hold(self) -> None:
        self._holding = True
        try:
            self._done.wait(min(HOLD, max(self._until - time.monotonic(), 0.0)))
        finally:
            self._holding = False

    def _do(self) -> None:
        try:
            self._work()
        finally:
            self._done.set()

    def _remind(self) -> None:
        """Has the main thread look again and again, out of system calls too; at last ends the process without it."""
        main = threading.main_thread().ident
        while main is not None and time.monotonic() < self._until and not self._done.wait(HOLD + LET_GO):
            signal.pthread_kill(main, signal.SIGTERM)
        given_up = time.monotonic() + GRACE
        while main is not None and time.monotonic() < given_up:
            signal.pthread_kill(main, signal.SIGTERM)
            time.sleep(LET_GO)
        os._exit(128 + signal.SIGTERM)


def _is_in(packages: tuple[str, ...], frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages:
            return True
        frame = frame.f_back
    return False


def _end() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    # The first process of a container does not end by it, nor does one whose main thread blocks it.
    os._exit(128 + signal.SIGTERM)

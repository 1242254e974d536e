"""A block that is recorded each time it is entered; each leaving ends what its own entering began."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, installed
from looopy_otel.core.operation import Operation


class _Entry:
    """One time that a block was entered and is not left yet.

    Args:
        block: The block.
        outer: What was entered before it in this context and is not left yet.
    """

    __slots__ = ("block", "outer", "recorder")

    def __init__(self, block: Block, outer: _Entry | None) -> None:
        self.block: Block | None = block
        self.outer = outer
        self.recorder = NO_RECORDER


_entered: ContextVar[_Entry | None] = ContextVar("looopy_otel_entered", default=None)
"""The entry made last in this context; tasks that are started inside have it too."""

_lock = threading.Lock()


class Block:
    """A block that is recorded as one operation each time it is entered.

    It may be entered several times at once, in tasks and threads. Where it is left in a context that it was never
    entered in, as a framework may do that runs both ends of a dependency in copies of one context, it is the one that
    is open; where several are, all of them end, without an error, as soon as each has been left.

    Args:
        operation: Makes the operation; what it raises is a fault of ours.
    """

    __slots__ = ("_astray", "_open", "_operation")

    def __init__(self, operation: Callable[[], Operation]) -> None:
        self._operation = operation
        self._open: list[_Entry] = []
        self._astray: list[BaseException | None] = []

    def __enter__(self) -> Recorder:
        entry = _Entry(self, _last())
        try:
            entry.recorder = self._announced()
            with _lock:
                self._open.append(entry)
            _entered.set(entry)
        except BaseException as error:
            self._close(entry, error)
            raise
        return entry.recorder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entry = _last()
        while entry is not None and entry.block is not self:
            entry = entry.outer
        if entry is not None:
            self._close(entry, error)
            _entered.set(_last())
        else:
            self._astray.append(error)
        self._close_astray()

    async def __aenter__(self) -> Recorder:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _announced(self) -> Recorder:
        if installed() is not None:
            with guard("block.enter"):
                return announce(self._operation())
        return NO_RECORDER

    def _close(self, entry: _Entry, error: BaseException | None) -> None:
        recorder, entry.recorder, entry.block = entry.recorder, NO_RECORDER, None
        with _lock:
            if entry in self._open:
                self._open.remove(entry)
        recorder.end(error=error)

    def _close_astray(self) -> None:
        """Ends what was left elsewhere, once it is certain what that is."""
        with _lock:
            if not self._astray or len(self._astray) < len(self._open):
                return
            entries, errors = list(self._open), list(self._astray)
            self._astray.clear()
        for entry in entries:
            self._close(entry, errors[0] if len(entries) == len(errors) == 1 else None)


def _last() -> _Entry | None:
    """The entry of this context made last that is not left yet, here or elsewhere."""
    entry = _entered.get()
    while entry is not None and entry.block is None:
        entry = entry.outer
    return entry

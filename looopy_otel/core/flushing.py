"""What there is to flush: one slot, empty by default, for code that sees something end and knows no configuration."""

from __future__ import annotations

import _thread
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, cast

from looopy_otel.core.daemon_thread import in_daemon_thread


class Flushable(Protocol):
    """A configuration in force."""

    def flush(self, timeout: float = 5.0) -> object:
        """Delivers what is waiting, within so many seconds; never raises."""
        ...

    def shutdown(self, timeout: float | None = None) -> object:
        """Delivers or keeps on disk what is waiting, within so many seconds, and ends; never raises."""
        ...


_in_force: Flushable | None = None


def install(flushable: Flushable) -> None:
    """Fills the slot; the one before is replaced."""
    global _in_force
    _in_force = flushable


def remove(flushable: Flushable) -> None:
    """Empties the slot if `flushable` is in it."""
    global _in_force
    if _in_force is flushable:
        _in_force = None


def flush(timeout: float) -> None:
    """Flushes the configuration that is in force now, within so many seconds; without one, nothing."""
    flushable = _in_force  # Another thread may empty the slot meanwhile.
    if flushable is not None:
        flushable.flush(timeout)


def shut_down(timeout: float) -> None:
    """Shuts the configuration down that is in force, within so many seconds, in a process that is about to end."""
    flushable = _in_force
    if flushable is not None:
        flushable.shutdown(timeout)


async def flush_off_loop(timeout: float) -> None:
    """As `flush`, on a thread of its own, for which the event loop does not stand still.

    Where anyio has cancelled the place, it would cancel this wait too, at once; it is asked to let it end. Another
    cancellation by asyncio itself ends the wait, and the thread goes on.
    """
    if _in_force is None:
        return
    try:
        with _shield_of_anyio():
            await in_daemon_thread(lambda: flush(timeout), name="looopy-otel-flush")
    except RuntimeError:
        # Not under asyncio, or so late that no thread starts any more.
        flush(timeout)


def _shield_of_anyio() -> AbstractContextManager[object]:
    """A scope that anyio does not cancel; nothing where nobody has loaded anyio."""
    anyio: Any = sys.modules.get("anyio")
    scope = getattr(anyio, "CancelScope", None)
    return nullcontext() if scope is None else cast("AbstractContextManager[object]", scope(shield=True))


def flush_unwaited(timeout: float) -> None:
    """As `flush`, for a place that cannot wait."""
    if _in_force is not None:
        with suppress(RuntimeError):  # So late that no thread starts any more: the exit delivers.
            _thread.start_new_thread(flush, (timeout,))

"""Calls that are open until their consumers say otherwise, streams and generators; nothing is lost with what is not."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from looopy_otel.core.hooks import Observer, installed


class OpenCall(Protocol):
    """A call that somebody may still read from."""

    @property
    def paused(self) -> bool:
        """True where the loop over it was left, so that nobody reads from it now."""
        ...

    def leave(self) -> None:
        """Ends the call as one that its consumer has left; nothing where it has ended."""
        ...


_open: WeakKeyDictionary[OpenCall, Observer | None] = WeakKeyDictionary()


def opened(call: OpenCall) -> None:
    """Keeps a call in mind, for as long as it lives, or until `closed`."""
    _open[call] = installed()


def closed(call: OpenCall) -> None:
    """Says that a call has ended."""
    _open.pop(call, None)


def leave_open_calls(observer: Observer, *, paused_only: bool = False) -> None:
    """Ends the calls that were announced to an observer.

    Args:
        observer: The observer, which is about to go, at the end of the interpreter at last.
        paused_only: True ends only those that nobody reads from now.
    """
    for call, told in list(_open.items()):
        if told is observer and (call.paused or not paused_only):
            call.leave()

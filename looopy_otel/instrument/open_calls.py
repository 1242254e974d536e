"""Calls that are open until their consumers say otherwise, streams and generators; nothing is lost with what is not."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from looopy_otel.core.hooks import Observer, installed


class OpenCall(Protocol):
    """A call that somebody may still read from."""

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


def leave_open_calls(observer: Observer) -> None:
    """Ends the calls that were announced to an observer that is about to go, at the end of the interpreter at last."""
    for call, told in list(_open.items()):
        if told is observer:
            call.leave()

"""What must be made anew after `os.fork`: locks, threads and connections that the child inherits in name only."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Final

# OpenTelemetry's provider uses a thread pool in the forked child. Handlers run there in the order of registration, so
# those of the pools, which free the pools' lock, have to be registered first: by this import.
import_module("concurrent.futures.thread")


def reset_after_fork(method: Callable[[], None]) -> None:
    """Has a bound method called in every child that this process forks, for as long as its object lives.

    Args:
        method: Takes nothing; must not block, since locks of the parent may be held for ever in the child.
    """
    if not hasattr(os, "register_at_fork"):
        return
    reference = weakref.WeakMethod(method)

    def in_child() -> None:
        alive = reference()
        if alive is not None:
            alive()

    os.register_at_fork(after_in_child=in_child)


def close_around_fork(before: Callable[[], None], after: Callable[[], None]) -> None:
    """Has two bound methods called around every fork, for as long as their object lives.

    Args:
        before: Called in the parent right before.
        after: Called right after, in the parent and in the child.
    """
    if not hasattr(os, "register_at_fork"):
        return
    first, second = weakref.WeakMethod(before), weakref.WeakMethod(after)

    def call(reference: weakref.WeakMethod[Callable[[], None]]) -> None:
        alive = reference()
        if alive is not None:
            alive()

    os.register_at_fork(
        before=lambda: call(first), after_in_parent=lambda: call(second), after_in_child=lambda: call(second)
    )


LONGEST_LOADING: Final = 5.0
"""Seconds that a fork waits for what another thread is importing, at most."""


class _Loading:
    """Whose turn it is: that of threads which import, or that of one which forks."""

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self._forking = threading.local()

    def before_fork(self) -> None:
        self._forking.waited = self.turn.acquire(timeout=LONGEST_LOADING)

    def after_fork(self) -> None:
        if getattr(self._forking, "waited", False):
            self.turn.release()

    def in_child(self) -> None:
        self.__init__()


_loading = _Loading()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_loading.before_fork, after_in_parent=_loading.after_fork, after_in_child=_loading.in_child
    )


@contextmanager
def loading() -> Generator[None]:
    """Has a fork wait, in whatever thread it is, until what is imported inside is there.

    An import that one thread is in the middle of stays so in the child: who imports the same there waits for ever
    (https://github.com/python/cpython/issues/80849).
    """
    with _loading.turn:
        yield

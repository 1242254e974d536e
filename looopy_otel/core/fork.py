"""What must be made anew after `os.fork`: locks, threads and connections that the child inherits in name only."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from importlib import import_module

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

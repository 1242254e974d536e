"""Where an operation became current, so that it ends there, whichever task is told of the end.

Frameworks tell their callbacks of an end in a task of its own, which has a copy of the context: what is put back there
changes nothing for the one who waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any


class Place:
    """The task (or, outside of any, the thread) that this object was made in."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task = current_task()

    def run(self, work: Callable[..., object], *arguments: object) -> None:
        """Runs `work`, which does not raise, in the context of this place; here, where that cannot be reached.

        Args:
            work: What to run.
            arguments: Its arguments.
        """
        context = self._waiting_context()
        if context is None:
            work(*arguments)
            return
        begun = False

        def begin() -> None:
            nonlocal begun
            begun = True
            work(*arguments)

        try:
            context.run(begin)
        except RuntimeError:
            # The context is in use further up in this very call, which an eagerly started task can bring about.
            if begun:
                raise
            work(*arguments)

    def _waiting_context(self) -> Context | None:
        """The context of this place's task, if that waits while another one of its loop runs here."""
        here = current_task()
        if self.task is None or here is None or here is self.task or self.task.done():
            return None
        if self.task.get_loop() is not here.get_loop():
            return None
        get_context: Callable[[], Context] | None = getattr(self.task, "get_context", None)
        return get_context() if get_context is not None else _context_on_waking(self.task)


def current_task() -> asyncio.Task[Any] | None:
    """The task that runs here, if any."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _context_on_waking(task: asyncio.Task[Any]) -> Context | None:
    """The context in which a waiting task is woken, which is its own: Python 3.11 has no `Task.get_context`."""
    waits_for = getattr(task, "_fut_waiter", None)
    for callback, context in getattr(waits_for, "_callbacks", None) or ():
        if getattr(callback, "__self__", None) is task:
            return context
    return None

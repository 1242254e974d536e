"""One run's life: the task it happens in, started once, and ended when its last consumer leaves."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Protocol

from looopy_otel.agent.event_log import EventLog
from looopy_otel.core.background import GRACE

_tokens = count(1)
_running: set[Run] = set()
"""Keeps runs alive while they last: an event loop holds its tasks only weakly."""


class Work(Protocol):
    """What happens in a run. It writes the log and closes it."""

    def perform(self, log: EventLog) -> Coroutine[Any, Any, None]:
        """Does the work."""
        ...

    def give_up(self, log: EventLog) -> None:
        """Closes the log of a run that was cancelled before it began, or whose event loop is gone."""
        ...


class Run:
    """The task, the log and the consumers of one run.

    The work sees the context variables of the place where the run was made. All methods may be called in any thread;
    the task lives on the event loop of the first consumer.

    Attributes:
        log: What happened so far.
    """

    def __init__(self, work: Work) -> None:
        self.log = EventLog()
        self._work = work
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._consumers: set[int] = set()

    def join(self, wake: Callable[[], None]) -> int:
        """Adds a consumer and starts the run if it has not begun. Called inside a running event loop.

        Args:
            wake: Called after each event, perhaps from another thread.

        Returns:
            What `leave` wants to be given.
        """
        token = next(_tokens)
        self._consumers.add(token)
        self.log.listen(token, wake)
        with self._lock:
            if self._task is None and not self.log.closed:
                self._start(asyncio.get_running_loop())
        if self._task is not None and self._loop is not None and self._loop.is_closed():
            # Closed under the run, without cancelling its task: nothing happens there any more.
            self._finished(self._task)
        return token

    def leave(self, token: int) -> None:
        """Takes a consumer away; with the last one the run is cancelled. A second time it does nothing.

        It may be called by the garbage collector, so it takes no lock.
        """
        self.log.forget(token)
        if token in self._consumers:
            self._consumers.discard(token)
            if not self._consumers:
                self._cancel()

    async def ended(self) -> None:
        """Waits until a run without consumers has ended, `GRACE` seconds at most; one that never began never will."""
        if self._task is None and not self._consumers:
            self._work.give_up(self.log)
        news = asyncio.Event()
        token = next(_tokens)
        self.log.listen(token, waker(news))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                while not self.log.closed and not self._consumers:
                    await news.wait()
                    news.clear()
        self.log.forget(token)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._task = loop.create_task(self._work.perform(self.log), name="looopy-otel-run", context=self._context)
        self._task.add_done_callback(self._finished)
        _running.add(self)

    def _cancel(self) -> None:
        if self._task is None or self._loop is None or self.log.closed:
            return
        if asyncio._get_running_loop() is self._loop:
            self._task.cancel()
            return
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            # The loop was closed under the run: nothing can be awaited there any more.
            self._finished(self._task)

    def _finished(self, task: asyncio.Task[None]) -> None:
        _running.discard(self)
        if task.done() and not task.cancelled():
            # The log carries it; looked at, so that asyncio does not complain of an exception never retrieved.
            task.exception()
        self._work.give_up(self.log)


def waker(news: asyncio.Event) -> Callable[[], None]:
    """Builds what sets an event of the running loop from any thread."""
    loop = asyncio.get_running_loop()

    def wake() -> None:
        if asyncio._get_running_loop() is loop:
            news.set()
        else:
            with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits there any more.
                loop.call_soon_threadsafe(news.set)

    return wake

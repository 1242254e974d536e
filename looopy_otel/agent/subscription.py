"""Callbacks that are given a run's events."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from looopy_otel.agent.events import AgentEvent
from looopy_otel.core.background import waiting

logger = logging.getLogger("looopy_otel.agent")

_active: set[Subscription] = set()
"""Keeps subscriptions alive while they last, also when nobody keeps what `subscribe()` returned."""

LOOK_EVERY = 0.5
"""Seconds after which one who waits looks whether the event loop is still there."""


class Events(Protocol):
    """What a subscriber is given."""

    def __aiter__(self) -> AsyncIterator[AgentEvent]:
        """The events."""
        ...

    def leave(self) -> None:
        """Takes the subscriber away, at once and from any thread."""
        ...


class Subscription:
    """One subscriber of a run. Made by `AgentStream.subscribe`."""

    def __init__(
        self,
        events: Events,
        loop: asyncio.AbstractEventLoop,
        on_next: Callable[[AgentEvent], object] | None,
        on_error: Callable[[BaseException], object] | None,
        on_completed: Callable[[], object] | None,
    ) -> None:
        self._events = events
        self._loop = loop
        self._on_next = on_next
        self._on_error = on_error
        self._on_completed = on_completed
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribed = False
        self._finished = threading.Event()

    @property
    def finished(self) -> bool:
        """True when no callback will be called any more."""
        return self._finished.is_set()

    def start(self) -> None:
        """Begins the deliveries. `AgentStream.subscribe` has done so."""
        _active.add(self)
        self._in_loop(lambda: self._spawn(self._deliver(), self._delivered))

    def unsubscribe(self) -> None:
        """Ends the deliveries; no callback is called after this one. The last one to leave cancels the run."""
        self._unsubscribed = True
        self._events.leave()
        with contextlib.suppress(RuntimeError):  # Its loop is closed, so nothing is delivered there.
            self._in_loop(lambda: self._task and self._task.cancel())

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the run has ended, `unsubscribe` has taken effect, or the event loop that delivers is closed.

        Args:
            timeout: Seconds, or None for as long as it takes.

        Returns:
            False when the time was up first.

        Raises:
            RuntimeError: If called on the event loop that delivers, which would wait for itself.
        """
        if asyncio._get_running_loop() is self._loop:
            raise RuntimeError("wait() would block the event loop that the run is on; use 'async for' or arun() there")
        deadline = None if timeout is None else time.monotonic() + timeout
        with waiting():
            while not self._finished.wait(_next_look(deadline)):
                if self._loop.is_closed():
                    self._gone()
                elif deadline is not None and time.monotonic() >= deadline:
                    return False
        return True

    def _in_loop(self, action: Callable[[], object]) -> None:
        if asyncio._get_running_loop() is self._loop:
            action()
        else:
            self._loop.call_soon_threadsafe(action)

    def _spawn(self, work: Coroutine[Any, Any, None], then: Callable[[asyncio.Task[None]], None]) -> None:
        self._task = self._loop.create_task(work, name="looopy-otel-subscription", context=self._context)
        self._task.add_done_callback(then)
        if self._unsubscribed:
            self._task.cancel()

    async def _deliver(self) -> None:
        async for event in self._events:
            if self._on_next is not None and not self._unsubscribed:
                self._on_next(event)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        try:
            if not task.cancelled() and not self._unsubscribed:
                self._tell(error)
        finally:
            # After a callback that raised, the run still has this consumer, silently.
            if error is None:
                self._finish(task)
            else:
                self._spawn(self._drain(), self._finish)

    def _tell(self, error: BaseException | None) -> None:
        """Calls the last callback. What that one raises goes to the event loop's exception handler, which logs it."""
        if error is None:
            if self._on_completed is not None:
                self._on_completed()
        elif self._on_error is not None:
            self._on_error(error)
        else:
            logger.error("a run or its subscriber failed, and there is no on_error to be told", exc_info=error)

    async def _drain(self) -> None:
        async for _ in self._events:
            pass

    def _finish(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()
        self._gone()

    def _gone(self) -> None:
        _active.discard(self)
        self._finished.set()


def _next_look(deadline: float | None) -> float:
    return LOOK_EVERY if deadline is None else max(min(LOOK_EVERY, deadline - time.monotonic()), 0.0)

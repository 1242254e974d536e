"""Callbacks that are given a run's events."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from looopy_otel.agent.events import AgentEvent

logger = logging.getLogger("looopy_otel.agent")

_active: set[Subscription] = set()
"""Keeps subscriptions alive while they last, also when nobody keeps what `subscribe()` returned."""


class Subscription:
    """One subscriber of a run. Made by `AgentStream.subscribe`."""

    def __init__(
        self,
        events: AsyncIterator[AgentEvent],
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
        with contextlib.suppress(RuntimeError):  # Its loop is closed, so nothing is delivered there.
            self._in_loop(lambda: self._task and self._task.cancel())

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the run has ended, or `unsubscribe` has taken effect.

        Args:
            timeout: Seconds, or None for as long as it takes.

        Returns:
            False when the time was up first.

        Raises:
            RuntimeError: If called on the event loop that delivers, which would wait for itself.
        """
        if asyncio._get_running_loop() is self._loop:
            raise RuntimeError("wait() would block the event loop that the run is on; use 'async for' or arun() there")
        return self._finished.wait(timeout)

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
        _active.discard(self)
        self._finished.set()

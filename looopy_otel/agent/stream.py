"""The lazy event stream of one run: it starts at first consumption and runs once, however many consume it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable

from looopy_otel.agent.events import AgentEvent
from looopy_otel.agent.run import Run, waker
from looopy_otel.agent.signature import is_coroutine_function
from looopy_otel.agent.subscription import Subscription
from looopy_otel.core.background import background_loop
from looopy_otel.core.types import AgentResult


class EventIterator(AsyncIterator[AgentEvent]):
    """One consumer: reads the whole log from the start. While it is in use, it keeps the run going.

    The run ends with its last consumer: when that one is closed, cancelled, or (after a ``break``) collected.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._position = 0
        self._over = False
        self._news: asyncio.Event | None = None
        self._leave: Callable[[], object] | None = None

    def __aiter__(self) -> EventIterator:
        return self

    async def __anext__(self) -> AgentEvent:
        if self._over:
            raise StopAsyncIteration
        news = self._join()
        while (event := self._run.log.get(self._position)) is None:
            if self._run.log.closed and self._run.log.get(self._position) is None:
                self.leave()
                self._run.log.raise_error()
                raise StopAsyncIteration
            await self._wait(news)
        self._position += 1
        return event

    async def aclose(self) -> None:
        """Ends this consumer, and with the last one the run; then waits for the run's end, five seconds at most."""
        joined = self._leave is not None
        self.leave()
        if joined:
            await self._run.ended()

    def leave(self) -> None:
        """Ends this consumer, and with the last one the run, at once and from any thread."""
        self._over = True
        if self._leave is not None:
            self._leave()

    def _join(self) -> asyncio.Event:
        if self._news is None:
            self._news = asyncio.Event()
            token = self._run.join(waker(self._news))
            finalizer = weakref.finalize(self, self._run.leave, token)
            finalizer.atexit = False
            self._leave = finalizer
        return self._news

    async def _wait(self, news: asyncio.Event) -> None:
        try:
            await news.wait()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        news.clear()


class AgentStream:
    """The events of one run. Nothing happens before somebody consumes them.

    ``async for event in stream`` and `subscribe` may be used any number of times, at the same time and later: each
    consumer gets all events from the first. When the last active consumer breaks, is cancelled or unsubscribes, the run
    is cancelled. A run that fails yields its final ``failed`` event, then raises.

    Attributes:
        task_id: The run.
    """

    def __init__(self, run: Run, task_id: str) -> None:
        self._run = run
        self.task_id = task_id

    @property
    def result(self) -> AgentResult | None:
        """How the run ended; None before that."""
        return self._run.log.result

    def __aiter__(self) -> EventIterator:
        return EventIterator(self._run)

    def subscribe(
        self,
        on_next: Callable[[AgentEvent], object] | None = None,
        on_error: Callable[[BaseException], object] | None = None,
        on_completed: Callable[[], object] | None = None,
    ) -> Subscription:
        """Has the events delivered to callbacks, on the running event loop or else on a background one.

        A callback that raises ends the deliveries to its own subscriber, which is told by `on_error`; the run goes on.
        Callbacks are plain functions; coroutine code has ``async for``.

        Args:
            on_next: Called with each event.
            on_error: Called with what the run, or a callback, raised; without it the error is logged.
            on_completed: Called after the last event of a run that raised nothing.

        Returns:
            The subscription, with ``unsubscribe()`` and ``wait(timeout)``.

        Raises:
            TypeError: If a callback is a coroutine function, which nobody would await.
        """
        for name, callback in (("on_next", on_next), ("on_error", on_error), ("on_completed", on_completed)):
            if is_coroutine_function(callback):
                raise TypeError(f"{name} must be a plain function, not a coroutine function; use 'async for' instead")
        loop = asyncio._get_running_loop() or background_loop()
        subscription = Subscription(EventIterator(self._run), loop, on_next, on_error, on_completed)
        subscription.start()
        return subscription

    async def finish(self) -> AgentResult:
        """Consumes all events.

        Returns:
            How the run ended.

        Raises:
            Exception: What the run raised.
            asyncio.CancelledError: If the run was cancelled before it began.
        """
        async for _ in self:
            pass
        if self.result is None:
            raise asyncio.CancelledError
        return self.result

    async def aclose(self) -> None:
        """Ends a run that nobody consumes any more, begun or not, and waits for its end, five seconds at most."""
        await self._run.ended()

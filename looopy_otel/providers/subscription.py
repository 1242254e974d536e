"""The callback form of a call: one response, or one error, and a way to leave."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from looopy_otel.core.background import background_loop
from looopy_otel.core.types import LLMResponse

logger = logging.getLogger("looopy_otel")


class Subscription:
    """One call whose response goes to callbacks. They run on the event loop of the call.

    An exception that a callback raises goes to the loop's exception handler. An error of the call with no `on_error`
    is logged, and raised by `wait`.
    """

    def __init__(
        self,
        start: Callable[[], Coroutine[Any, Any, LLMResponse]],
        on_next: Callable[[LLMResponse], object] | None,
        on_error: Callable[[BaseException], object] | None,
        on_completed: Callable[[], object] | None,
    ) -> None:
        self._callbacks = on_next, on_error, on_completed
        self._unsubscribed = False
        self._settled = threading.Event()
        self._task: asyncio.Task[LLMResponse] | None = None
        running = _running_loop()
        self._loop = running or background_loop()
        work = start()
        if running is not None:
            self._start(work)
        else:
            self._loop.call_soon_threadsafe(self._start, work)

    def unsubscribe(self) -> None:
        """Ends the call, if it is still under way; no callback comes after."""
        self._unsubscribed = True
        # A closed loop has cancelled its tasks already.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the call has ended and the callbacks have run; not on the thread of the call's loop.

        Args:
            timeout: At most so many seconds; None for ever.

        Returns:
            True when it has ended.

        Raises:
            LiteLLMError: What the call raised, where there is no `on_error`.
            RuntimeError: If the call runs on the event loop of this very thread.
        """
        if _running_loop() is self._loop:
            raise RuntimeError("wait() would block the event loop that the call runs on; await the call instead")
        if not self._settled.wait(timeout):
            return False
        error = self._error()
        if error is not None and self._callbacks[1] is None:
            raise error
        return True

    def _start(self, work: Coroutine[Any, Any, LLMResponse]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._settle)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _settle(self, task: asyncio.Task[LLMResponse]) -> None:
        try:
            self._tell(task)
        finally:
            self._settled.set()

    def _tell(self, task: asyncio.Task[LLMResponse]) -> None:
        on_next, on_error, on_completed = self._callbacks
        error = self._error()
        if self._unsubscribed or task.cancelled():
            return
        if error is None:
            if on_next is not None:
                on_next(task.result())
            if on_completed is not None:
                on_completed()
        elif on_error is not None:
            on_error(error)
        else:
            logger.error("looopy-otel: a subscribed LLM call failed, and it has no on_error: %s", error)

    def _error(self) -> BaseException | None:
        task = self._task
        return None if task is None or task.cancelled() else task.exception()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

"""Runs a blocking function off the event loop, in a thread that nobody has to wait for.

Not `asyncio.to_thread`: its pool has few threads, so a deadline would run while the work still queues, and both
`asyncio.run` and the interpreter wait at exit for every thread of it, so work that never returns hangs the program.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any


async def in_daemon_thread(function: Callable[[], Any], *, name: str) -> Any:
    """Calls `function` in a daemon thread of its own, with the context variables of this place.

    A cancelled wait ends at once; the thread goes on until the function returns, and its result is dropped.

    Args:
        function: What to call.
        name: The thread's name.

    Returns:
        What the function returned.

    Raises:
        BaseException: What the function raised.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def work() -> None:
        call = _Call()
        with call:
            call.result = context.run(function)
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(call.settle, future)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await future


class _Call:
    """Carries a function's result or exception from its thread to the loop."""

    def __init__(self) -> None:
        self.result: Any = None
        self._error: BaseException | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        self._error = error
        return True

    def settle(self, future: asyncio.Future[Any]) -> None:
        if future.done():
            return
        if self._error is None:
            future.set_result(self.result)
        elif isinstance(self._error, StopIteration):
            # A future cannot carry it: it would end the coroutine that waits.
            future.set_exception(RuntimeError("the function raised StopIteration"))
        else:
            future.set_exception(self._error)

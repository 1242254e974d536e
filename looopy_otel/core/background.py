"""The event loop for code that has none: one daemon thread, started at first use, for `subscribe()` and sync forms."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 5.0
"""Seconds that anyone waits for something cancelled to end."""


class _Background:
    """The shared loop and its thread; a child process after ``fork`` starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name="looopy-otel-background", daemon=True
                )
                self._thread.start()
                atexit.register(_stop, self._loop, self._thread)
            return self._loop

    def is_here(self) -> bool:
        return self._thread is threading.current_thread()

    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    while not loop.is_closed():
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            # asyncio lets these leave the loop, besides handing them to the task's waiter. They belong to the run
            # that raised them, not to the other runs on this loop.
            continue
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Ends what still runs, so that every operation is told of its end, then the loop; bounded by `GRACE`."""
    if not thread.is_alive():
        return
    asyncio.run_coroutine_threadsafe(_cancel_all(), loop)
    thread.join(GRACE)


async def _cancel_all() -> None:
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=GRACE / 2)
    loop.stop()


_background = _Background()


def background_loop() -> asyncio.AbstractEventLoop:
    """The shared loop; its thread is started when there is none.

    Raises:
        RuntimeError: If called on that very thread, which would wait for itself for ever.
    """
    if _background.is_here():
        raise RuntimeError("a sync form was used on the thread that runs sync forms; use 'await' or 'async for' there")
    return _background.loop()


def background_is_running() -> bool:
    """True when the shared loop was started in this process."""
    return _background.is_running()


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine to its end on the background loop, with this thread's context variables, and waits for it.

    Called on the background loop itself (a coroutine there that calls sync code), it uses a thread of its own.

    Raises:
        BaseException: What the coroutine raised; what interrupted the wait, once the coroutine is cancelled.
    """
    if _background.is_here():
        return _in_own_thread(work)
    ended = threading.Event()
    future = asyncio.run_coroutine_threadsafe(_signalling(work, ended), _background.loop())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            ended.wait(GRACE)
        raise


async def _signalling(work: Callable[[], Coroutine[Any, Any, T]], ended: threading.Event) -> T:
    try:
        return await work()
    finally:
        ended.set()


def _in_own_thread(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    context = contextvars.copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="looopy-otel-blocking") as pool:
        return pool.submit(context.run, lambda: asyncio.run(work())).result()

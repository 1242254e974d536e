"""Event loops for code that has none, on daemon threads started at first use: for `subscribe()` and the sync forms.

One loop serves everybody, unless it is blocked: by a coroutine on it that calls sync code which waits. Then that one's
work, and whatever else is begun meanwhile, goes to another loop; so nothing waits for a thread that waits for it.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from looopy_otel.core.fork import reset_after_fork

T = TypeVar("T")

GRACE = 5.0
"""Seconds that anyone waits for something cancelled to end, or for a loop to give a sign of life."""

_blocked: set[asyncio.AbstractEventLoop] = set()
"""The loops, ours or not, on whose threads a sync form waits."""


@contextmanager
def waiting() -> Generator[None]:
    """Says that this thread waits inside: the event loop that runs on it, if any, takes no work meanwhile."""
    loop = asyncio._get_running_loop()
    if loop is None or loop in _blocked:
        yield
        return
    _blocked.add(loop)
    try:
        yield
    finally:
        _blocked.discard(loop)


def is_blocked(loop: asyncio.AbstractEventLoop) -> bool:
    """True while a sync form waits on the thread of that loop."""
    return loop in _blocked


class _LoopThread(threading.Thread):
    """An event loop on a daemon thread of its own."""

    def __init__(self) -> None:
        super().__init__(name="looopy-otel-background", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._unanswered: threading.Event | None = None
        self.start()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self.loop.is_closed():
            try:
                self.loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                # asyncio lets these leave the loop, besides handing them to the task's waiter. They belong to the run
                # that raised them, not to the other runs on this loop.
                continue
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    def answers(self) -> bool:
        """False when the loop is blocked: by a sync form, or by anything else for longer than `GRACE`."""
        if self._unanswered is not None and not self._unanswered.is_set():
            return False
        answer = threading.Event()
        with suppress(RuntimeError):  # It is closed.
            self.loop.call_soon_threadsafe(answer.set)
            deadline = time.monotonic() + GRACE
            while not is_blocked(self.loop) and time.monotonic() < deadline:
                if answer.wait(0.05):
                    return True
        self._unanswered = answer
        return False

    def end(self) -> None:
        """Has the loop cancel all that still runs on it, and end."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(lambda: self.loop.create_task(_cancel_all()))


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=GRACE / 2)
    asyncio.get_running_loop().stop()


class _LoopThreads:
    """The loops of this process, the first one first; a child process after ``fork`` starts its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: list[_LoopThread] = []
        reset_after_fork(self._forget)

    def alive(self) -> list[_LoopThread]:
        return [thread for thread in self._threads if thread.is_alive()]

    def free(self) -> _LoopThread:
        """The first one that is not blocked; a new one where there is none."""
        tried: set[_LoopThread] = set()
        while True:
            with self._lock:
                thread = next((one for one in self.alive() if one not in tried), None) or self._add()
            if thread.answers():
                return thread
            tried.add(thread)

    def _add(self) -> _LoopThread:
        if not self._threads:
            atexit.register(self._stop)
        thread = _LoopThread()
        self._threads = [*self.alive(), thread]
        return thread

    def _stop(self) -> None:
        """Ends what still runs, so that every operation is told of its end, then the loops; bounded by `GRACE`."""
        deadline = time.monotonic() + GRACE
        threads = self.alive()
        # All at once: one may be blocked until another ends.
        for thread in threads:
            thread.end()
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0.0))

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._threads = []
        _blocked.clear()


_threads = _LoopThreads()


def background_loop() -> asyncio.AbstractEventLoop:
    """A loop of ours that is not blocked; its thread is started when there is none.

    Raises:
        RuntimeError: If called on the thread of such a loop, which the caller might block.
    """
    if isinstance(threading.current_thread(), _LoopThread):
        raise RuntimeError("a sync form was used on the thread that runs sync forms; use 'await' or 'async for' there")
    return _threads.free().loop


def run_blocking(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a coroutine to its end on a background loop, with this thread's context variables, and waits for it.

    It may be called anywhere, also by a coroutine on a background loop, and inside other work of `run_blocking`: when
    that is interrupted, so is this.

    Raises:
        BaseException: What the coroutine raised; what interrupted the wait, once the coroutine is cancelled.
    """
    with begun(work) as call:
        return call.outcome.result()


@contextmanager
def begun(work: Callable[[], Coroutine[Any, Any, T]]) -> Generator[BlockingCall[T]]:
    """Begins a coroutine on a background loop; as `run_blocking`, for those who do more than wait inside.

    When the block is left by an exception, the coroutine is cancelled; else it goes on.
    """
    with waiting():
        call = BlockingCall(work, _threads.free().loop)
        with call.attended():
            yield call


def run_on_every_loop(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Runs a coroutine on each background loop that there is, but for blocked ones, and waits for it.

    Raises:
        BaseException: What it raised.
    """
    with waiting():
        for thread in _threads.alive():
            if thread.answers():
                call = BlockingCall(work, thread.loop)
                with call.attended():
                    call.outcome.result()


class BlockingCall(Generic[T]):
    """Work that a thread waits for, and the work inside it that other threads wait for.

    A loop that is blocked cannot hear that its work is cancelled; so the work that it waits for is cancelled, too.

    Attributes:
        outcome: What comes of the work.
        loop: Where it runs.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], loop: asyncio.AbstractEventLoop) -> None:
        self.outcome: Future[T] = Future()
        self.outer = _current_call.get()
        self.inner: set[BlockingCall[Any]] = set()
        self.cancelled = False
        self._work = work
        self.loop = loop
        self._task: asyncio.Task[T] | None = None

    @contextmanager
    def attended(self) -> Generator[None]:
        """Starts the work; an exception in the block cancels it, as does the end of the work that this is a part of."""
        if self.outer is not None:
            self.outer.inner.add(self)
        try:
            if self.outer is not None and self.outer.cancelled:
                raise asyncio.CancelledError
            self.loop.call_soon_threadsafe(self._begin)
            yield
        except BaseException:
            if not self.outcome.done():
                self.cancel()
                wait([self.outcome], GRACE)
            raise
        finally:
            if self.outer is not None:
                self.outer.inner.discard(self)

    def cancel(self) -> None:
        """Cancels the work, and what it waits for; from any thread."""
        self.cancelled = True
        with suppress(RuntimeError):  # The loop is closed, and its tasks are cancelled.
            self.loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())
        for call in list(self.inner):
            call.cancel()

    def _begin(self) -> None:
        self._task = self.loop.create_task(self._perform(), name="looopy-otel-blocking")
        self._task.add_done_callback(self._settle)
        if self.cancelled:
            self._task.cancel()

    async def _perform(self) -> T:
        _current_call.set(self)
        return await self._work()

    def _settle(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.outcome.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


_current_call: ContextVar[BlockingCall[Any] | None] = ContextVar("looopy_otel_blocking_call", default=None)

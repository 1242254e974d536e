"""The streamed forms of a call: one task that runs it, and the async and the sync iterator over its events."""

from __future__ import annotations

import asyncio
import queue
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, TypeAlias

from looopy_otel.core.background import background_loop
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import ContentComplete, LLMResponse, StreamEvent
from looopy_otel.providers.exchange import Exchange
from looopy_otel.providers.stream import all_events

CLOSING_SECONDS = 2.0
"""How long a consumer that leaves waits for the connection to be closed."""

_running: set[asyncio.Task[LLMResponse]] = set()
"""Event loops keep weak references to tasks only."""


@dataclass(frozen=True, slots=True)
class End:
    """After the last event.

    Attributes:
        error: What the call raised, or None.
    """

    error: BaseException | None = None


Delivery: TypeAlias = Callable[[StreamEvent | End], object]


class Pump:
    """Runs one streamed call in a task of its own, so that its span opens and ends in one place."""

    def __init__(
        self,
        operation: LLMCall,
        perform: Callable[[LLMCall, Exchange], Coroutine[Any, Any, LLMResponse]],
        context: Context,
    ) -> None:
        self._operation = operation
        self._perform = perform
        self._context = context
        self._exchange = Exchange()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[LLMResponse] | None = None
        self._stopped = False

    def start(self, deliver: Delivery) -> None:
        """Starts the call on the running loop; what it emits goes to `deliver`, and at last an `End`."""
        if self._stopped:
            deliver(End())
            return
        self._loop = asyncio.get_running_loop()
        counted = _Counted(deliver)
        operation = replace(self._operation, stream=True, emit=counted)
        self._task = self._loop.create_task(self._perform(operation, self._exchange), context=self._context)
        _running.add(self._task)
        self._task.add_done_callback(lambda task: self._finish(task, counted))
        if self._stopped:  # from another thread, meanwhile
            self.stop(abandoned=True)

    def stop(self, *, abandoned: bool) -> None:
        """Cancels the call; on the loop's thread.

        Args:
            abandoned: True when the consumer left of its own will, False when it was cancelled.
        """
        self._stopped = True
        if self._task is not None and not self._task.done():
            self._exchange.abandoned = self._exchange.abandoned or abandoned
            self._task.cancel()

    def stop_threadsafe(self, *, abandoned: bool) -> None:
        """Cancels the call; from any thread, also from a finalizer."""
        self._stopped = True
        if self._loop is not None:
            # A closed loop has cancelled its tasks already.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: self.stop(abandoned=abandoned))

    def _finish(self, task: asyncio.Task[LLMResponse], deliver: _Counted) -> None:
        _running.discard(task)
        if task.cancelled():
            # A consumer that left is told of an end, one that waits is told why.
            deliver.end(None if self._exchange.abandoned else asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            deliver.end(error)
        else:
            deliver.response(task.result())

    async def wait(self) -> None:
        """Waits until the call has ended, at most `CLOSING_SECONDS`."""
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=CLOSING_SECONDS)


class _Counted:
    """A delivery that knows whether any event went through it."""

    def __init__(self, deliver: Delivery) -> None:
        self._deliver = deliver
        self._any = False

    def __call__(self, event: StreamEvent) -> None:
        self._any = True
        self._deliver(event)

    def response(self, response: LLMResponse) -> None:
        """Delivers what ends a call well; all of the answer, where none of it was streamed."""
        if not self._any:
            for event in all_events(response):
                self._deliver(event)
        self._deliver(ContentComplete(response))
        self.end(None)

    def end(self, error: BaseException | None) -> None:
        """Delivers the end."""
        self._deliver(End(error))


class EventStream(AsyncIterator[StreamEvent]):
    """The events of one streamed call. Closing it, or dropping it, ends the call."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._queue: asyncio.Queue[StreamEvent | End] | None = None
        self._ended = False
        self._finalizer = weakref.finalize(self, pump.stop_threadsafe, abandoned=True)
        self._finalizer.atexit = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> StreamEvent:
        if self._ended:
            raise StopAsyncIteration
        if self._queue is None:
            self._queue = asyncio.Queue()
            self._pump.start(self._queue.put_nowait)
        try:
            item = await self._queue.get()
        except asyncio.CancelledError:
            self._leave(abandoned=False)
            await self._pump.wait()
            raise
        except BaseException:
            self._leave(abandoned=True)
            raise
        if not isinstance(item, End):
            return item
        self._ended = True
        self._finalizer.detach()
        raise StopAsyncIteration if item.error is None else item.error

    async def aclose(self) -> None:
        """Ends the call, if it is still under way, and waits until its connection is closed."""
        if not self._ended:
            self._leave(abandoned=True)
            await self._pump.wait()

    def _leave(self, *, abandoned: bool) -> None:
        self._ended = True
        self._finalizer.detach()
        self._pump.stop(abandoned=abandoned)


class SyncEventStream(Iterator[StreamEvent]):
    """The events of one streamed call, for sync code. Closing it, leaving its ``with`` block or dropping it ends it."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._queue: queue.SimpleQueue[StreamEvent | End] | None = None
        self._ended = False
        self._finalizer = weakref.finalize(self, pump.stop_threadsafe, abandoned=True)
        self._finalizer.atexit = False

    def __enter__(self) -> SyncEventStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> StreamEvent:
        if self._ended:
            raise StopIteration
        if self._queue is None:
            self._queue = queue.SimpleQueue()
            background_loop().call_soon_threadsafe(self._pump.start, self._queue.put)
        try:
            item = self._queue.get()
        except BaseException:
            self._leave(abandoned=False)
            raise
        if not isinstance(item, End):
            return item
        self._ended = True
        self._finalizer.detach()
        raise StopIteration if item.error is None else item.error

    def close(self) -> None:
        """Ends the call, if it is still under way."""
        if not self._ended:
            self._leave(abandoned=True)

    def _leave(self, *, abandoned: bool) -> None:
        self._ended = True
        self._finalizer.detach()
        self._pump.stop_threadsafe(abandoned=abandoned)

"""The middleware around one call of a wrapped client or function: sync and async, plain and streamed.

A stream is in the caller's hands while the middleware still waits for what comes of it. So where a call may be
streamed, the chain runs in a task of its own; there is one per call, and none per chunk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeAlias

from looopy_otel.core.background import BlockingCall, begun, waiting
from looopy_otel.core.delivery import answered, current_expense, delivered
from looopy_otel.core.errors import StreamTruncated
from looopy_otel.core.guard import guard
from looopy_otel.core.middleware import compose
from looopy_otel.core.operation import LLMCall, Middleware
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.instrument.call import StreamRecord

logger = logging.getLogger("looopy_otel.middleware")


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream that has begun.

    Attributes:
        stream: What the caller iterates over, the SDK's own object.
        record: Its record. Whoever iterates ends it, and then calls its `finish` or `afinish`.
    """

    stream: Any
    record: StreamRecord


Answer: TypeAlias = LLMResponse | Opened
_Settle: TypeAlias = Callable[[LLMResponse | None, BaseException | None], None]

_NO_ANSWER = LLMResponse(message=Message("assistant"))
_running: set[asyncio.Task[LLMResponse]] = set()
"""Event loops keep weak references to tasks only."""


def run_chain(
    middleware: Sequence[Middleware], operation: LLMCall, perform: Callable[[LLMCall], LLMResponse | Opened]
) -> LLMResponse | Opened:
    """Runs one call of a sync client through its middleware.

    The middleware runs on a background event loop with this thread's context variables, and `perform` in this thread,
    with the context variables of the middleware that calls it. Without middleware nothing but `perform` is called.

    Args:
        middleware: Outermost first.
        operation: The call.
        perform: Makes the request. It may be called again, until the caller has a stream.

    Returns:
        What came back; for a stream as soon as it has begun. `call_next` returns to the middleware when it has ended:
        with what its chunks say together, with what was raised in it, or, where the caller left it, with
        `asyncio.CancelledError`.

    Raises:
        TypeError: If what a middleware returns is no `LLMResponse`, or what it passes on is no `LLMCall`.
        BaseException: What the call, or a middleware, raises. An interrupt in `perform` cancels the chain.
    """
    if not middleware:
        return perform(operation)
    chain = _ThreadChain(middleware, operation, perform)
    with begun(chain.run) as call:
        answer = chain.serve(call)
    if isinstance(answer, Opened):
        answer.record.hand_over(_Remainder(call, answer.record))
    return answer


async def arun_chain(
    middleware: Sequence[Middleware],
    operation: LLMCall,
    perform: Callable[[LLMCall], Awaitable[LLMResponse | Opened]],
    *,
    may_stream: bool | None = None,
) -> LLMResponse | Opened:
    """Runs one call of an async client through its middleware; see `run_chain`.

    Args:
        middleware: Outermost first.
        operation: The call.
        perform: Makes the request: in the caller's task, or in a task of the chain where it may open a stream.
        may_stream: True where `perform` may give an `Opened`; by default what `operation.stream` says.
    """
    if not middleware:
        return await perform(operation)
    if operation.stream if may_stream is None else may_stream:
        return await _TaskChain(middleware, operation, perform).run()

    async def innermost(asked: Any) -> Any:
        result = await perform(_call(asked))
        return result if isinstance(result, Opened) else answered(result)

    return _response(await compose(middleware, innermost)(operation))


class _ThreadChain:
    """The chain of a sync call: its coroutine asks the caller's thread to make the request."""

    def __init__(
        self, middleware: Sequence[Middleware], operation: LLMCall, perform: Callable[[LLMCall], Answer]
    ) -> None:
        self._chain = compose(middleware, self._ask)
        self._operation = operation
        self._perform = perform
        self._errands: SimpleQueue[Callable[[], Opened | None] | None] = SimpleQueue()
        self._handed_over = False

    async def run(self) -> LLMResponse:
        return _response(await self._chain(self._operation))

    def serve(self, call: BlockingCall[LLMResponse]) -> Answer:
        """Makes the requests that the chain asks for, until it has ended or a stream has begun."""
        call.outcome.add_done_callback(lambda _: self._errands.put(None))
        while (errand := self._errands.get()) is not None:
            if opened := errand():
                return opened
        return call.outcome.result()

    async def _ask(self, asked: Any) -> LLMResponse:
        operation = _call(asked)
        _refuse_again(self._handed_over)
        answer: asyncio.Future[LLMResponse] = asyncio.get_running_loop().create_future()
        context = copy_context()
        self._errands.put(lambda: context.run(self._run, operation, answer))
        return await answer

    def _run(self, operation: LLMCall, answer: asyncio.Future[LLMResponse]) -> Opened | None:
        settle = _settling(answer)
        result = None
        with _Forwarded(settle):
            result = self._perform(operation)
            if not isinstance(result, Opened):
                settle(answered(result), None)
        if not isinstance(result, Opened):
            return None
        if answer.cancelled() or self._handed_over:
            _close(result.stream)
            return None
        self._handed_over = True
        delivered()
        _tell_of_end(result.record, settle)
        return result


class _Forwarded:
    """A block whose exception is for the middleware that waits for the answer; an interrupt is for this thread."""

    def __init__(self, settle: _Settle) -> None:
        self._settle = settle

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._settle(None, error)
        return True


class _TaskChain:
    """The chain of an async call that may be streamed, in a task that outlives the call."""

    def __init__(
        self, middleware: Sequence[Middleware], operation: LLMCall, perform: Callable[[LLMCall], Awaitable[Answer]]
    ) -> None:
        self._chain = compose(middleware, self._ask)
        self._operation = operation
        self._perform = perform
        self._opened: asyncio.Future[Opened | None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Answer:
        task = asyncio.create_task(self._answer(), name="looopy-otel-middleware")
        _running.add(task)
        task.add_done_callback(self._done)
        opened_or_done = self._opened
        try:
            opened = await opened_or_done
        except BaseException as error:
            await _cancelled(task)
            if opened_or_done.done() and not opened_or_done.cancelled() and (late := opened_or_done.result()):
                late.record.fail(error)
                await _aclose(late.stream)
            raise
        if opened is None:
            return task.result()
        # What refers to the stream from here on is the caller's alone, so that dropping it ends the call.
        self._opened = asyncio.get_running_loop().create_future()
        self._opened.set_result(None)
        opened.record.hand_over(_Remainder(task, opened.record))
        return opened

    async def _answer(self) -> LLMResponse:
        return _response(await self._chain(self._operation))

    def _done(self, task: asyncio.Task[LLMResponse]) -> None:
        _running.discard(task)
        if not self._opened.done():
            self._opened.set_result(None)

    async def _ask(self, asked: Any) -> LLMResponse:
        operation = _call(asked)
        _refuse_again(self._opened.done())
        result = await self._perform(operation)
        if not isinstance(result, Opened):
            return answered(result)
        if self._opened.done():
            await _aclose(result.stream)
            _refuse_again(True)
        record = result.record
        record.resume()
        ended: asyncio.Future[LLMResponse] = asyncio.get_running_loop().create_future()
        _tell_of_end(record, _settling(ended))
        self._opened.set_result(result)
        delivered()
        del result
        return await ended


class _Remainder:
    """What is left of a chain whose caller has the stream; see `StreamRecord.finish`.

    Args:
        chain: The chain.
        record: The stream's record.
    """

    def __init__(self, chain: BlockingCall[LLMResponse] | asyncio.Task[LLMResponse], record: StreamRecord) -> None:
        self._chain = chain
        self._seen: list[BaseException | None] = []
        self._waited_for = False
        outcome = chain if isinstance(chain, asyncio.Task) else chain.outcome
        record.on_end(lambda _, error: self._seen.append(error))
        outcome.add_done_callback(lambda _: self._report())

    def finish(self) -> None:
        """Waits for the middleware; raises what it raised, unless that is what ended the stream."""
        chain = self._chain
        if isinstance(chain, asyncio.Task) or asyncio._get_running_loop() is chain.loop:
            return
        self._waited_for = True
        try:
            with waiting():
                error = chain.outcome.exception()
        except BaseException:
            chain.cancel()
            raise
        self._raise(error)

    async def afinish(self) -> None:
        """As `finish`, for async streams."""
        task = self._chain
        if not isinstance(task, asyncio.Task):
            return self.finish()
        if task.get_loop() is not asyncio.get_running_loop():
            return
        self._waited_for = True
        try:
            await asyncio.wait({task})
        except BaseException:
            task.cancel()
            raise
        self._raise(None if task.cancelled() else task.exception())

    def _raise(self, error: BaseException | None) -> None:
        if error is not None and not self._expected(error):
            raise error

    def _report(self) -> None:
        """Logs what a middleware raised after the caller had left, when there is nobody to raise it to."""
        outcome = self._chain if isinstance(self._chain, asyncio.Task) else self._chain.outcome
        error = None if outcome.cancelled() else outcome.exception()
        left = any(isinstance(seen, GeneratorExit) for seen in self._seen)
        if left and not self._waited_for and error is not None and not self._expected(error):
            logger.error("looopy-otel: a middleware failed after its stream was left: %r", error)

    def _expected(self, error: BaseException) -> bool:
        """True for what ended the stream, and for the end of a chain that was cancelled."""
        return isinstance(error, asyncio.CancelledError) or any(error is seen for seen in self._seen)


def _tell_of_end(record: StreamRecord, settle: _Settle) -> None:
    """Has `call_next` return, or raise, when the stream ends."""
    expense = current_expense()

    def ended(response: LLMResponse | None, error: BaseException | None) -> None:
        # A stream that ends without a finish reason is no error to its caller, and none to a middleware.
        raised = None if isinstance(error, StreamTruncated) else error
        if expense is not None and raised is not None:
            # Also one of which nothing came: the endpoint had begun to answer.
            expense.add_partial(response or _NO_ANSWER)
        settle(response or _NO_ANSWER, raised)

    if record.ended:
        ended(None, None)
    else:
        record.on_end(ended)


def _settling(answer: asyncio.Future[LLMResponse]) -> _Settle:
    """Settles a future of a loop from any thread, also from a finalizer."""
    loop = answer.get_loop()

    def settle(response: LLMResponse | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if isinstance(error, StopIteration):
            answer.set_exception(RuntimeError("the call raised StopIteration"))  # No future takes it.
        elif isinstance(error, Exception):
            answer.set_exception(error)
        elif error is not None or response is None:
            # The caller left or was interrupted: what waits for the answer ends as a cancelled task does.
            answer.cancel()
        else:
            answer.set_result(response)

    def settle_there(response: LLMResponse | None, error: BaseException | None) -> None:
        # A closed loop has cancelled its tasks already.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, response, error)

    return settle_there


def _call(asked: object) -> LLMCall:
    if not isinstance(asked, LLMCall):
        raise TypeError(
            f"a middleware passed {type(asked).__name__} to call_next, not an LLMCall; "
            "write 'await call_next(operation)', or pass dataclasses.replace(operation, …)"
        )
    return asked


def _response(result: object) -> LLMResponse:
    if not isinstance(result, LLMResponse):
        raise TypeError(
            f"for LLMCall a middleware returned {type(result).__name__}, not LLMResponse; "
            "end it with 'return await call_next(operation)'"
        )
    return result


def _refuse_again(handed_over: bool) -> None:
    if handed_over:
        raise RuntimeError("the caller has the stream of this call already, so it cannot be called again")


async def _cancelled(task: asyncio.Task[LLMResponse]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _close(stream: Any) -> None:
    """Closes a stream that came too late for its caller."""
    with guard("instrument.close"):
        close = getattr(stream, "close", None)
        if close is not None:
            close()


async def _aclose(stream: Any) -> None:
    with guard("instrument.close"):
        close = getattr(stream, "aclose", None) or getattr(stream, "close", None)
        if close is not None and isinstance(pending := close(), Awaitable):
            await pending

"""The middleware chain around one call: sync and async, plain and streamed."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.core.background import run_blocking
from looopy_otel.core.hooks import NO_RECORDER
from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.core.shapes.shape import Progress
from looopy_otel.core.types import CallOutcome, ContentDelta, LLMResponse, Message
from looopy_otel.instrument.call import StreamRecord
from looopy_otel.instrument.chain import Opened, arun_chain, run_chain

OPERATION = LLMCall(messages=[{"role": "user", "content": "Hello!"}], model="m")
STREAMED = replace(OPERATION, stream=True)
Perform = Callable[[LLMCall], LLMResponse | Opened]


def answer(text: str = "Hi!") -> LLMResponse:
    return LLMResponse(message=Message("assistant", text), native=object())


class Texts:
    """A joiner of plain texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.finished = True

    @property
    def begun(self) -> bool:
        return bool(self.texts)

    def add(self, chunk: Any) -> Progress:
        self.texts.append(chunk)
        return Progress((ContentDelta(chunk),), delta=True, anything=True)

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        return LLMResponse(message=Message("assistant", "".join(self.texts)), outcome=outcome)


class Stream:
    """A stream of two texts, as a wrapped client would give it."""

    def __init__(self, operation: LLMCall, *, error: BaseException | None = None, finished: bool = True) -> None:
        joiner = Texts()
        joiner.finished = finished
        self.record = StreamRecord(NO_RECORDER, joiner, operation)
        self.record.watch(self)
        self._chunks = iter(("Hel", "lo!"))
        self._error = error
        self.closed = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            if self._error is not None:
                self.record.fail(self._error)
                self.record.finish()
                raise self._error from None
            self.record.exhaust()
            self.record.finish()
            raise
        self.record.take(chunk)
        return chunk

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> str:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            if self._error is not None:
                self.record.fail(self._error)
                await self.record.afinish()
                raise self._error from None
            self.record.exhaust()
            await self.record.afinish()
            raise StopAsyncIteration from None
        self.record.take(chunk)
        return chunk

    def close(self) -> None:
        self.closed = True
        self.record.leave()


def opened(operation: LLMCall, **how: Any) -> Opened:
    stream = Stream(operation, **how)
    return Opened(stream, stream.record)


def sync_run(middleware: list[Any], operation: LLMCall, perform: Perform) -> LLMResponse | Opened:
    return run_chain(middleware, operation, perform)


def async_run(middleware: list[Any], operation: LLMCall, perform: Perform) -> LLMResponse | Opened:
    async def asynchronous(asked: LLMCall) -> LLMResponse | Opened:
        return perform(asked)

    return asyncio.run(arun_chain(middleware, operation, asynchronous, may_stream=operation.stream))


def task_run(middleware: list[Any], operation: LLMCall, perform: Perform) -> LLMResponse | Opened:
    return async_run(middleware, replace(operation, stream=True), perform)


RUNS = pytest.mark.parametrize("run", [sync_run, async_run, task_run])
Run = Callable[[list[Any], LLMCall, Perform], Any]


@RUNS
def test_what_the_call_gives_comes_back(run: Run) -> None:
    given = answer()

    async def through(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        await asyncio.sleep(0)
        return await call_next(operation)

    assert run([through, through], OPERATION, lambda _: given) is given


@RUNS
def test_a_middleware_changes_the_call_and_the_answer(run: Run) -> None:
    async def change(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        response = await call_next(replace(operation, model="other"))
        return replace(response, model=response.model + "!")

    assert run([change], OPERATION, lambda asked: replace(answer(), model=asked.model)).model == "other!"


@RUNS
def test_a_middleware_answers_without_a_request(run: Run) -> None:
    async def cached(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return LLMResponse(message=Message("assistant", "cached"))

    def perform(asked: LLMCall) -> LLMResponse:
        raise AssertionError("nothing is to be sent")

    response = run([cached], OPERATION, perform)
    assert (response.message.content, response.native) == ("cached", None)


@RUNS
def test_a_middleware_tries_again(run: Run) -> None:
    tries: list[int] = []

    async def again(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        try:
            return await call_next(operation)
        except ConnectionError:
            await asyncio.sleep(0.001)
            return await call_next(operation)

    def perform(asked: LLMCall) -> LLMResponse:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("once")
        return answer()

    run([again], OPERATION, perform)
    assert len(tries) == 2


@RUNS
@pytest.mark.parametrize("before", [True, False])
def test_what_a_middleware_raises_is_raised(run: Run, before: bool) -> None:
    refusal = PermissionError("no")

    async def refuse(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        if not before:
            await call_next(operation)
        raise refusal

    with pytest.raises(PermissionError) as raised:
        run([refuse], OPERATION, lambda _: answer())
    assert raised.value is refusal


@RUNS
def test_the_error_of_the_call_is_the_same_object(run: Run) -> None:
    error = ValueError("bad")

    async def through(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return await call_next(operation)

    def perform(asked: LLMCall) -> LLMResponse:
        raise error

    with pytest.raises(ValueError, match="bad") as raised:
        run([through], OPERATION, perform)
    assert raised.value is error


@RUNS
def test_a_middleware_swallows_an_error_and_answers(run: Run) -> None:
    async def fallback(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        try:
            return await call_next(operation)
        except ValueError:
            return answer("fallback")

    def perform(asked: LLMCall) -> LLMResponse:
        raise ValueError

    assert run([fallback], OPERATION, perform).message.content == "fallback"


@RUNS
def test_a_wrong_result_is_named(run: Run) -> None:
    async def forgetful(operation: LLMCall, call_next: CallNext) -> None:
        await call_next(operation)

    with pytest.raises(TypeError, match="a middleware returned NoneType, not LLMResponse"):
        run([forgetful], OPERATION, lambda _: answer())


@RUNS
def test_a_wrong_operation_is_named(run: Run) -> None:
    async def wrong(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return await call_next(operation.messages)

    with pytest.raises(TypeError, match="passed list to call_next, not an LLMCall"):
        run([wrong], OPERATION, lambda _: answer())


@RUNS
def test_a_call_that_raises_stop_iteration_hangs_nothing(run: Run) -> None:
    async def through(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return await call_next(operation)

    def perform(asked: LLMCall) -> LLMResponse:
        raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        run([through], OPERATION, perform)


@RUNS
def test_context_variables_go_in_both_ways(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def setting(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        seen.append(variable.get())
        variable.set("middleware")
        return await call_next(operation)

    def perform(asked: LLMCall) -> LLMResponse:
        seen.append(variable.get())
        return answer()

    variable.set("caller")
    run([setting], OPERATION, perform)
    assert (seen, variable.get()) == (["caller", "middleware"], "caller")


def test_a_sync_call_is_made_in_the_callers_thread() -> None:
    threads: list[int] = []

    async def elsewhere(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        threads.append(threading.get_ident())
        return await call_next(operation)

    def perform(asked: LLMCall) -> LLMResponse:
        threads.append(threading.get_ident())
        return answer()

    run_chain([elsewhere], OPERATION, perform)
    assert threads[0] != threads[1] == threading.get_ident()


def test_without_middleware_nothing_but_the_call_is_made() -> None:
    given = answer()
    assert run_chain([], OPERATION, lambda asked: given if asked is OPERATION else answer()) is given


async def through(operation: LLMCall, call_next: CallNext) -> LLMResponse:
    await asyncio.sleep(0)
    return await call_next(operation)


async def test_a_sync_client_inside_a_running_loop() -> None:
    assert isinstance(run_chain([through], OPERATION, lambda _: answer()), LLMResponse)


def test_a_sync_client_inside_the_middleware_of_another() -> None:
    async def inner(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        run_chain([through], OPERATION, lambda _: answer())
        return await call_next(operation)

    assert isinstance(run_chain([inner], OPERATION, lambda _: answer()), LLMResponse)


def test_a_sync_client_on_a_background_loop() -> None:
    async def work() -> LLMResponse | Opened:
        return run_chain([through], OPERATION, lambda _: answer())

    assert isinstance(run_blocking(work), LLMResponse)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_while_performing_ends_the_chain(interrupt: type[BaseException]) -> None:
    ended: list[str] = []
    raised = interrupt()

    async def watching(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        try:
            return await call_next(operation)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    def perform(asked: LLMCall) -> LLMResponse:
        raise raised

    with pytest.raises(interrupt) as caught:
        run_chain([watching], OPERATION, perform)
    assert caught.value is raised
    assert ended == ["cancelled"]


def test_a_sync_stream_that_comes_too_late_is_closed() -> None:
    streams: list[Stream] = []
    timed_out = threading.Event()

    async def impatient(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        try:
            async with asyncio.timeout(0.01):
                return await call_next(operation)
        except TimeoutError:
            timed_out.set()
            raise

    def perform(asked: LLMCall) -> Opened:
        assert timed_out.wait(5)
        given = opened(asked)
        streams.append(given.stream)
        return given

    with pytest.raises(TimeoutError):
        run_chain([impatient], STREAMED, perform)
    assert streams[0].closed


# Streams.


class Log:
    """A middleware that keeps what becomes of a stream."""

    def __init__(self, raises: BaseException | None = None) -> None:
        self.entries: list[Any] = []
        self.over = threading.Event()
        self._raises = raises

    async def __call__(self, operation: LLMCall, call_next: CallNext) -> LLMResponse:
        deltas: list[str] = []

        def emit(event: ContentDelta) -> None:
            deltas.append(event.text)

        try:
            response = await call_next(replace(operation, emit=emit))
            self.entries.append((response.message.content, response.outcome, "".join(deltas)))
        except BaseException as error:
            self.entries.append(type(error).__name__)
            raise
        finally:
            self.over.set()
        if self._raises:
            raise self._raises
        return response


def consume_sync(middleware: list[Any], **how: Any) -> list[str]:
    result = run_chain(middleware, STREAMED, lambda asked: opened(asked, **how))
    assert isinstance(result, Opened)
    return list(result.stream)


def consume_async(middleware: list[Any], **how: Any) -> list[str]:
    async def consume() -> list[str]:
        async def perform(asked: LLMCall) -> Opened:
            return opened(asked, **how)

        result = await arun_chain(middleware, STREAMED, perform)
        assert isinstance(result, Opened)
        chunks = [chunk async for chunk in result.stream]
        assert len(asyncio.all_tasks()) == 1, "a task was left"
        return chunks

    return asyncio.run(consume())


CONSUME = pytest.mark.parametrize("consume", [consume_sync, consume_async])
Consume = Callable[..., list[str]]


@CONSUME
def test_the_chain_sees_the_joined_answer_and_the_deltas(consume: Consume) -> None:
    log = Log()
    assert consume([log]) == ["Hel", "lo!"]
    assert log.entries == [("Hello!", "completed", "Hello!")]


@CONSUME
def test_a_stream_without_an_end_is_an_answer_that_says_so(consume: Consume) -> None:
    log = Log()
    assert consume([log], finished=False) == ["Hel", "lo!"]
    assert log.entries == [("Hello!", "truncated", "Hello!")]


@CONSUME
def test_what_a_middleware_raises_after_the_stream_is_raised_at_its_end(consume: Consume) -> None:
    late = PermissionError("too long")
    with pytest.raises(PermissionError) as raised:
        consume([Log(raises=late)])
    assert raised.value is late


@CONSUME
def test_an_error_in_the_stream_reaches_the_middleware_and_the_caller(consume: Consume) -> None:
    log, error = Log(), ConnectionError("cut")
    with pytest.raises(ConnectionError) as raised:
        consume([log], error=error)
    assert raised.value is error
    assert log.entries == ["ConnectionError"]


@CONSUME
def test_an_error_in_the_stream_may_become_another(consume: Consume) -> None:
    async def translate(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        try:
            return await call_next(operation)
        except ConnectionError as error:
            raise LookupError("translated") from error

    with pytest.raises(LookupError, match="translated"):
        consume([translate], error=ConnectionError("cut"))


@CONSUME
def test_an_error_in_the_stream_cannot_be_swallowed(consume: Consume) -> None:
    async def swallow(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        try:
            return await call_next(operation)
        except ConnectionError:
            return answer()

    with pytest.raises(ConnectionError):
        consume([swallow], error=ConnectionError("cut"))


@CONSUME
def test_no_second_try_once_the_caller_has_the_stream(consume: Consume) -> None:
    async def again(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        await call_next(operation)
        return await call_next(operation)

    with pytest.raises(RuntimeError, match="has the stream of this call already"):
        consume([again])


@CONSUME
def test_a_middleware_that_fails_before_its_call_opens_no_stream(consume: Consume) -> None:
    async def refuse(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        raise PermissionError

    with pytest.raises(PermissionError):
        consume([refuse])


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_sync_stream_that_is_left_ends_the_chain(how: str) -> None:
    log = Log()
    result: Any = run_chain([log], STREAMED, lambda asked: opened(asked, finished=False))
    next(result.stream)
    if how == "close":
        result.stream.close()
    del result
    gc.collect()
    assert log.over.wait(5)
    assert log.entries == ["CancelledError"]


@pytest.mark.parametrize("how", ["close", "drop", "never"])
async def test_an_async_stream_that_is_left_ends_the_chain(how: str) -> None:
    async def perform(asked: LLMCall) -> Opened:
        return opened(asked, finished=False)

    log = Log()
    result: Any = await arun_chain([log], STREAMED, perform)
    if how != "never":
        await anext(result.stream)
    if how == "close":
        result.stream.close()
    del result
    gc.collect()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5)
    assert log.entries == ["CancelledError"]


def test_a_loop_that_ends_with_an_open_stream_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def perform(asked: LLMCall) -> Opened:
        return opened(asked, finished=False)

    async def leave() -> Any:
        result: Any = await arun_chain([log], STREAMED, perform)
        await anext(result.stream)
        return result

    log = Log()
    result = asyncio.run(leave())
    result.stream.close()
    del result
    gc.collect()
    assert log.entries == ["CancelledError"]
    assert not caplog.records


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_cancelled_async_call_cancels_its_request(streamed: bool) -> None:
    started, log = asyncio.Event(), Log()
    outcomes: list[str] = []

    async def perform(asked: LLMCall) -> LLMResponse:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise
        return answer()

    task = asyncio.ensure_future(arun_chain([log], STREAMED if streamed else OPERATION, perform))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (log.entries, outcomes) == (["CancelledError"], ["cancelled"])
    assert len(asyncio.all_tasks()) == 1


async def test_a_timeout_of_a_middleware_ends_the_request() -> None:
    async def impatient(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        async with asyncio.timeout(0.01):
            return await call_next(operation)

    async def perform(asked: LLMCall) -> LLMResponse:
        await asyncio.sleep(60)
        return answer()

    for operation in (OPERATION, STREAMED):
        with pytest.raises(TimeoutError):
            await arun_chain([impatient], operation, perform)


async def test_a_chain_with_a_stream_is_one_task() -> None:
    async def perform(asked: LLMCall) -> Opened:
        return opened(asked)

    result: Any = await arun_chain([through, through], STREAMED, perform)
    assert len(asyncio.all_tasks()) == 2
    async for _ in result.stream:
        assert len(asyncio.all_tasks()) == 2


async def test_a_plain_async_call_is_made_in_the_callers_task() -> None:
    async def perform(asked: LLMCall) -> LLMResponse:
        assert asyncio.current_task() is caller
        return answer()

    caller = asyncio.current_task()
    await arun_chain([through], OPERATION, perform)


def test_two_hundred_sync_calls_at_once() -> None:
    def call(number: int) -> None:
        given = run_chain([through], OPERATION, lambda _: answer(str(number)))
        assert isinstance(given, LLMResponse)
        results[number] = given.message.content == str(number)

    results: dict[int, bool] = {}
    threads = [threading.Thread(target=call, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(results.values()) == 200

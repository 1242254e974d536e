"""Any callable, of any kind: recorded as an LLM call, with and without readers and middleware."""

from __future__ import annotations

import asyncio
import gc
import inspect
import io
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from looopy_otel.agent.retry import Retry
from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.instrument.decorators import trace_span
from looopy_otel.instrument.wrapping import wrap
from looopy_otel.testing import CapturedSpans, capture_spans

MESSAGES = [{"role": "user", "content": "Hello!"}]
COMPLETION: dict[str, Any] = {
    "id": "c-1",
    "model": "gpt-4o-2024",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi!"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHUNKS: list[Any] = [
    {"id": "c-1", "model": "gpt-4o-2024", "choices": [{"index": 0, "delta": {"content": "H"}}]},
    {"id": "c-1", "model": "gpt-4o-2024", "choices": [{"index": 0, "delta": {"content": "i!"}}]},
    {"id": "c-1", "model": "gpt-4o-2024", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {"id": "c-1", "model": "gpt-4o-2024", "choices": [], "usage": COMPLETION["usage"]},
]


class Model:
    """The same model in every form that a function can have."""

    def __init__(self, *failures: BaseException, chunks: list[Any] = CHUNKS) -> None:
        self.failures = list(failures)
        self.seen: list[Any] = []
        self.chunks = chunks

    def _begin(self, messages: Any, model: str) -> None:
        self.seen.append((messages, model))
        if self.failures:
            raise self.failures.pop(0)

    def plain(self, messages: Any, model: str = "gpt-4o") -> Any:
        self._begin(messages, model)
        return COMPLETION

    async def coroutine(self, messages: Any, model: str = "gpt-4o") -> Any:
        self._begin(messages, model)
        await asyncio.sleep(0)
        return COMPLETION

    def generator(self, messages: Any, model: str = "gpt-4o") -> Iterator[Any]:
        self._begin(messages, model)
        yield from self.chunks

    async def async_generator(self, messages: Any, model: str = "gpt-4o") -> AsyncIterator[Any]:
        self._begin(messages, model)
        for chunk in self.chunks:
            await asyncio.sleep(0)
            yield chunk

    def returned_iterator(self, messages: Any, model: str = "gpt-4o") -> Iterator[Any]:
        self._begin(messages, model)
        return iter(self.chunks)

    def returned_async_iterator(self, messages: Any, model: str = "gpt-4o") -> AsyncIterator[Any]:
        self._begin(messages, model)
        return _each(self.chunks)

    async def awaited_async_iterator(self, messages: Any, model: str = "gpt-4o") -> AsyncIterator[Any]:
        self._begin(messages, model)
        return _each(self.chunks)


async def _each(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


PLAIN = ["plain", "coroutine"]
STREAMS = ["generator", "async_generator", "returned_iterator", "returned_async_iterator", "awaited_async_iterator"]
ALL = pytest.mark.parametrize("kind", [*PLAIN, *STREAMS])


async def used(result: Any, take: int | None = None) -> Any:
    """What a caller of any kind gets in the end."""
    if inspect.iscoroutine(result):
        result = await result
    if hasattr(result, "__anext__"):
        items: list[Any] = []
        async for item in result:
            items.append(item)
            if len(items) == take:
                await result.aclose()
                break
        return items
    if hasattr(result, "__next__"):
        items = []
        for item in result:
            items.append(item)
            if len(items) == take:
                getattr(result, "close", lambda: None)()
                break
        return items
    return result


def driven(call: Callable[[], Any]) -> None:
    """Uses what a call gives without an event loop, which an interrupt would end."""
    pending: Any = used(call())
    while True:
        pending.send(None)


def call_of(captured: CapturedSpans) -> dict[str, Any]:
    return captured.attributes("llm.call")


@ALL
async def test_one_call_with_all_that_is_known(kind: str) -> None:
    model = Model()
    with capture_spans() as captured:
        result = await used(wrap(getattr(model, kind))(MESSAGES, model="gpt-4o"))
    assert result == (COMPLETION if kind in PLAIN else CHUNKS)
    assert captured.outline() == ["llm.call"]
    call = call_of(captured)
    assert call["gen_ai.request.model"] == "gpt-4o"
    assert call["gen_ai.response.model"] == "gpt-4o-2024"
    assert (call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]) == (3, 2)
    assert (call["llm.usage.source"], call["llm.outcome"], call["llm.finish_reason"]) == (
        "reported",
        "completed",
        "stop",
    )
    assert call["gen_ai.completion"] == "Hi!"
    assert ("gen_ai.response.time_to_first_chunk" in call) == (kind in STREAMS)


@ALL
async def test_the_wrapper_is_of_the_same_kind(kind: str) -> None:
    function = getattr(Model(), kind)
    wrapped = wrap(function)
    for is_kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        assert is_kind(wrapped) == is_kind(function)
    assert inspect.signature(wrapped) == inspect.signature(function)
    assert wrapped.__name__ == function.__name__


@ALL
async def test_untraced_it_is_called_as_it_is(kind: str) -> None:
    assert await used(wrap(getattr(Model(), kind))(MESSAGES)) == (COMPLETION if kind in PLAIN else CHUNKS)


@ALL
async def test_an_error_passes_and_is_recorded(kind: str) -> None:
    error = ValueError("bad")
    with capture_spans() as captured, pytest.raises(ValueError, match="bad") as raised:
        await used(wrap(getattr(Model(error), kind))(MESSAGES))
    assert raised.value is error
    assert (call_of(captured)["llm.outcome"], call_of(captured)["error.type"]) == ("error", "ValueError")


@ALL
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interrupt_passes_and_is_no_failure(kind: str, interrupt: type[BaseException]) -> None:
    raised = interrupt()
    with capture_spans() as captured:
        wrapped = wrap(getattr(Model(raised), kind))
        with pytest.raises(interrupt) as caught:
            driven(lambda: wrapped(MESSAGES))
    assert caught.value is raised
    assert call_of(captured)["llm.outcome"] == "cancelled"
    assert "error.type" not in call_of(captured)


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_that_is_left(kind: str) -> None:
    with capture_spans() as captured:
        result = await used(wrap(getattr(Model(), kind))(MESSAGES), take=1)
        del result
        gc.collect()
    call = call_of(captured)
    assert (call["llm.outcome"], call["gen_ai.completion"]) == ("abandoned", "H")


@pytest.mark.parametrize("kind", ["returned_iterator", "returned_async_iterator", "awaited_async_iterator"])
async def test_a_stream_that_is_dropped_before_its_first_chunk(kind: str) -> None:
    with capture_spans() as captured:
        result = wrap(getattr(Model(), kind))(MESSAGES)
        if inspect.iscoroutine(result):
            result = await result
        del result
        gc.collect()
    assert call_of(captured)["llm.outcome"] == "abandoned"


@pytest.mark.parametrize("kind", STREAMS[2:])
async def test_a_stream_that_ends_without_a_finish_reason_is_truncated(kind: str) -> None:
    with capture_spans() as captured:
        await used(wrap(getattr(Model(chunks=CHUNKS[:2]), kind))(MESSAGES))
    assert call_of(captured)["llm.outcome"] == "truncated"


@pytest.mark.parametrize("kind", STREAMS)
async def test_texts_are_joined(kind: str) -> None:
    with capture_spans() as captured:
        await used(wrap(getattr(Model(chunks=["H", "i!"]), kind))(MESSAGES))
    call = call_of(captured)
    assert (call["gen_ai.completion"], call["llm.outcome"], call["llm.usage.source"]) == ("Hi!", "completed", "missing")


@pytest.mark.parametrize("kind", STREAMS)
async def test_between_the_chunks_nothing_is_current(kind: str) -> None:
    with capture_spans() as captured:
        result = wrap(getattr(Model(), kind))(MESSAGES)
        if inspect.iscoroutine(result):
            result = await result
        trace_span(name="before")(gc.collect)()
        await used(result)
    assert "  before" not in captured.outline()


@ALL
async def test_readers_say_what_is_asked_and_answered(kind: str) -> None:
    def request(messages: Any, model: str = "") -> Mapping[str, Any]:
        return {"model": "mine/" + model, "messages": messages[0]["content"], "parameters": {"temperature": 0.5}}

    def response(result: Any) -> Mapping[str, Any]:
        count = 4 if result == CHUNKS else 0
        return {
            "output": f"read {count}",
            "model": "m-2",
            "usage": {"input_tokens": 7, "output_tokens": 1},
            "cost": 0.5,
        }

    with capture_spans() as captured:
        await used(wrap(getattr(Model(), kind), request=request, response=response)(MESSAGES, model="m"))
    call = call_of(captured)
    assert call["gen_ai.request.model"] == "mine/m"
    assert call["gen_ai.request.temperature"] == 0.5
    assert call["gen_ai.response.model"] == "m-2"
    assert call["gen_ai.usage.input_tokens"] == 7
    assert call["gen_ai.usage.cost"] == 0.5
    assert call["gen_ai.completion"] == ("read 0" if kind in PLAIN else "read 4")


@ALL
async def test_a_reader_that_fails_harms_nobody(kind: str, swallowed_faults: Counter[str]) -> None:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    import looopy_otel as lo

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError

    with lo.configure(exporters=InMemorySpanExporter()):
        wrapped = wrap(getattr(Model(), kind), request=broken, response=broken)
        assert await used(wrapped(MESSAGES)) == (COMPLETION if kind in PLAIN else CHUNKS)
    assert swallowed_faults["functions.request"] == 1
    assert sum(swallowed_faults.values()) >= 2


# Middleware.


class Log:
    """A middleware that keeps what it sees."""

    def __init__(self) -> None:
        self.texts: list[Any] = []

    async def __call__(self, operation: LLMCall, call_next: CallNext) -> LLMResponse:
        await asyncio.sleep(0)
        response: LLMResponse = await call_next(operation)
        self.texts.append(response.message.content)
        return response


MIDDLE = pytest.mark.parametrize(
    "kind", ["plain", "coroutine", "generator", "async_generator", "returned_iterator", "awaited_async_iterator"]
)


@MIDDLE
async def test_middleware_sees_the_answer(kind: str) -> None:
    log = Log()
    with capture_spans() as captured:
        result = await used(wrap(getattr(Model(), kind), middleware=[log])(MESSAGES))
    assert result == (COMPLETION if kind in PLAIN else CHUNKS)
    assert log.texts == ["Hi!"]
    assert captured.outline() == ["llm.call"]
    assert call_of(captured)["gen_ai.usage.input_tokens"] == 3


@MIDDLE
async def test_middleware_changes_the_request(kind: str) -> None:
    async def change(operation: LLMCall, call_next: CallNext) -> Any:
        return await call_next(replace(operation, model="other", messages=[Message("user", "Bye!")]))

    model = Model()
    await used(wrap(getattr(model, kind), middleware=[change])(MESSAGES))
    assert model.seen == [([Message("user", "Bye!")], "other")]


@MIDDLE
async def test_middleware_answers_by_itself(kind: str) -> None:
    async def cached(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return LLMResponse(message=Message("assistant", "cached"))

    model = Model()
    with capture_spans() as captured:
        result = await used(wrap(getattr(model, kind), middleware=[cached])(MESSAGES))
    assert result == "cached" or result == ["cached"]
    assert model.seen == []
    assert call_of(captured)["gen_ai.completion"] == "cached"


@MIDDLE
async def test_middleware_gives_the_caller_an_object_of_its_choice(kind: str) -> None:
    if kind not in PLAIN:
        pytest.skip("a stream's chunks are made of the text")
    chosen = object()

    async def cached(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return LLMResponse(message=Message("assistant", "cached"), native=chosen)

    assert await used(wrap(getattr(Model(), kind), middleware=[cached])(MESSAGES)) is chosen


@MIDDLE
async def test_retries_are_attempts_of_one_call(kind: str) -> None:
    retry = Retry(initial_delay=0.001, max_delay=0.002)
    model = Model(ConnectionError("once"))
    with capture_spans() as captured:
        result = await used(wrap(getattr(model, kind), middleware=[retry])(MESSAGES))
    assert result == (COMPLETION if kind in PLAIN else CHUNKS)
    assert captured.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]
    assert call_of(captured)["llm.outcome"] == "completed"
    assert len(model.seen) == 2


async def test_no_retry_once_the_caller_has_the_stream() -> None:
    async def failing() -> AsyncIterator[str]:
        raise ConnectionError("late")
        yield "never"

    async def ask(prompt: str) -> AsyncIterator[str]:
        return failing()

    calls = Retry(initial_delay=0.001)
    with capture_spans() as captured, pytest.raises(ConnectionError, match="late"):
        await used(wrap(ask, middleware=[calls])("Hello!"))
    assert captured.outline() == ["llm.call", "  llm.attempt"]


# What is wrapped.


def test_a_result_of_none_stays_none() -> None:
    def nothing(prompt: str) -> None:
        return None

    with capture_spans():
        assert wrap(nothing, middleware=[Log()])("Hello!") is None  # type: ignore[func-returns-value]


def test_methods_of_classes_keep_working() -> None:
    class Bot:
        name = "bot"

        def ask(self, prompt: str) -> str:
            return f"{self.name}: {prompt}"

        traced_ask = wrap(ask)

    with capture_spans() as captured:
        assert Bot().traced_ask("Hi") == "bot: Hi"
    assert call_of(captured)["gen_ai.completion"] == "bot: Hi"


def test_partials_callable_objects_and_lambdas() -> None:
    class Ask:
        def __call__(self, prompt: str) -> str:
            return prompt.upper()

    def ask(greeting: str, prompt: str) -> str:
        return greeting + prompt

    with capture_spans() as captured:
        assert wrap(Ask())("hi") == "HI"
        assert wrap(partial(ask, "hello, "))("you") == "hello, you"
        assert wrap(lambda prompt: prompt)("x") == "x"  # type: ignore[arg-type, misc]
    assert captured.outline() == ["llm.call"] * 3


def test_wrapping_again_adds_nothing_but_new_middleware() -> None:
    def ask(prompt: str) -> str:
        return prompt

    once = wrap(ask)
    log = Log()
    assert wrap(once) is once
    with_log = wrap(once, middleware=[log])
    assert with_log is not once
    assert wrap(with_log, middleware=[log])("x") == "x"
    assert log.texts == ["x"]
    with capture_spans() as captured:
        with_log("x")
    assert captured.outline() == ["llm.call"]


@pytest.mark.parametrize("target", [1, "text", None, [], dict, object(), io.StringIO])
def test_what_cannot_be_wrapped_is_said(target: Any) -> None:
    with pytest.raises(TypeError, match=r"wrap\(\) cannot wrap .* It takes clients of OpenAI and Anthropic"):
        wrap(target)


def test_middleware_must_be_callable() -> None:
    with pytest.raises(TypeError, match="middleware must be"):
        wrap(lambda prompt: prompt, middleware=["no"])  # type: ignore[list-item, arg-type, misc]


def test_a_call_recorded_inside_is_the_generation() -> None:
    inner = wrap(lambda prompt: COMPLETION, request=lambda prompt: {"model": "gpt-4o", "messages": prompt})  # type: ignore[misc, arg-type]
    outer: Callable[[str], Any] = wrap(lambda prompt: inner(prompt)["id"])  # type: ignore[misc]
    with capture_spans() as captured:
        assert outer("Hello!") == "c-1"
    assert captured.outline()[1:] == ["  llm.call"]
    assert call_of(captured)["gen_ai.usage.input_tokens"] == 3


async def test_a_plain_function_that_returns_a_coroutine() -> None:
    async def ask(prompt: str) -> Any:
        await asyncio.sleep(0)
        return COMPLETION

    with capture_spans() as captured:
        assert await wrap(lambda prompt: ask(prompt))("Hello!") == COMPLETION  # type: ignore[misc, arg-type]
    assert call_of(captured)["gen_ai.usage.input_tokens"] == 3

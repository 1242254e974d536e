"""What is wrapped stays what it was: callable objects, providers of every make, methods, streams, results."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from pydantic import BaseModel

from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.instrument.wrapping import wrap
from looopy_otel.testing import capture_spans

MESSAGES = [{"role": "user", "content": "Hello!"}]


async def through(operation: LLMCall, call_next: CallNext) -> Any:
    return await call_next(operation)


class Chain:
    """A callable object with a state."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, text: str) -> str:
        self.calls += 1
        return text

    def __len__(self) -> int:
        return self.calls


def test_a_callable_object_stays_one() -> None:
    chain = Chain()
    wrapped = wrap(chain, middleware=[through])
    with capture_spans() as captured:
        assert wrapped("a") == "a"
    assert captured.outline() == ["llm.call"]
    assert isinstance(wrapped, Chain)
    assert (wrapped.calls, len(wrapped), chain.calls) == (1, 1, 1)
    assert wrap(wrapped) is wrapped
    other = copy.copy(wrapped)
    other("b")
    assert (other.calls, wrapped.calls) == (2, 1)
    assert pickle.loads(pickle.dumps(wrap(chain))).calls == 1


def test_a_cached_function_keeps_its_cache() -> None:
    @functools.lru_cache
    def ask(text: str) -> str:
        return text

    wrapped = wrap(ask)
    wrapped("a")
    assert wrapped.cache_info().currsize == 1
    wrapped.cache_clear()
    assert ask.cache_info().currsize == 0


def test_descriptors_in_a_class_body() -> None:
    class Bot:
        @wrap
        @staticmethod
        def static(text: str) -> str:
            return text

        @wrap
        @classmethod
        def of_class(cls, text: str) -> str:
            return cls.__name__ + text

    with capture_spans() as captured:
        assert Bot().static("x") == "x"
        assert Bot.of_class("x") == "Botx"
    assert captured.outline() == ["llm.call", "llm.call"]


def test_a_partial_tells_what_it_holds() -> None:
    def ask(model: str, prompt: str) -> str:
        return prompt

    wrapped = wrap(functools.partial(ask, model="gpt-4o"))
    with capture_spans() as captured:
        assert wrapped(prompt="x") == "x"
    assert isinstance(wrapped, functools.partial)
    assert captured.attributes("llm.call")["gen_ai.request.model"] == "gpt-4o"
    assert wrap(wrapped) is wrapped


@pytest.mark.parametrize("middleware", [[], [through]])
async def test_what_is_sent_and_thrown_reaches_an_async_generator(middleware: list[Any]) -> None:
    async def echo(prompt: str) -> AsyncGenerator[Any, Any]:
        given: Any = prompt
        while given != "stop":
            try:
                given = yield given
            except ValueError:
                given = "handled"

    stream = wrap(echo, middleware=middleware)("a")
    assert [await anext(stream), await stream.asend("b"), await stream.athrow(ValueError())] == ["a", "b", "handled"]
    await stream.aclose()


@pytest.mark.parametrize("middleware", [[], [through]])
async def test_a_plain_function_around_an_async_one(middleware: list[Any]) -> None:
    async def ask(prompt: str) -> str:
        await asyncio.sleep(0)
        return prompt

    @functools.wraps(ask)
    def hidden(*args: Any, **kwargs: Any) -> Any:
        return ask(*args, **kwargs)

    functions: list[Any] = [hidden, lambda prompt: ask(prompt)]  # type: ignore[misc]
    for function in functions:
        with capture_spans() as captured:
            assert await wrap(function, middleware=middleware)("Hi") == "Hi"
        assert captured.attributes("llm.call")["gen_ai.completion"] == "Hi"


async def test_a_stream_that_a_plain_function_gives_in_the_end() -> None:
    async def chunks() -> AsyncIterator[str]:
        yield "H"
        yield "i"

    async def opened() -> Any:
        return chunks()

    for middleware in ([], [through]):
        with capture_spans() as captured:
            stream = await wrap(lambda prompt: opened(), middleware=middleware)("x")  # type: ignore[misc, arg-type]
            assert [chunk async for chunk in stream] == ["H", "i"]
        call = captured.attributes("llm.call")
        assert (call["llm.outcome"], call["gen_ai.completion"]) == ("completed", "Hi")


class Page:
    """Can be read again and again."""

    async def __aiter__(self) -> AsyncIterator[str]:
        yield "a"


class Cursor:
    """An iterator that can do more."""

    def __init__(self) -> None:
        self.left = iter("ab")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self.left)

    def __len__(self) -> int:
        return 2

    def __bool__(self) -> bool:
        return False

    def __getitem__(self, index: int) -> str:
        return "ab"[index]


async def test_only_what_can_be_read_once_is_a_stream() -> None:
    page = Page()
    with capture_spans():
        given = wrap(lambda prompt: page)("x")  # type: ignore[misc, arg-type]
        cursor: Any = wrap(lambda prompt: Cursor())("x")  # type: ignore[misc, arg-type]
    assert given is page
    assert (len(cursor), bool(cursor), cursor[1], list(cursor)) == (2, False, "b", ["a", "b"])


def test_a_result_of_an_odd_class_passes() -> None:
    class Meta(type):
        def __getattr__(cls, name: str) -> Any:
            raise RuntimeError(name)

    class Odd(metaclass=Meta):
        """Its class raises where it is asked for anything."""

    odd = Odd()
    with capture_spans() as captured:
        assert wrap(lambda prompt: odd)("x") is odd  # type: ignore[misc, arg-type]
    assert captured.outline() == ["llm.call"]


# Providers.

ANSWER = LLMResponse(message=Message("assistant", "Hi!"))


class Awaited:
    """A provider whose call is an ``async def``."""

    model = "m"

    async def call(self, messages: Any, tools: Any = None) -> LLMResponse:
        return ANSWER


class Streamed:
    """A provider whose call is an async generator."""

    model = "m"

    async def call(self, *, messages: Any) -> AsyncIterator[Any]:
        yield "Hi!"


class Typed(BaseModel):
    """A provider that is a pydantic model."""

    model: str = "m"

    async def call(self, *, messages: Any) -> LLMResponse:
        return ANSWER


class Slotted:
    """A provider with slots."""

    __slots__ = ("model",)

    def __init__(self) -> None:
        self.model = "m"

    async def call(self, *, messages: Any) -> LLMResponse:
        return ANSWER


class Assigned:
    """A provider whose call is an attribute."""

    def __init__(self) -> None:
        self.model = "m"
        self.call = Awaited().call


class Registered(Awaited):
    """A provider whose subclasses must have a name."""

    def __init_subclass__(cls, *, name: str) -> None:
        raise AssertionError(name)


@pytest.mark.parametrize("make", [Awaited, Typed, Slotted, Assigned, Registered])
def test_providers_of_every_make(make: Any) -> None:
    wrapped = wrap(make(), middleware=[through])
    with capture_spans() as captured:
        assert asyncio.run(wrapped.call(messages=MESSAGES)) == ANSWER
    assert captured.attributes("llm.call")["gen_ai.completion"] == "Hi!"
    assert isinstance(wrapped, make)
    assert wrapped.model == "m"
    assert wrap(wrapped) is wrapped


async def test_a_coroutine_of_a_provider_is_one() -> None:
    wrapped = wrap(Awaited())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(wrapped.call(MESSAGES))
    assert task.result() == ANSWER


async def test_an_async_generator_of_a_provider_can_be_closed() -> None:
    stream: Any = wrap(Streamed()).call(messages=MESSAGES)
    async with aclosing(stream) as events:
        assert await anext(events) == "Hi!"
    assert [event async for event in wrap(Streamed()).call(messages=MESSAGES)] == ["Hi!"]


@pytest.mark.parametrize("make", [Awaited, Typed])
def test_wrapped_providers_are_copied_and_pickled(make: Any) -> None:
    wrapped = wrap(make())
    for other in (copy.copy(wrapped), copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        with capture_spans() as captured:
            asyncio.run(other.call(messages=MESSAGES))
        assert captured.outline() == ["llm.call"]
        other.model = "other"
        assert wrapped.model == "m"


def test_a_client_with_a_call_of_its_own_is_no_provider() -> None:
    class Client:
        model = "m"

        def call(self, prompt: str) -> str:
            return prompt

    with pytest.raises(TypeError, match=r"wrap\(\) cannot wrap .*lo\.wrap\(thing\.ask\)"):
        wrap(Client())
    assert wrap(Client().call)("x") == "x"

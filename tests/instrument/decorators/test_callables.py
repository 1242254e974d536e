"""Methods, partials, callable objects and what else can be called: each stays what it is, and `self` is no input."""

from __future__ import annotations

import abc
import asyncio
import functools
import inspect
import pickle
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from looopy_otel.instrument.decorators import trace_agent, trace_llm, trace_span, trace_tool
from looopy_otel.testing import CapturedSpans
from tests.instrument.decorators.subjects import (
    CHECKS,
    DECORATORS,
    complete,
    module_level,
    options,
    sent,
    shout,
    shout_async,
)

EVERY = pytest.mark.parametrize("span", DECORATORS)
INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"


def methods(span: str) -> type[Any]:  # noqa: C901
    """A class with methods of all sorts under the decorator of a span."""
    decorate: Callable[..., Any] = DECORATORS[span](**options(span))

    class Made:
        @decorate
        def method(self, key: str) -> str:
            return key

        @decorate
        async def coroutine(self, key: str) -> str:
            return key

        @decorate
        def generator(self, key: str) -> Generator[str]:
            yield key

        @decorate
        async def async_generator(self, key: str) -> AsyncGenerator[str]:
            yield key

        @decorate
        def oddly_named(this, key: str) -> str:
            return key

        @classmethod
        @decorate
        def of_class(klass, key: str) -> str:  # pyright: ignore[reportSelfClsParameterName]
            return key

        @staticmethod
        @decorate
        def static(key: str) -> str:
            return key

        @property
        @decorate
        def attribute(self) -> str:
            return "k"

        @decorate
        @classmethod
        def above_of_class(cls, key: str) -> str:
            return key

        @decorate
        @staticmethod
        def above_static(key: str) -> str:
            return key

        @decorate
        def __call__(self, key: str) -> str:
            return key

        def __repr__(self) -> str:
            raise AssertionError("self was captured")

    def added(me: Any, key: str) -> str:
        return key

    made: Any = Made
    made.added_later = decorate(added)
    return made


@EVERY
@pytest.mark.parametrize(
    "name",
    [
        "method", "coroutine", "generator", "async_generator", "oddly_named", "of_class", "static", "above_of_class",
        "above_static", "added_later", "__call__",
    ],
)  # fmt: skip
@pytest.mark.parametrize("through", ["instance", "subclass"])
def test_a_method(span: str, name: str, through: str, captured: CapturedSpans) -> None:
    made = methods(span)
    owner = made if through == "instance" else type("Sub", (made,), {})
    assert complete(getattr(owner(), name), "k") == "k"
    seen = captured.attributes(span)
    expected = {"agent.execute": "k", "llm.call": '[{"role":"user","content":"k"}]'}.get(span, '{"key":"k"}')
    assert seen[INPUT] == expected


@EVERY
def test_a_method_called_through_its_class_and_a_property(span: str, captured: CapturedSpans) -> None:
    made = methods(span)
    assert made.method(made(), "k") == made().attribute == "k"
    assert made.of_class("k") == made.static("k") == "k"
    assert [span_.name for span_ in captured.spans()] == [span] * 4


def test_the_kinds_of_methods_are_kept() -> None:
    made = methods("step")
    kinds = {name: [check(getattr(made, name)) for check in CHECKS] for name in ("method", "coroutine", "generator")}
    assert kinds == {
        "method": [True, False, False, False],
        "coroutine": [True, True, False, False],
        "generator": [True, False, True, False],
    }
    assert isinstance(vars(made)["above_static"], staticmethod)
    assert isinstance(vars(made)["above_of_class"], classmethod)
    assert str(inspect.signature(made().method)) == "(key: 'str') -> 'str'"


def test_a_plain_function_may_call_its_first_argument_self(captured: CapturedSpans) -> None:
    @trace_span(name="step")
    def plain(self: int) -> int:
        return self

    assert plain(3) == 3
    assert captured.attributes("step")[INPUT] == '{"self":3}'


class Caller:
    """Can be called."""

    def __init__(self, word: str) -> None:
        self.word = word

    def __call__(self, text: str) -> str:
        return self.word + text


class AsyncCaller:
    async def __call__(self, text: str) -> str:
        return text


identity: Callable[[str], str] = lambda text: text  # noqa: E731


def spread(first: str, /, *rest: str, key: str = "", **others: str) -> str:
    return first + "".join(rest) + key + "".join(others.values())


@EVERY
@pytest.mark.parametrize(
    ("made", "result"),
    OTHERS := [
        (Caller("a"), "ak"),
        (Caller("a").__call__, "ak"),
        (AsyncCaller(), "k"),
        (functools.partial(shout, times=2), "KK"),
        (functools.partial(shout_async, times=2), "KK"),
        (functools.partial(functools.partial(AsyncCaller())), "k"),
        (functools.lru_cache(shout), "K"),
        (identity, "k"),
        (str.strip, "k"),
        (str, None),
    ],
    ids=[
        "object",
        "bound",
        "async-object",
        "partial",
        "async-partial",
        "partials",
        "cache",
        "lambda",
        "builtin",
        "class",
    ],
)
def test_other_callables(span: str, made: Any, result: str | None, captured: CapturedSpans) -> None:
    decorate = DECORATORS[span](**options(span))
    if result is None:
        with pytest.raises(TypeError, match="not a class"):
            decorate(made)
        return
    decorated = decorate(made)
    assert inspect.iscoroutinefunction(decorated) == ("async" in repr(made).lower())
    assert str(inspect.signature(decorated)) == str(inspect.signature(made))
    assert complete(decorated, "k") == result
    assert captured.span(span).status.is_unset


def test_names_by_default(captured: CapturedSpans) -> None:
    class Search:
        @trace_span
        @trace_tool
        def run(self) -> None: ...

    Search().run()
    trace_tool(functools.partial(shout, times=1))()
    trace_agent(Caller("a"))("b")
    names = [dict(span.attributes or {}).get("agent.tool.name") or span.name for span in captured.spans()]
    assert names == ["Search.run", "run", "shout", "agent.execute"]
    assert captured.attributes("agent.execute")["gen_ai.agent.name"] == "Caller"


def test_arguments_of_all_sorts(captured: CapturedSpans) -> None:
    assert trace_span(name="step")(spread)("a", "b", "c", key="d", more="e") == "abcde"
    assert captured.attributes("step")[INPUT] == '{"first":"a","rest":["b","c"],"key":"d","more":"e"}'


@pytest.mark.parametrize("wrong", ["name", 5, property(len)])
def test_what_is_no_function(wrong: Any) -> None:
    with pytest.raises(TypeError, match="trace_llm decorates functions"):
        trace_llm(wrong)


def test_an_abstract_method_stays_one() -> None:
    class Base(abc.ABC):
        @trace_span
        @abc.abstractmethod
        def run(self) -> None: ...

    with pytest.raises(TypeError, match="abstract"):
        Base()  # pyright: ignore[reportAbstractUsage]


def test_module_level_functions_are_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(module_level, 1).result(60) == 2


def test_local_functions_and_methods_go_with_cloudpickle(captured: CapturedSpans) -> None:
    @trace_tool
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert factorial(2) == 2
    again = sent(factorial)
    assert again(2) == 2
    assert sent(methods("step")())("k") == "k"
    assert [line.count("  ") for line in captured.outline()] == [0, 1, 2, 0, 1, 2, 0]


async def test_many_tasks_at_once(captured: CapturedSpans) -> None:
    @trace_agent
    async def outer(number: int) -> None:
        await asyncio.gather(*(inner(number) for _ in range(3)))

    @trace_tool
    async def inner(number: int) -> None:
        await asyncio.sleep(0)

    await asyncio.gather(*(outer(number) for number in range(10)))
    assert captured.outline() == ["agent.execute", *["  tool.execute"] * 3] * 10
    for run in captured.spans():
        assert dict(run.attributes or {}).get("agent.tool_calls") == (3 if run.name == "agent.execute" else None)


UNTRACED = """
import sys
from looopy_otel.instrument.decorators import trace_agent, trace_tool
from looopy_otel.instrument.spans import agent_span, llm_span
@trace_agent
def run(x): return tool(x)
@trace_tool
def tool(x): return x
with agent_span("a"), llm_span(model="m") as call:
    call.record(output="x")
    assert run(1) == 1
print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""


def test_untraced_opentelemetry_is_not_even_imported() -> None:
    done = subprocess.run([sys.executable, "-c", UNTRACED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_cached_function_keeps_its_cache_methods() -> None:
    @trace_tool
    @functools.cache
    def double(number: int) -> int:
        return number * 2

    cached: Any = double
    assert (double(2), double(2)) == (4, 4)
    assert cached.cache_info().hits == 1
    cached.cache_clear()
    assert cached.cache_info().hits == 0

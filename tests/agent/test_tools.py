from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from looopy_otel.agent import (
    AgentLoop,
    FunctionTools,
    ToolCall,
    ToolCompleteEvent,
    ToolContext,
    ToolDefinition,
    ToolResult,
)
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.operation import AgentRun, ToolRun
from tests.agent.fakes import FakeProvider, Turn, agent, calculate, tool_texts
from tests.agent.recording import RecordingObserver


def asking(*calls: tuple[str, Any]) -> FakeProvider:
    return FakeProvider([Turn(calls=calls), Turn("Done")])


async def ask(function: Callable[..., Any], arguments: Any = None, **options: Any) -> str:
    provider = asking((function.__name__, {} if arguments is None else arguments))
    result = await agent(provider, function, **options).arun("Hi")
    assert result.outcome == "completed"
    return tool_texts(provider)[0]


class Point(BaseModel):
    x: int
    day: date


class Unfit:
    def __str__(self) -> str:
        return "as text"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is, ünïcode", "as it is, ünïcode"),
        (392, "392"),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        (None, "null"),
        (True, "true"),
        ({"a": [1, "ü"]}, '{"a":[1,"ü"]}'),
        (Point(x=1, day=date(2026, 1, 31)), '{"x":1,"day":"2026-01-31"}'),
        (Decimal("0.10"), "0.10"),
        (b"text", "text"),
        (b"\xff\x00", "_wA="),
        ("half an emoji: \ud83d", "half an emoji: \ufffd"),
        ({"a\ud83d": ["\ud83d\ude00", {"b": "\ude00"}]}, '{"a\ufffd":["\U0001f600",{"b":"\ufffd"}]}'),
        (Unfit(), "as text"),
        ([Unfit()], '["as text"]'),
    ],
)
async def test_a_result_reaches_the_model_as_text_or_json(value: Any, text: str) -> None:
    def give() -> Any:
        return value

    assert await ask(give) == text


async def test_a_result_that_contains_itself_is_an_error_that_the_model_sees() -> None:
    def give() -> Any:
        loop: list[Any] = []
        loop.append(loop)
        return loop

    assert (await ask(give)).endswith("Circular reference detected (id repeated)")


def broken() -> str:
    raise ValueError("no such place")


def silent() -> str:
    raise LookupError


class Hostile(Exception):
    def __str__(self) -> str:
        raise RuntimeError


def hostile() -> str:
    raise Hostile


async def self_cancelling() -> str:
    raise asyncio.CancelledError


def stopping() -> str:
    raise StopIteration


FAILURES: list[tuple[str, Any, str, str]] = [
    ("nothing", {}, "Error: there is no tool 'nothing'; the tools are: calculate, broken,", "unknown_tool"),
    ("calculate", "{oops", "Error: invalid arguments for calculate: the arguments are not JSON", "invalid_arguments"),
    ("calculate", "[" * 200_000, "Error: invalid arguments for calculate: the arguments are nes", "invalid_arguments"),
    ("calculate", "3", "Error: invalid arguments for calculate: the arguments must be", "invalid_arguments"),
    ("calculate", {}, "Error: invalid arguments for calculate: missing argument 'exp", "invalid_arguments"),
    ("calculate", {"expression": "", "x": 1}, "Error: invalid arguments for calculate: unknown", "invalid_arguments"),
    ("broken", {}, "Error: broken failed: ValueError: no such place", "ValueError"),
    ("silent", {}, "Error: silent failed: LookupError", "LookupError"),
    ("hostile", {}, "Error: hostile failed: Hostile", "Hostile"),
    ("self_cancelling", {}, "Error: self_cancelling was cancelled from inside", "CancelledError"),
    ("stopping", {}, "Error: stopping failed: RuntimeError: the function raised StopIteration", "RuntimeError"),
]


@pytest.mark.parametrize(("name", "arguments", "text", "kind"), FAILURES)
async def test_every_failure_is_a_result_that_the_model_sees(
    name: str, arguments: Any, text: str, kind: str, observer: RecordingObserver
) -> None:
    provider = asking((name, arguments))
    loop = agent(provider, calculate, broken, silent, hostile, self_cancelling, stopping)
    events = [event async for event in loop.execute("Hi", detail="full")]
    assert tool_texts(provider)[0].startswith(text)
    complete = next(event for event in events if isinstance(event, ToolCompleteEvent))
    assert (complete.success, complete.error_type) == (False, kind)
    ended = observer.of(ToolRun)[0]
    assert isinstance(ended.result, ToolResult)
    assert (ended.result.error_type, ended.error) == (kind, None)


async def test_arguments_that_are_no_object_are_recorded_as_text(observer: RecordingObserver) -> None:
    await agent(asking(("calculate", "{oops")), calculate).arun("Hi")
    operation = observer.of(ToolRun)[0].operation
    assert isinstance(operation, ToolRun)
    assert operation.arguments == "{oops"


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_tool_that_never_returns_times_out(asynchronous: bool, observer: RecordingObserver) -> None:
    release = threading.Event()

    async def forever() -> None:
        await asyncio.Event().wait()

    def blocked() -> None:
        release.wait(30)

    text = await ask(forever if asynchronous else blocked, tool_timeout=0.05)
    release.set()
    assert "did not finish within 0.05 s" in text
    assert observer.of(ToolRun)[0].result.error_type == "timeout"


async def test_the_tool_calls_of_a_turn_run_at_once_and_answer_in_order() -> None:
    waiting = asyncio.Barrier(3)
    threads = threading.Barrier(2)

    async def meet(number: int) -> int:
        await waiting.wait()
        await asyncio.sleep(0.01 * (3 - number))
        return number

    def rendezvous(number: int) -> int:
        threads.wait(10)
        return number

    provider = asking(*(("meet", {"number": n}) for n in range(3)), *(("rendezvous", {"number": n}) for n in (3, 4)))
    result = await agent(provider, meet, rendezvous).arun("Hi")
    assert tool_texts(provider) == ["0", "1", "2", "3", "4"]
    assert result.tool_calls == 5


async def test_sync_tools_run_off_the_event_loop_with_its_context_variables() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="lost")
    variable.set("kept")
    seen: list[Any] = []

    def where() -> str:
        seen.append(threading.current_thread())
        return variable.get()

    assert await ask(where) == "kept"
    assert seen[0] is not threading.current_thread()
    assert seen[0].daemon


async def test_a_sync_function_that_returns_an_awaitable_is_awaited() -> None:
    def later() -> Any:
        async def work() -> str:
            return "awaited"

        return work()

    assert await ask(later) == "awaited"


class Doubler:
    async def __call__(self, number: int) -> int:
        return number * 2


async def test_a_callable_object_may_be_async() -> None:
    provider = asking(("Doubler", {"number": 21}))
    await agent(provider, Doubler()).arun("Hi")
    assert tool_texts(provider) == ["42"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_tool_is_not_swallowed(error: type[BaseException], observer: RecordingObserver) -> None:
    def leave() -> None:
        raise error("stop")

    with pytest.raises(error, match="stop"):
        agent(asking(("leave", {})), leave).run("Hi")
    with pytest.raises(error, match="stop"):
        asyncio.run(agent(asking(("leave", {})), leave).arun("Hi"))
    assert agent(asking(("calculate", {"expression": "1"})), calculate).run("still works").outcome == "completed"
    interrupted = [one for one in observer.all if one.error is not None]
    assert [one.name for one in interrupted] == ["agent", "iteration", "tool"] * 2
    assert [run.result.outcome for run in observer.of(AgentRun)] == ["cancelled", "cancelled", "completed"]


async def test_the_context_tells_of_the_run(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[ToolContext] = []

    def look(context: ToolContext) -> str:
        seen.append(context)
        context.logger.warning("looking")
        return "seen"

    with caplog.at_level(logging.WARNING, "looopy_otel.agent.tools"):
        provider = asking(("look", {}))
        await agent(provider, look, tool_timeout=30).arun("Hi", task_id="t", session_id="s", user_id="u")
    context = seen[0]
    assert (context.task_id, context.session_id, context.user_id, context.agent_id, context.call_id) == (
        "t",
        "s",
        "u",
        "my-agent",
        "call_1_0",
    )
    remaining = context.remaining()
    assert remaining is not None
    assert 0 < remaining <= 30
    assert vars(caplog.records[0])["tool"] == "look"
    seen.clear()
    await ask(look)
    assert (seen[0].deadline, seen[0].remaining(), seen[0].session_id) == (None, None, None)


class Remote:
    """A tool provider of another kind: flat definitions, results of its own."""

    def __init__(self, name: str = "remote") -> None:
        self._name = name

    def get_tools(self) -> Sequence[Any]:
        return [{"name": self._name, "description": "Elsewhere.", "parameters": {"type": "object"}}]

    def can_handle(self, name: str) -> bool:
        return name == self._name

    async def execute(self, call: ToolCall, context: ToolContext) -> Any:
        return ToolResult({"got": call.arguments, "by": context.agent_id})


async def test_a_tool_provider_of_ones_own() -> None:
    provider = asking(("remote", {"a": 1}), ("calculate", {"expression": "15 * 23 + 47"}))
    loop = AgentLoop(agent_id="a", llm_provider=provider, tool_providers=[Remote(), FunctionTools([calculate])])
    await loop.arun("Hi")
    assert tool_texts(provider) == ['{"got":"{\\"a\\": 1}","by":"a"}', "392"]
    offered = provider.requests[0]["tools"]
    assert offered[0]["name"] == "remote"
    assert isinstance(offered[1], ToolDefinition)


class CatchAll(Remote):
    def can_handle(self, name: str) -> bool:
        return True


async def test_the_provider_that_offers_a_tool_runs_it() -> None:
    provider = asking(("calculate", {"expression": "15 * 23 + 47"}), ("unheard_of", {"a": 1}))
    tools: Any = [CatchAll(), FunctionTools([calculate])]
    await AgentLoop(agent_id="a", llm_provider=provider, tool_providers=tools).arun("Hi")
    assert tool_texts(provider) == ["392", '{"got":"{\\"a\\": 1}","by":"a"}']


class Failing(Remote):
    """Fails as soon as the run has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def get_tools(self) -> Sequence[Any]:
        self.asked += 1
        if self.asked > 2:
            raise ConnectionError("gone")
        return super().get_tools()

    def can_handle(self, name: str) -> bool:
        return {"remote": True}[name]


async def test_a_tool_provider_that_fails_is_a_result_that_the_model_sees(observer: RecordingObserver) -> None:
    provider = asking(("unheard_of", {}), ("remote", {}))
    loop = AgentLoop(agent_id="a", llm_provider=provider, tool_providers=[Failing()])
    assert (await loop.arun("Hi")).outcome == "completed"
    assert tool_texts(provider) == [
        "Error: unheard_of failed: KeyError: 'unheard_of'",
        '{"got":"{}","by":"a"}',
    ]
    assert [one.result.error_type for one in observer.of(ToolRun)] == ["KeyError", None]


def test_duplicate_names_are_one_clear_error_at_construction() -> None:
    with pytest.raises(ConfigurationError) as caught:
        AgentLoop(
            agent_id="a",
            llm_provider=FakeProvider([Turn()]),
            tool_providers=[Remote("calculate"), FunctionTools([calculate, broken]), Remote("broken")],
        )
    assert "'calculate' (Remote, FunctionTools); 'broken' (FunctionTools, Remote)" in str(caught.value)


def test_a_bare_function_is_no_tool_provider() -> None:
    wrong: Any = calculate
    with pytest.raises(ConfigurationError, match=r"FunctionTools\(\[calculate\]\)"):
        AgentLoop(agent_id="a", llm_provider=FakeProvider([Turn()]), tool_providers=[wrong])
    with pytest.raises(ConfigurationError, match="object lacks get_tools"):
        AgentLoop(agent_id="a", llm_provider=FakeProvider([Turn()]), tool_providers=[object()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


class Asynchronous:
    async def get_tools(self) -> Any:
        return []

    def can_handle(self, name: str) -> bool:
        return False

    async def execute(self, call: ToolCall, context: ToolContext) -> Any:
        return None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tool_providers": FunctionTools([calculate])}, r"must be a list such as \[FunctionTools\(\[…\]\)\], not Fun"),
        ({"tool_providers": None}, "tool_providers must be a list .*, not None"),
        ({"tool_providers": [Remote]}, r"tool_providers: Remote is a class; write Remote\(…\)"),
        ({"tool_providers": [Asynchronous()]}, "get_tools and can_handle must be plain functions"),
        ({"agent_id": 5}, "agent_id=5 must be a text"),
        ({"max_iterations": "5"}, "max_iterations='5' must be a whole number"),
        ({"max_iterations": True}, "max_iterations=True must be a whole number"),
        ({"tool_timeout": "3"}, "tool_timeout='3' must be a number > 0"),
        ({"tool_timeout": float("nan")}, "tool_timeout=nan must be a number > 0"),
        ({"system_prompt": 5}, "system_prompt must be a text or None, not int"),
        ({"middleware": print}, "middleware must be a list"),
        ({"task_state_store": object()}, "task_state_store must be a StateStore or None: object lacks save, load"),
        ({"artifact_store": object()}, "artifact_store must be an ArtifactStore or None: object lacks create"),
    ],
)
def test_a_wrong_argument_of_a_loop_is_a_clear_error(arguments: dict[str, Any], message: str) -> None:
    given: Any = {"agent_id": "a", "llm_provider": FakeProvider([Turn()]), **arguments}
    with pytest.raises(ConfigurationError, match=message):
        AgentLoop(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metadata": 5}, "metadata must be a mapping"),
        ({"system_prompt": 5}, "system_prompt must be a string"),
        ({"max_iterations": "5"}, "max_iterations='5' must be a whole number"),
    ],
)
def test_a_wrong_option_of_a_run_is_a_clear_error(options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        agent(FakeProvider([Turn()])).execute("Hi", **options)


def test_every_wrong_argument_of_a_loop_is_named_at_once() -> None:
    nothing: Any = None
    with pytest.raises(ConfigurationError) as caught:
        AgentLoop(agent_id="", llm_provider=nothing, max_iterations=0, tool_timeout=0, middleware=[nothing])
    for name in ("agent_id", "llm_provider", "max_iterations", "tool_timeout", "middleware"):
        assert name in str(caught.value)

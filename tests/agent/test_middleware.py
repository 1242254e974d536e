from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.agent import (
    AgentLoop,
    AgentResult,
    AgentRun,
    CallNext,
    ContentDeltaEvent,
    Iteration,
    IterationResult,
    LLMCall,
    LLMResponse,
    Message,
    MiddlewareResultError,
    ProviderProtocolError,
    StatusUpdateEvent,
    TaskStatus,
    ToolResult,
    ToolRun,
)
from looopy_otel.core.types import ContentDelta
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedProvider, ScriptedServer
from tests.agent.fakes import FakeProvider, Turn, agent, calculate, seed_provider, tool_texts
from tests.agent.recording import RecordingObserver


async def test_it_stands_around_all_four_points_outermost_first() -> None:
    seen: list[str] = []

    def layer(name: str) -> Any:
        async def middleware(operation: Any, call_next: CallNext) -> Any:
            seen.append(f"{name}>{type(operation).__name__}")
            result = await call_next(operation)
            seen.append(f"{name}<{type(result).__name__}")
            return result

        return middleware

    await agent(seed_provider(), calculate, middleware=[layer("a"), layer("b")]).arun("Hi")
    assert seen[:6] == ["a>AgentRun", "b>AgentRun", "a>Iteration", "b>Iteration", "a>LLMCall", "b>LLMCall"]
    assert seen[6:12] == ["b<LLMResponse", "a<LLMResponse", "a>ToolRun", "b>ToolRun", "b<ToolResult", "a<ToolResult"]
    assert seen[-4:] == ["b<IterationResult", "a<IterationResult", "b<AgentResult", "a<AgentResult"]


async def test_a_replaced_operation_is_what_happens() -> None:
    async def middleware(operation: Any, call_next: CallNext) -> Any:
        match operation:
            case AgentRun():
                operation = replace(operation, messages=[{"role": "user", "content": "Another prompt"}])
            case Iteration(number=2):
                operation = replace(operation, messages=[*operation.messages, Message("user", "Hurry!")])
            case LLMCall():
                operation = replace(operation, tools=(), session_id="s-9", metadata={"by": "middleware"})
            case ToolRun():
                operation = replace(operation, arguments={"expression": "15 * 23 + 47"})
            case _:
                pass
        return await call_next(operation)

    provider = FakeProvider([Turn(calls=[("calculate", {"expression": "1"})]), Turn("Done")])
    await agent(provider, calculate, middleware=[middleware]).arun("Hi")
    assert tool_texts(provider) == ["392"]
    assert [message["content"] for message in provider.requests[1]["messages"]] == [
        "Another prompt",
        None,
        "392",
        "Hurry!",
    ]
    request = provider.requests[0]
    assert (request["tools"], request["session_id"], request["metadata"]) == (None, "s-9", {"by": "middleware"})


async def test_the_observer_is_told_what_really_runs(observer: RecordingObserver) -> None:
    async def middleware(operation: Any, call_next: CallNext) -> Any:
        match operation:
            case AgentRun() | Iteration():
                operation = replace(operation, messages=[{"role": "user", "content": type(operation).__name__}])
            case ToolRun(name="calculate"):
                operation = replace(operation, arguments={"expression": "15 * 23 + 47"})
            case _:
                pass
        return await call_next(operation)

    provider = FakeProvider([Turn(calls=[("calculate", {"expression": "1"}), ("other", {})]), Turn("Done")])
    await agent(provider, calculate, middleware=[middleware]).arun("Hi")
    revised: Any = {one.name: one.revised for one in observer.all if hasattr(one, "revised")}
    assert [revised[name].messages[0]["content"] for name in ("agent", "iteration")] == ["AgentRun", "Iteration"]
    assert revised["tool"].arguments == {"expression": "15 * 23 + 47"}
    assert [hasattr(one, "revised") for one in observer.of(ToolRun)] == [True, False]


async def cheaper(operation: Any, call_next: CallNext) -> Any:
    if isinstance(operation, LLMCall):
        operation = replace(operation, model="small", parameters={"temperature": 0.0, "top_p": None})
    return await call_next(operation)


async def test_another_model_and_parameters_reach_the_request(observer: RecordingObserver) -> None:
    with ScriptedServer([Reply(text="Hello!")]) as server:
        extra = {"temperature": 1.5, "seed": 7, "model": "alias"}
        litellm = LiteLLMProvider(base_url=server.url, model="large", extra_params=extra)
        scripted = ScriptedProvider([Reply(text="Hello!")], model="large")
        for provider in (litellm, scripted):
            loop = AgentLoop(agent_id="a", llm_provider=provider, middleware=[cheaper])
            assert (await loop.arun("Hi")).output == "Hello!"
        sent = [request.json for request in (*server.requests, *scripted.requests)]
    names = ("model", "temperature", "top_p", "seed")
    assert [[body.get(name) for name in names] for body in sent] == [
        ["small", 0.0, None, 7],
        ["small", 0.0, None, None],
    ]
    first = observer.of(LLMCall)[0].operation
    assert isinstance(first, LLMCall)
    assert (first.model, first.parameters["temperature"]) == ("small", 0.0)


async def test_a_provider_that_cannot_take_what_a_middleware_changed_says_so() -> None:
    provider = FakeProvider([Turn("x")])
    with pytest.raises(
        ProviderProtocolError, match=r"changed model, parameters .* FakeProvider\.call\(\) does not take"
    ):
        await agent(provider, middleware=[cheaper]).arun("Hi")
    assert provider.requests == []


async def test_a_result_without_the_rest_of_the_chain(observer: RecordingObserver) -> None:
    async def cache(operation: Any, call_next: CallNext) -> Any:
        if isinstance(operation, LLMCall):
            return LLMResponse(Message("assistant", "from the cache"), model="cached")
        return await call_next(operation)

    provider = FakeProvider([Turn("x")])
    result = await agent(provider, middleware=[cache]).arun("Hi")
    assert (result.output, result.llm_calls, provider.requests) == ("from the cache", 0, [])
    assert observer.of(LLMCall) == []


@pytest.mark.parametrize(
    ("kind", "answer", "output"),
    [
        (AgentRun, AgentResult("whole", "completed"), "whole"),
        (Iteration, IterationResult(Message("assistant", "turn")), "turn"),
        (ToolRun, ToolResult("tool"), "Done"),
    ],
)
async def test_a_middleware_may_answer_at_every_point(
    kind: type, answer: Any, output: str, observer: RecordingObserver
) -> None:
    async def answering(operation: Any, call_next: CallNext) -> Any:
        return answer if isinstance(operation, kind) else await call_next(operation)

    provider = FakeProvider([Turn(calls=[("calculate", {"expression": "1"})]), Turn("Done")])
    result = await agent(provider, calculate, middleware=[answering]).arun("Hi", task_id="t")
    assert (result.output, result.task_id, result.trace_id) == (output, "t", observer.all[0].trace_id)
    assert tool_texts(provider) == ["tool"] if kind is ToolRun else provider.requests == []


@pytest.mark.parametrize("kind", [AgentRun, Iteration, LLMCall, ToolRun])
async def test_a_forgotten_return_is_named(kind: type, observer: RecordingObserver) -> None:
    async def forgetful(operation: Any, call_next: CallNext) -> Any:
        result = await call_next(operation)
        return None if isinstance(operation, kind) else result

    with pytest.raises(MiddlewareResultError, match=f"for {kind.__name__} a middleware returned NoneType"):
        await agent(seed_provider(), calculate, middleware=[forgetful]).arun("Hi")


async def test_a_middleware_that_raises_at_a_tool_fails_the_run_and_cancels_its_siblings(
    observer: RecordingObserver,
) -> None:
    async def strict(operation: Any, call_next: CallNext) -> Any:
        if isinstance(operation, ToolRun) and operation.name == "calculate":
            raise PermissionError("not this tool")
        return await call_next(operation)

    async def forever() -> None:
        await asyncio.Event().wait()

    provider = FakeProvider([Turn(calls=[("forever", {}), ("calculate", {"expression": "1"})])])
    with pytest.raises(PermissionError, match="not this tool"):
        await agent(provider, calculate, forever, middleware=[strict]).arun("Hi")
    ended = {one.operation.name: one.error for one in observer.of(ToolRun) if isinstance(one.operation, ToolRun)}
    assert isinstance(ended["forever"], asyncio.CancelledError)
    assert isinstance(ended["calculate"], PermissionError)


async def test_deltas_go_through_emit_and_may_be_changed_or_added() -> None:
    async def loud(operation: Any, call_next: CallNext) -> Any:
        if not isinstance(operation, LLMCall):
            return await call_next(operation)
        passed_on = operation.emit

        def emit(delta: Any) -> None:
            passed_on(ContentDelta(delta.text.upper()) if isinstance(delta, ContentDelta) else delta)

        passed_on(StatusUpdateEvent(task_id="t", context_id="c", status=TaskStatus(state="working", message="asking")))
        return await call_next(replace(operation, emit=emit))

    loop = agent(FakeProvider([Turn("quiet words")]), middleware=[loud])
    events = [event async for event in loop.execute("Hi", detail="full")]
    assert [event.text for event in events if isinstance(event, ContentDeltaEvent)] == ["QUIET", "WORDS"]
    assert [event.message for event in events if isinstance(event, StatusUpdateEvent)][1] == "asking"


async def test_emit_refuses_what_it_does_not_know() -> None:
    async def wrong(operation: Any, call_next: CallNext) -> Any:
        operation.emit("text")
        return await call_next(operation)

    with pytest.raises(TypeError, match="not str"):
        await agent(FakeProvider([Turn("x")]), middleware=[wrong]).arun("Hi")


async def test_a_retry_is_a_middleware() -> None:
    async def retry(operation: Any, call_next: CallNext) -> Any:
        if not isinstance(operation, LLMCall):
            return await call_next(operation)
        try:
            return await call_next(operation)
        except ConnectionError:
            return await call_next(operation)

    provider = FakeProvider([Turn(error=ConnectionError("down")), Turn("Done")])
    result = await agent(provider, middleware=[retry]).arun("Hi")
    assert (result.output, result.llm_calls) == ("Done", 2)


async def test_tracing_false_announces_nothing(observer: RecordingObserver) -> None:
    result = await agent(seed_provider(), calculate, tracing=False).arun("Hi")
    assert (result.outcome, result.trace_id, observer.all) == ("completed", None, [])

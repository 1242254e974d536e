from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter

from looopy_otel.agent import (
    AgentEvent,
    ContentCompleteEvent,
    ContentDeltaEvent,
    InMemoryArtifactStore,
    LLMUsageEvent,
    StatusUpdateEvent,
    TaskEvent,
    ToolCompleteEvent,
    ToolContext,
    ToolStartEvent,
    Usage,
)
from looopy_otel.core.operation import AgentRun, LLMCall
from tests.agent.fakes import SEED_ANSWER, FakeProvider, Turn, agent, calculate, collect, seed_provider
from tests.agent.recording import RecordingObserver

HALF = "\ud83d"
"""The first half of an emoji: text that UTF-8 cannot say."""


async def test_a_run_with_a_tool_yields_exactly_three_events() -> None:
    task, working, completed = [event async for event in agent(seed_provider(), calculate).execute("Calculate!")]
    assert isinstance(task, TaskEvent)
    assert (task.id, task.status.state) == (task.task_id, "submitted")
    assert re.fullmatch(r"task_\d{13}_[a-z0-9]{8}", task.id)
    assert isinstance(working, StatusUpdateEvent)
    assert (working.status.state, working.final) == ("working", False)
    assert isinstance(completed, StatusUpdateEvent)
    assert (completed.status.state, completed.final) == ("completed", True)
    assert completed.message == SEED_ANSWER
    assert completed.metadata == {"iterations": 2}


async def test_events_carry_the_task_the_context_and_an_aware_time() -> None:
    events = [event async for event in agent(seed_provider(), calculate).execute("Hi", task_id="t-1", session_id="s")]
    assert {(event.task_id, event.context_id) for event in events} == {("t-1", "s")}
    assert all(event.timestamp.tzinfo is UTC for event in events)
    assert all(datetime.now(UTC) - event.timestamp < timedelta(minutes=1) for event in events)
    assert [event.timestamp for event in events] == sorted(event.timestamp for event in events)
    alone = [event async for event in agent(seed_provider(), calculate).execute("Hi", task_id="t-2")]
    assert {event.context_id for event in alone} == {"t-2"}


async def test_full_detail_tells_deltas_tools_and_usage_in_order() -> None:
    usage = Usage(10, 5)
    provider = FakeProvider(
        [
            Turn(
                calls=[("calculate", {"expression": "15 * 23 + 47"})], thought="Hm.", usage=usage, cost=Decimal("0.1")
            ),
            Turn("It is 392"),
        ]
    )
    events = [event async for event in agent(provider, calculate).execute("Calculate!", detail="full")]
    assert [event.kind for event in events] == [
        "task",
        "status-update",
        "thought-stream",
        "llm-usage",
        "content-complete",
        "tool-start",
        "tool-complete",
        "content-delta",
        "content-delta",
        "content-delta",
        "llm-usage",
        "content-complete",
        "status-update",
    ]
    used = next(event for event in events if isinstance(event, LLMUsageEvent))
    assert (used.usage, used.cost, used.model) == (usage, Decimal("0.1"), "fake-model")
    start = next(event for event in events if isinstance(event, ToolStartEvent))
    assert (start.tool_name, start.arguments) == ("calculate", {"expression": "15 * 23 + 47"})
    complete = next(event for event in events if isinstance(event, ToolCompleteEvent))
    assert (complete.success, complete.result, complete.tool_call_id) == (True, 392, start.tool_call_id)
    assert [event.text for event in events if isinstance(event, ContentDeltaEvent)] == ["It", "is", "392"]
    last = [event for event in events if isinstance(event, ContentCompleteEvent)][-1]
    assert (last.content, last.finish_reason, last.tool_calls) == ("It is 392", "stop", ())


async def test_events_survive_json() -> None:
    adapter: TypeAdapter[AgentEvent] = TypeAdapter(AgentEvent)
    async for event in agent(seed_provider(), calculate).execute("Hi", detail="full"):
        assert adapter.validate_json(event.model_dump_json()) == event


async def test_a_failed_run_yields_its_final_event_then_raises(observer: RecordingObserver) -> None:
    events: list[Any] = []
    with pytest.raises(ConnectionError, match="refused"):
        await collect(agent(FakeProvider([Turn(error=ConnectionError("refused"))])).execute("Hi"), events)
    final = events[-1]
    assert [event.kind for event in events] == ["task", "status-update", "status-update"]
    assert (final.status.state, final.final, final.message) == ("failed", True, "refused")
    assert final.metadata == {"iterations": 1, "reason": "refused", "error_type": "ConnectionError"}
    run = observer.of(AgentRun)[0]
    assert isinstance(run.error, ConnectionError)
    assert (run.result.outcome, run.result.llm_calls, run.result.reason) == ("failed", 1, "refused")


async def test_the_limit_of_turns_is_an_outcome_that_keeps_the_last_text(observer: RecordingObserver) -> None:
    provider = FakeProvider([Turn("Let me see", calls=[("calculate", {"expression": "1"})])])
    loop = agent(provider, calculate, max_iterations=2)
    stream = loop.execute("Hi")
    events = [event async for event in stream]
    final = events[-1]
    assert isinstance(final, StatusUpdateEvent)
    assert (final.status.state, final.metadata["reason"], final.message) == ("failed", "max_iterations", "Let me see")
    result = await loop.arun("Hi", max_iterations=3)
    assert (result.outcome, result.iterations, result.output) == ("max_iterations", 3, "Let me see")
    assert result.reason == "stopped after 3 iterations (max_iterations)"
    assert observer.of(AgentRun)[0].error is None


async def test_the_result_adds_up_usage_and_known_cost() -> None:
    provider = FakeProvider(
        [
            Turn(
                calls=[("calculate", {"expression": "1"})],
                usage=Usage(100, 50, reasoning_tokens=7),
                cost=Decimal("0.1"),
            ),
            Turn(calls=[("calculate", {"expression": "2"})], usage=Usage(10, 5), cost=Decimal("0.2")),
            Turn("Done"),
        ]
    )
    result = await agent(provider, calculate).arun("Hi")
    assert result.usage == Usage(110, 55, reasoning_tokens=7)
    assert result.cost == Decimal("0.3")
    assert (result.iterations, result.llm_calls, result.tool_calls, result.trace_id) == (3, 3, 2, None)


async def test_unknown_usage_and_cost_are_none() -> None:
    result = await agent(FakeProvider([Turn("Done")])).arun("Hi")
    assert (result.usage, result.cost) == (None, None)


async def test_a_price_table_gives_the_cost_that_the_provider_does_not_tell() -> None:
    provider = FakeProvider([Turn("Done", usage=Usage(1000, 500))], model="gpt-4o")
    result = await agent(provider).arun("Hi")
    assert result.cost is not None
    assert Decimal("0.001") < result.cost < Decimal("0.05")


async def test_the_trace_id_is_that_of_the_run(observer: RecordingObserver) -> None:
    result = await agent(seed_provider(), calculate).arun("Hi")
    assert result.trace_id == observer.of(AgentRun)[0].trace_id
    assert observer.tree() == ["1<0 agent", "2<1 iteration", "3<2 llm", "4<2 tool", "5<1 iteration", "6<5 llm"]
    assert observer.of(LLMCall)[-1].chunks == len(SEED_ANSWER.split())


async def test_the_system_prompt_stands_in_front_of_every_call() -> None:
    provider = seed_provider()
    await agent(provider, calculate, system_prompt="Be brief.").arun("Hi")
    assert [request["messages"][0] for request in provider.requests] == [{"role": "system", "content": "Be brief."}] * 2
    for prompt, expected in ((None, ["system", "user"]), ("", ["user"])):
        provider = FakeProvider([Turn("x")])
        await agent(provider).arun("Hi", system_prompt=prompt)
        assert [message["role"] for message in provider.requests[0]["messages"]] == expected
    provider = FakeProvider([Turn("x")])
    await agent(provider).arun([{"role": "system", "content": "Mine"}, {"role": "user", "content": "Hi"}])
    assert [message["content"] for message in provider.requests[0]["messages"]] == ["Mine", "Hi"]


async def test_the_conversation_grows_by_the_answer_and_the_tool_results() -> None:
    provider = seed_provider()
    await agent(provider, calculate).arun("Calculate!")
    roles = [message["role"] for message in provider.requests[1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]
    assistant, tool = provider.requests[1]["messages"][2:]
    assert tool == {
        "role": "tool",
        "content": "392",
        "tool_call_id": assistant["tool_calls"][0]["id"],
        "name": "calculate",
    }


@pytest.mark.parametrize("prompt", ["", "  ", None, []])
def test_an_empty_prompt_is_refused_at_the_call(prompt: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        agent(FakeProvider([Turn()])).execute(prompt)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_iterations": 0}, ValueError),
        ({"detail": "all"}, ValueError),
        ({"session_id": 7}, TypeError),
        ({"task_id": 7}, TypeError),
    ],
)
def test_wrong_options_are_refused_at_the_call(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        agent(FakeProvider([Turn()])).execute("Hi", **options)


async def test_metadata_goes_to_the_event_the_operation_and_the_provider(observer: RecordingObserver) -> None:
    provider = FakeProvider([Turn("x")])
    events = [event async for event in agent(provider).execute("Hi", metadata={"tier": "pro"})]
    assert isinstance(events[0], TaskEvent)
    assert events[0].metadata == {"tier": "pro"}
    assert provider.requests[0]["metadata"] == {"tier": "pro"}
    operation = observer.of(AgentRun)[0].operation
    assert isinstance(operation, AgentRun)
    assert (operation.metadata, operation.prompt) == ({"tier": "pro"}, "Hi")


class Unsayable:
    def __repr__(self) -> str:
        raise RuntimeError


async def test_every_event_can_be_written_as_json_whatever_is_in_it() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    odd: Any = {"object": Unsayable(), "half": HALF, 1: {2, 3}, "cycle": cycle}

    def write(context: ToolContext, text: str) -> str:
        return context.artifacts.create_sync(text, text, metadata=odd).content

    deep = '{"text": "x", "y": ' + "[" * 400 + "]" * 400 + "}"
    provider = FakeProvider([Turn(HALF, calls=[("write", {"text": HALF}), ("write", deep)], thought=HALF), Turn(HALF)])
    loop = agent(provider, write, artifact_store=InMemoryArtifactStore())
    events = [event async for event in loop.execute(f"Hi {HALF}", task_id=HALF, metadata=odd, detail="full")]
    adapter: TypeAdapter[Any] = TypeAdapter(AgentEvent)
    for event in events:
        assert adapter.validate_json(event.model_dump_json()) == event
    assert isinstance(events[0], TaskEvent)
    assert events[0].metadata == {
        "object": "<unprintable Unsayable: RuntimeError>",
        "half": "\ufffd",
        "1": [2, 3],
        "cycle": ["<cycle>"],
    }
    assert [event.kind for event in events].count("artifact-update") == 1
    final = events[-1]
    assert isinstance(final, StatusUpdateEvent)
    assert (final.status.state, final.message) == ("completed", "\ufffd")

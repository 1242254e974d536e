"""Agent runs through a real LiteLLM proxy."""

from __future__ import annotations

import asyncio
import threading

import pytest

from looopy_otel.agent import (
    AgentLoop,
    FunctionTools,
    InMemoryArtifactStore,
    InMemoryStateStore,
    StatusUpdateEvent,
    TaskEvent,
)
from looopy_otel.providers import LiteLLM, LiteLLMAPIError, LiteLLMProvider, RecordedRequest, Reply
from tests.integration.example import ANSWER, ANSWER_TEXT, PROMPT, calculate, example_model_without_cost
from tests.support.proxy import LiteLLMProxy, Upstream

pytestmark = pytest.mark.proxy


@pytest.fixture
def provider(proxy: LiteLLMProxy, upstream: Upstream) -> LiteLLMProvider:
    return LiteLLM.gpt4(proxy.url, proxy.key)


@pytest.fixture
def agent(provider: LiteLLMProvider) -> AgentLoop:
    return AgentLoop(
        agent_id="my-agent",
        llm_provider=provider,
        tool_providers=[FunctionTools([calculate])],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
    )


async def test_a_run_with_a_tool_yields_three_events(agent: AgentLoop, upstream: Upstream) -> None:
    upstream.play_by(example_model_without_cost)
    events = [event async for event in agent.execute(PROMPT)]
    assert [event.kind for event in events] == ["task", "status-update", "status-update"]
    second = upstream.requests[1].setting("messages")
    assert [message["role"] for message in second] == ["system", "user", "assistant", "tool"]
    assert second[-1]["content"] == "392"
    assert second[-1]["tool_call_id"] == second[-2]["tool_calls"][0]["id"]


async def test_the_result_adds_up(agent: AgentLoop, upstream: Upstream) -> None:
    upstream.play_by(example_model_without_cost)
    result = await agent.arun(PROMPT)
    assert (result.outcome, result.output) == ("completed", ANSWER_TEXT)
    assert (result.iterations, result.llm_calls, result.tool_calls) == (2, 2, 1)
    assert result.usage is not None
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (384, 96)
    assert result.cost is not None
    assert float(result.cost) == pytest.approx(384 * 30e-6 + 96 * 60e-6)


async def test_parallel_tools_run_at_once_and_answer_in_order(provider: LiteLLMProvider, upstream: Upstream) -> None:
    together = threading.Barrier(2, timeout=20)

    def get_weather(location: str) -> str:
        """Says the weather.

        Args:
            location: A city.
        """
        together.wait()
        return f"sunny in {location}"

    upstream.play(
        Reply(tool_calls=(("get_weather", {"location": "NYC"}), ("get_weather", {"location": "Zürich"}))), ANSWER
    )
    agent = AgentLoop(agent_id="my-agent", llm_provider=provider, tool_providers=[FunctionTools([get_weather])])
    result = await agent.arun("How is the weather?")
    assert result.tool_calls == 2
    answers = [message["content"] for message in upstream.requests[1].setting("messages")[-2:]]
    assert answers == ["sunny in NYC", "sunny in Zürich"]


async def test_a_failing_tool_is_told_to_the_model(agent: AgentLoop, upstream: Upstream) -> None:
    upstream.play(Reply(tool_calls=(("calculate", {"expression": "1 / 0"}),)), ANSWER)
    result = await agent.arun("Calculate 1 / 0")
    assert result.outcome == "completed"
    assert "KeyError" in upstream.requests[1].setting("messages")[-1]["content"]


async def test_a_failing_model_fails_the_run(agent: AgentLoop, upstream: Upstream) -> None:
    upstream.play(Reply(status=500, text="the model fell over"))
    states: list[str] = []

    async def consume() -> None:
        async for event in agent.execute(PROMPT):
            assert isinstance(event, TaskEvent | StatusUpdateEvent)
            states.append(event.status.state)

    with pytest.raises(LiteLLMAPIError, match="the model fell over"):
        await consume()
    assert states == ["submitted", "working", "failed"]


def test_a_run_from_sync_code(agent: AgentLoop, upstream: Upstream) -> None:
    upstream.play_by(example_model_without_cost)
    assert agent.run(PROMPT).output == ANSWER_TEXT


async def test_several_runs_of_one_agent_at_once(agent: AgentLoop, upstream: Upstream) -> None:
    def script(request: RecordedRequest) -> Reply:
        messages = request.setting("messages")
        return Reply(text=f"You said: {messages[-1]['content']}") if messages[-1]["role"] == "user" else ANSWER

    upstream.play_by(script)
    results = await asyncio.gather(*(agent.arun(f"I am {number}") for number in range(4)))
    assert [result.output for result in results] == [f"You said: I am {number}" for number in range(4)]
    assert len({result.task_id for result in results}) == 4

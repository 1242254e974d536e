from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from typing import Any

import pytest

from looopy_otel.agent import AgentLoop, Budget, BudgetExceededError, FunctionTools, StatusUpdateEvent, Usage
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.operation import AgentRun, CallNext, LLMCall, ToolRun
from looopy_otel.providers import ScriptedProvider
from looopy_otel.providers.reply import Reply
from tests.agent.fakes import FakeProvider, Turn, agent, calculate
from tests.agent.recording import RecordingObserver

PRICED = Turn("Go on", calls=[("calculate", {"expression": "1"})], usage=Usage(100, 50), cost=Decimal("0.4"))


@pytest.mark.parametrize(
    ("limits", "llm_calls", "tool_calls", "text"),
    [
        ({"max_cost_usd": 1}, 3, 2, "max_cost_usd=1, used 1.2 in 3 LLM and 2 tool calls; the next tool call was not"),
        ({"max_cost_usd": 0.8}, 2, 1, "max_cost_usd=0.8, used 0.8"),
        ({"max_tokens": 300}, 2, 1, "max_tokens=300, used 300"),
        ({"max_llm_calls": 2}, 2, 2, "max_llm_calls=2, used 2 in 2 LLM and 2 tool calls; the next LLM call was not"),
        ({"max_tool_calls": 2}, 3, 2, "max_tool_calls=2, used 2"),
    ],
)
async def test_each_limit_stops_before_the_next_call(
    limits: dict[str, Any], llm_calls: int, tool_calls: int, text: str, observer: RecordingObserver
) -> None:
    provider = FakeProvider([PRICED])
    stream = agent(provider, calculate, middleware=[Budget(**limits)]).execute("Hi")
    events = [event async for event in stream]
    final = events[-1]
    assert isinstance(final, StatusUpdateEvent)
    assert (final.status.state, final.metadata["reason"]) == ("failed", "budget_exceeded")
    assert text in str(final.message)
    result = stream.result
    assert result is not None
    assert (result.outcome, result.llm_calls, result.tool_calls) == ("budget_exceeded", llm_calls, tool_calls)
    assert (result.output, len(provider.requests)) == ("Go on", llm_calls)
    run = observer.of(AgentRun)[0]
    assert isinstance(run.error, BudgetExceededError)
    assert run.result == result
    assert len(observer.of(LLMCall)) == llm_calls, "a refused LLM call is not announced"


async def test_run_returns_the_outcome_and_untraced_budgets_work() -> None:
    result = await agent(FakeProvider([PRICED]), calculate, middleware=[Budget(max_tokens=1)], tracing=False).arun("Hi")
    assert (result.outcome, result.usage) == ("budget_exceeded", Usage(100, 50))


async def test_seconds_count_from_the_start_of_the_run() -> None:
    async def slow() -> None:
        await asyncio.sleep(0.06)

    provider = FakeProvider([Turn(calls=[("slow", {})])])
    result = await agent(provider, slow, middleware=[Budget(max_seconds=0.05)]).arun("Hi")
    assert (result.outcome, result.llm_calls) == ("budget_exceeded", 1)
    assert "max_seconds=0.05" in str(result.reason)


async def test_parallel_tool_calls_never_exceed_the_limit(observer: RecordingObserver) -> None:
    async def held_up(operation: Any, call_next: CallNext) -> Any:
        await asyncio.sleep(0)
        return await call_next(operation)

    ran: list[int] = []

    async def work(number: int) -> int:
        await asyncio.sleep(0.01)
        ran.append(number)
        return number

    provider = FakeProvider([Turn(calls=[("work", {"number": number}) for number in range(5)])])
    loop = agent(provider, work, middleware=[Budget(max_tool_calls=3), held_up])
    result = await loop.arun("Hi")
    assert (result.outcome, result.tool_calls) == ("budget_exceeded", 3)
    assert len(ran) == 3, "those that were let pass have ended"
    assert sum(isinstance(one.error, BudgetExceededError) for one in observer.of(ToolRun)) == 2


async def test_one_budget_counts_each_of_many_concurrent_runs_apart() -> None:
    budget = Budget(max_llm_calls=2)
    turns = [Turn(calls=[("calculate", {"expression": "1"})]), Turn("Done")]
    agents = [agent(FakeProvider(turns), calculate, middleware=[budget]) for _ in range(10)]
    results = await asyncio.gather(*(loop.arun("Hi") for loop in agents))
    assert {result.outcome for result in results} == {"completed"}


@pytest.mark.parametrize("policy", ["warn", "stop"])
async def test_an_unknown_cost_warns_once_or_stops(policy: Any, caplog: pytest.LogCaptureFixture) -> None:
    turn = Turn(calls=[("calculate", {"expression": "1"})], usage=Usage(1, 1))
    provider = FakeProvider([turn, turn, Turn("Done")], model="nobody-knows-it")
    with caplog.at_level(logging.WARNING, "looopy_otel.agent.budget"):
        result = await agent(provider, calculate, middleware=[Budget(max_cost_usd=1, on_unknown_cost=policy)]).arun(
            "Hi"
        )
    if policy == "warn":
        assert result.outcome == "completed"
        assert [record.getMessage() for record in caplog.records] == [
            "max_cost_usd counts only part of this run: the cost of a call of nobody-knows-it is unknown; "
            "say what it costs with configure(prices=…) or in the file of LOOOPY_OTEL_PRICES"
        ]
    else:
        assert (result.outcome, result.llm_calls, result.tool_calls) == ("budget_exceeded", 1, 0)
        assert "the cost of a call of nobody-knows-it is unknown" in str(result.reason)


async def test_a_budget_stops_sub_agents_too() -> None:
    researcher = agent(FakeProvider([PRICED]), calculate, agent_id="researcher")
    provider = FakeProvider([Turn(calls=[("researcher", {"prompt": "Find out"})], usage=Usage(1, 1), cost=Decimal(0))])
    boss = AgentLoop(
        agent_id="boss",
        llm_provider=provider,
        tool_providers=[researcher.as_tool()],
        middleware=[Budget(max_cost_usd="1")],
    )
    result = await boss.arun("Hi")
    assert result.outcome == "budget_exceeded"
    assert result.cost == Decimal("1.2")
    assert result.llm_calls == 4


async def test_a_providers_budget_counts_its_calls_per_run_and_outside_of_runs() -> None:
    budget = Budget(max_llm_calls=1)
    script = [Reply(tool_calls=[("calculate", {"expression": "1"})]), Reply(text="Done")]
    loop = AgentLoop(
        agent_id="a",
        llm_provider=ScriptedProvider(script, middleware=[budget]),
        tool_providers=[FunctionTools([calculate])],
    )
    first, second = await loop.arun("Hi"), await loop.arun("Hi")
    assert (first.outcome, first.tool_calls) == ("budget_exceeded", 1)
    assert (second.outcome, second.output) == ("completed", "Done"), "each run has its own count"
    bare = ScriptedProvider([Reply(text="x")], middleware=[budget])
    await bare.call(messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(BudgetExceededError, match="max_llm_calls=1"):
        await bare.call(messages=[{"role": "user", "content": "Hi"}])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "give a limit"),
        ({"max_tokens": 0, "max_seconds": -1}, "max_tokens=0, max_seconds=-1 must be a number > 0"),
        ({"max_cost_usd": "abc"}, "max_cost_usd='abc' must be a number > 0"),
        ({"max_cost_usd": float("nan")}, "max_cost_usd=nan must be"),
        ({"max_llm_calls": True, "max_tool_calls": []}, r"max_llm_calls=True, max_tool_calls=\[\] must be"),
        ({"max_tokens": 1, "on_unknown_cost": "ignore"}, "on_unknown_cost='ignore'"),
    ],
)
def test_wrong_limits_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Budget(**options)


def test_the_error_tells_the_limit() -> None:
    error = BudgetExceededError("x", limit="max_tokens", allowed=Decimal(3), used=Decimal(4))
    assert (error.limit, error.allowed, error.used) == ("max_tokens", 3, 4)

"""Budgets of sessions and of agents, outside of loops, and under many threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, Inexact, localcontext
from typing import Any

import openai
import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, Budget, BudgetExceededError, FunctionTools, Retry, Usage
from looopy_otel.agent import budget as budget_module
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.identity import NOBODY, current_identity
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedProvider
from looopy_otel.providers.scripted_server import ScriptedServer
from looopy_otel.testing import capture_spans
from tests.agent.fakes import FakeProvider, Turn, agent, calculate

HI = [{"role": "user", "content": "Hi"}]
PRICED = Turn("Done", usage=Usage(100, 50), cost=Decimal("0.4"))
TOKENS = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


async def ask(loop: AgentLoop, session: str | None = None) -> str:
    return (await loop.arun("Hi", session_id=session)).outcome


async def test_a_session_has_one_budget_for_all_its_runs() -> None:
    budget = Budget(max_cost_usd="0.8", scope="session")
    loops = [agent(FakeProvider([PRICED]), calculate, agent_id=name, middleware=[budget]) for name in ("a", "b", "c")]
    assert [await ask(loop, "s-1") for loop in loops] == ["completed", "completed", "budget_exceeded"]
    assert await ask(loops[0], "s-2") == "completed", "another session has its own"
    result = await loops[0].arun("Hi", session_id="s-1")
    assert str(result.reason).startswith("budget exceeded: max_cost_usd=0.8 of this session, used 0.8 in 2 LLM")


async def test_runs_without_a_session_are_their_own() -> None:
    loop = agent(FakeProvider([PRICED]), calculate, middleware=[Budget(max_llm_calls=1, scope="session")])
    assert [await ask(loop) for _ in range(3)] == ["completed"] * 3


async def test_an_agent_has_one_budget_for_all_its_sessions() -> None:
    budget = Budget(max_tokens=300, scope="agent")
    one = agent(FakeProvider([PRICED]), calculate, agent_id="one", middleware=[budget])
    other = agent(FakeProvider([PRICED]), calculate, agent_id="other", middleware=[budget])
    assert [await ask(one, session) for session in "abc"] == ["completed", "completed", "budget_exceeded"]
    assert await ask(other, "a") == "completed"
    budget.forget("one")
    assert await ask(one, "c") == "completed"


async def test_who_shares_an_account_is_counted_in_it_once() -> None:
    budget = Budget(max_llm_calls=4, scope="session")
    researcher = agent(FakeProvider([PRICED]), calculate, agent_id="researcher", middleware=[budget])
    boss = AgentLoop(
        agent_id="boss",
        llm_provider=FakeProvider([Turn(calls=[("researcher", {"prompt": "Find out"})]), Turn("Done")]),
        tool_providers=[researcher.as_tool()],
        middleware=[budget],
    )
    result = await boss.arun("Hi", session_id="s")
    assert (result.outcome, result.llm_calls) == ("completed", 3)
    assert await ask(researcher, "s") == "completed", "the fourth"
    assert await ask(researcher, "s") == "budget_exceeded"


async def test_several_budgets_hold_at_once() -> None:
    both = [Budget(max_llm_calls=5), Budget(max_llm_calls=2, scope="agent")]
    loop = agent(FakeProvider([PRICED]), calculate, middleware=both)
    assert [await ask(loop) for _ in range(3)] == ["completed", "completed", "budget_exceeded"]


async def test_a_providers_budget_counts_by_session_without_a_loop() -> None:
    reply = Reply(text="x", usage=TOKENS)
    provider = ScriptedProvider([reply], middleware=[Budget(max_llm_calls=1, scope="session")])
    for session in ("a", "b"):
        with lo.session(session_id=session):
            await provider.call(messages=HI)
            with pytest.raises(BudgetExceededError, match="max_llm_calls=1 of this session"):
                await provider.call(messages=HI)


async def test_sessions_are_remembered_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budget_module, "MOST_ACCOUNTS", 2)
    loop = agent(FakeProvider([PRICED]), calculate, middleware=[Budget(max_llm_calls=1, scope="session")])
    with caplog.at_level(logging.WARNING, "looopy_otel.agent.budget"):
        outcomes = [await ask(loop, session) for session in "abbca"]
    assert outcomes == ["completed", "completed", "budget_exceeded", "completed", "completed"]
    assert [record.getMessage() for record in caplog.records] == [
        "a Budget counts more than 2 sessions or agents: those that were quiet longest begin anew"
    ]


def test_a_wrapped_client_keeps_a_budget() -> None:
    with ScriptedServer([Reply(text="Hello!", usage=TOKENS, model="gpt-4o")]) as server, capture_spans() as captured:
        plain = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        # 1000 at 2.50 and 100 at 10 per million are 0.0035 USD.
        client = lo.wrap(plain, middleware=[Budget(max_cost_usd="0.007")])

        @lo.trace_agent
        def answer() -> None:
            for _ in range(3):
                client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])

        with pytest.raises(BudgetExceededError, match=r"max_cost_usd=0\.007, used 0\.007 in 2 LLM"):
            answer()
        # Another run has its own means.
        with pytest.raises(BudgetExceededError, match="in 2 LLM"):
            answer()
        assert len(server.requests) == 4
        runs = [dict(span.attributes or {}) for span in captured.spans() if span.name == "agent.execute"]
        plain.close()
    assert [run["agent.outcome"] for run in runs] == ["budget_exceeded"] * 2
    assert [run["error.type"] for run in runs] == ["BudgetExceededError"] * 2
    assert [run["agent.cost.usd"] for run in runs] == [0.007] * 2


@pytest.mark.parametrize("scope", ["run", "agent"])
async def test_decorated_agents_count_apart_untraced(scope: Any) -> None:
    budget = Budget(max_llm_calls=2, scope=scope)
    provider = ScriptedProvider([Reply(text="Hello!")], middleware=[budget])

    @lo.trace_agent
    async def writer() -> None:
        await provider.call(messages=HI)

    @lo.trace_agent
    async def reviewer() -> AsyncIterator[str | None]:
        for _ in range(2):
            await provider.call(messages=HI)
            yield current_identity().agent_id

    for _ in range(2):
        await writer()
    with lo.agent_span("editor") as recorder:
        recorder.record(output="nothing")
        await provider.call(messages=HI)
        await provider.call(messages=HI)
        with pytest.raises(BudgetExceededError, match="used 2 in 2 LLM"):
            await provider.call(messages=HI)
    inside_and_outside = [(agent_id, current_identity()) async for agent_id in reviewer()]
    assert inside_and_outside == [("reviewer", NOBODY)] * 2
    if scope == "run":
        await writer()
    else:
        with pytest.raises(BudgetExceededError, match="of this agent"):
            await writer()
    assert current_identity() is NOBODY


def test_the_decimal_context_of_the_application_reaches_no_budget() -> None:
    usage = {"prompt_tokens": 1234, "completion_tokens": 567, "total_tokens": 1801}  # 0.008755 USD
    with localcontext(prec=2) as context:
        context.traps[Inexact] = True
        loop = AgentLoop(
            agent_id="a",
            llm_provider=ScriptedProvider(
                [Reply(tool_calls=(("calculate", {"expression": "1"}),), usage=usage)], model="gpt-4o"
            ),
            tool_providers=[FunctionTools([calculate])],
            middleware=[Budget(max_cost_usd="0.2"), Retry()],
            max_iterations=100,
        )
        with capture_spans() as captured:
            result = loop.run("Hi")
        runs = [dict(span.attributes or {}) for span in captured.spans() if span.name == "agent.execute"]
    assert (result.outcome, result.cost) == ("budget_exceeded", Decimal("0.201365"))
    assert [run["agent.cost.usd"] for run in runs] == [0.201365]


async def test_a_streamed_call_of_a_wrapped_client_counts_when_it_has_ended() -> None:
    with ScriptedServer([Reply(text="Hello!", usage=TOKENS, model="gpt-4o")]) as server:
        plain = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        client = lo.wrap(plain, middleware=[Budget(max_tokens=1000)])
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        assert [chunk async for chunk in stream]
        with pytest.raises(BudgetExceededError, match="max_tokens=1000, used 1100"):
            await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
        await plain.close()


async def test_the_tier_that_served_a_call_sets_its_price() -> None:
    usage = Usage(1_000_000, 0)
    budget = Budget(max_cost_usd="1.3")

    async def served(operation: Any, call_next: Any) -> LLMResponse:
        return LLMResponse(Message("assistant", "x"), model="gpt-5", usage=usage, service_tier="flex")

    provider = ScriptedProvider([Reply(text="x")], model="gpt-5", middleware=[budget, served])
    # 0.625 USD each by the flex tier's price, 1.25 by the standard one's.
    for _ in range(3):
        await provider.call(messages=HI)
    with pytest.raises(BudgetExceededError, match=r"used 1\.875"):
        await provider.call(messages=HI)


async def test_unknown_costs_of_a_session_stop_its_next_run() -> None:
    budget = Budget(max_cost_usd=1, on_unknown_cost="stop", scope="session")
    loop = agent(FakeProvider([Turn("Done", usage=Usage(1, 1))], model="nobody-knows-it"), middleware=[budget])
    assert await ask(loop, "s") == "completed"
    result = await loop.arun("Hi", session_id="s")
    assert (result.outcome, result.llm_calls) == ("budget_exceeded", 0)
    assert "the cost of a call of nobody-knows-it is unknown, so max_cost_usd of this session cannot be kept" in str(
        result.reason
    )
    assert "configure(prices=…)" in str(result.reason)


def test_threads_never_get_more_calls_than_there_are() -> None:
    budget = Budget(max_llm_calls=50, scope="agent")
    start = threading.Barrier(8)
    loop = AgentLoop(
        agent_id="crowd",
        llm_provider=ScriptedProvider([Reply(text="x", usage=TOKENS)]),
        tool_providers=[FunctionTools([calculate])],
        middleware=[budget],
        tracing=False,
    )

    def work() -> list[str]:
        start.wait()
        return [loop.run("Hi").outcome for _ in range(10)]

    with ThreadPoolExecutor(8) as threads:
        outcomes = [one for future in [threads.submit(work) for _ in range(8)] for one in future.result()]
    assert outcomes.count("completed") == 50
    assert outcomes.count("budget_exceeded") == 30


async def test_many_runs_of_one_session_at_once_share_its_calls() -> None:
    budget = Budget(max_llm_calls=7, scope="session")
    loop = agent(FakeProvider([PRICED]), calculate, middleware=[budget])
    outcomes = await asyncio.gather(*(ask(loop, "s") for _ in range(20)))
    assert outcomes.count("completed") == 7


async def test_an_answer_that_breaks_off_has_an_unknown_cost_and_is_not_silent() -> None:
    broken = Turn("Half of", error=ConnectionError("gone"))
    loop = agent(
        FakeProvider([broken], model="gpt-4o"),
        middleware=[Budget(max_cost_usd=1, on_unknown_cost="stop", scope="session")],
    )
    with pytest.raises(ConnectionError):
        await loop.arun("Hi", session_id="s")
    assert await ask(loop, "s") == "budget_exceeded"


async def test_a_provider_outside_of_a_loop_keeps_a_budget_over_http() -> None:
    replies = [Reply(text="Hello you!", usage=TOKENS, cost=0.4), Reply(text="Hello you!", cut_after=2)]
    with ScriptedServer(replies) as server:
        provider = LiteLLMProvider(
            base_url=server.url,
            model="house-model",
            middleware=[Budget(max_cost_usd=1, on_unknown_cost="stop")],
        )
        response = await provider.call(messages=HI)
        assert response.cost == Decimal("0.4")
        with pytest.raises(lo.LooopyError, match=r"end|clos|connection"):
            assert [event async for event in provider.call(messages=HI)]
        with pytest.raises(BudgetExceededError, match="the cost of a call of house-model is unknown"):
            await provider.call(messages=HI)
        assert len(server.requests) == 2


def test_a_wrong_scope_is_refused() -> None:
    wrong: Any = "team"
    with pytest.raises(ConfigurationError, match="scope='team' must be one of run, session, agent"):
        Budget(max_tokens=1, scope=wrong)

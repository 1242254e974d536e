"""What was charged for is entered: tries that were refused, streams that were left, sub-agents' calls."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import openai
import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, Budget, BudgetExceededError, Retry
from looopy_otel.core.operation import LLMCall
from looopy_otel.providers import Reply, ScriptedProvider, ScriptedServer
from looopy_otel.testing import capture_spans

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


class RefusedError(Exception):
    retryable = True


def _refusing(times: int) -> Any:
    left = [times]

    async def guard(operation: Any, call_next: Any) -> Any:
        result = await call_next(operation)
        if isinstance(operation, LLMCall) and left[0]:
            left[0] -= 1
            raise RefusedError
        return result

    return guard


@pytest.mark.parametrize(
    ("model", "replies", "refused", "cost"),
    [
        ("house", [Reply(text="x", cost=0.5)], 1, 1.0),
        ("house", [Reply(text="x", cost=0.5, usage=USAGE)], 3, 1.5),
        ("gpt-4o", [Reply(text="x", cost=0.5), Reply(text="x", usage=USAGE)], 1, 0.5035),
        ("gemini-2.5-pro", [Reply(text="x", usage={"prompt_tokens": 150_000, "completion_tokens": 100})], 1, 0.377),
    ],
)
async def test_each_refused_try_has_its_own_price(model: str, replies: list[Reply], refused: int, cost: float) -> None:
    layers = [Retry(attempts=3, initial_delay=0), _refusing(refused)]
    with capture_spans() as captured:
        try:
            await ScriptedProvider(replies, model=model, middleware=layers).call(messages=[])
        except RefusedError:
            assert refused == 3
        (span,) = [span for span in captured.spans() if span.name == "llm.call"]
    assert (span.attributes or {})["gen_ai.usage.cost"] == pytest.approx(cost)


async def test_a_stream_left_before_its_first_chunk_is_entered_before_the_next_call() -> None:
    budget = Budget(max_cost_usd=1, on_unknown_cost="stop")
    with ScriptedServer([Reply(text="x", model="gpt-4o")]) as server:
        client = lo.wrap(openai.AsyncOpenAI(base_url=server.url, api_key="k", max_retries=0), middleware=[budget])
        stream = await client.chat.completions.create(model="gpt-4o", messages=[], stream=True)
        await stream.close()
        with pytest.raises(BudgetExceededError):
            await client.chat.completions.create(model="gpt-4o", messages=[])
        await client.close()


def test_sub_agents_share_the_account_of_a_providers_budget_and_refused_calls_are_none() -> None:
    budget = Budget(max_llm_calls=2)
    below = ScriptedProvider([Reply(text="x", usage=USAGE)], model="gpt-4o", middleware=[budget])
    asking = Reply(tool_calls=[("sub", {"prompt": "a"})], usage=USAGE)
    above = ScriptedProvider([asking], model="gpt-4o", middleware=[budget])
    sub = AgentLoop(agent_id="sub", llm_provider=below)
    result = AgentLoop(agent_id="boss", llm_provider=above, tool_providers=[sub.as_tool()]).run("Hi")
    assert (result.outcome, result.llm_calls, result.cost) == ("budget_exceeded", 2, Decimal("0.007"))

"""Small agents whose numbers are known."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from looopy_otel.agent import AgentLoop, AgentResult, FunctionTools, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.providers import Reply, ScriptedProvider

MODEL = "priced-model"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
COST = Decimal("0.25")


def reply(text: str = "It is 392, as you can see.", cost: Decimal | None = COST) -> Reply:
    return Reply(text=text, usage=USAGE, cost=None if cost is None else float(cost))


def asks_for_tool(name: str = "calculate") -> Reply:
    return Reply(tool_calls=((name, {"expression": "15 * 23 + 47"}),), usage=USAGE, cost=float(COST))


def calculate(expression: str) -> int:
    """Calculates an arithmetic expression.

    Args:
        expression: Such as ``1 + 2``.
    """
    if expression == "fail":
        raise ZeroDivisionError(expression)
    return 392


def agent(replies: Sequence[Reply], name: str = "counter", model: str = MODEL) -> AgentLoop:
    return AgentLoop(
        agent_id=name,
        llm_provider=ScriptedProvider(replies, model=model),
        tool_providers=[FunctionTools([calculate])],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
    )


def run(name: str = "counter") -> AgentResult:
    """Two LLM calls with a tool call between them."""
    return agent([asks_for_tool(), reply()], name).run("What is 15 * 23 + 47?")


def ask(text: str = "Hello!", *, model: str = MODEL, cost: Decimal | None = COST) -> None:
    """One LLM call without an agent."""
    ScriptedProvider([reply(cost=cost)], model=model).call_sync(messages=[{"role": "user", "content": text}])

"""Hand-made traces for the tests of the command line."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from looopy_otel.core.draft import AgentDraft, Cost, Draft, IterationDraft, LLMDraft, ToolDraft
from looopy_otel.core.identity import Identity
from looopy_otel.core.usage import Usage
from looopy_otel.store.span import StoredSpan

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
STARTED = 1_730_000_000_000_000_000
MILLISECOND = 1_000_000
WHO = Identity(agent_id="calculator", task_id="task_1730000000000_abc123")


def stored(
    number: int,
    parent: int | None,
    name: str,
    draft: Draft | None = None,
    *,
    start: float = 0,
    milliseconds: float = 10,
    **more: Any,
) -> StoredSpan:
    """A span with the ids `number` and `parent`; `start` in milliseconds after the trace's."""
    begin = STARTED + int(start * MILLISECOND)
    return StoredSpan(
        trace_id=TRACE,
        span_id=f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name=name,
        start_time=begin,
        end_time=begin + int(milliseconds * MILLISECOND),
        draft=draft,
        **more,
    )


def times(start: float = 0, milliseconds: float = 10) -> dict[str, Any]:
    begin = STARTED + int(start * MILLISECOND)
    return {"start_time": begin, "end_time": begin + int(milliseconds * MILLISECOND), "identity": WHO}


def generation(**changes: Any) -> LLMDraft:
    """The generation of the figure: gpt-4-0613, 150 → 75, $0.0068."""
    draft = LLMDraft(
        name="llm.call",
        request_model="gpt-4-0613",
        response_model="gpt-4-0613",
        input=[{"role": "user", "content": "Calculate 15 * 23 + 47"}],
        output=[
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "calculate", "arguments": '{"expression": "15 * 23 + 47"}'},
                    }
                ],
            }
        ],
        usage=Usage(150, 75),
        usage_source="reported",
        cost=Cost(Decimal("0.0068"), source="provider"),
        **times(),
    )
    return replace(draft, **changes)


def figure() -> list[StoredSpan]:
    """One run of one iteration: a generation and a tool."""
    agent = AgentDraft(
        name="agent.execute", iterations=1, llm_calls=1, usage=Usage(150, 75), cost=Decimal("0.0068"), **times()
    )
    tool = ToolDraft(
        name="tool.execute",
        tool_name="calculate",
        call_id="call_1",
        input={"expression": "15 * 23 + 47"},
        output=392,
        **times(),
    )
    return [
        stored(1, None, "agent.execute", agent, milliseconds=1240),
        stored(2, 1, "agent.iteration", IterationDraft(name="agent.iteration", **times()), start=1, milliseconds=1200),
        stored(3, 2, "llm.call", generation(), start=2, milliseconds=812),
        stored(4, 2, "tool.execute", tool, start=900, milliseconds=0.4),
    ]

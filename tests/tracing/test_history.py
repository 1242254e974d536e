"""``history="delta"``: every message is recorded once on the calls, and the whole conversation on the run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, CallNext, FunctionTools, LLMCall
from looopy_otel.providers import Reply, ScriptedProvider
from tests.tracing.conftest import Recorded, attributes

ASK = Reply(tool_calls=(("double", {"x": 1}),))
ANSWER = Reply(text="done")


@pytest.fixture
def delta() -> Iterator[Recorded]:
    exporter = InMemorySpanExporter()
    with lo.configure(
        exporters=exporter, capture="full", history="delta", dialects={"InMemorySpanExporter": "seed"}
    ) as telemetry:
        yield Recorded(telemetry, exporter)


def double(x: int) -> int:
    """Double a number."""
    return 2 * x


def prompts(recorded: Recorded) -> list[list[str]]:
    """The roles that each call recorded, in the order of the calls."""
    calls = [attributes(span) for span in recorded.spans() if span.name == "llm.call"]
    return [[message["role"] for message in json.loads(str(call["gen_ai.prompt"]))] for call in calls]


def whole(recorded: Recorded) -> list[str]:
    """The roles that the run recorded."""
    conversation: list[dict[str, Any]] = json.loads(str(attributes(recorded.span("agent.execute"))["input"]))
    return [message["role"] for message in conversation]


def agent(*replies: Reply, **options: Any) -> AgentLoop:
    return AgentLoop(
        agent_id="a", llm_provider=ScriptedProvider(replies), tool_providers=[FunctionTools([double])], **options
    )


def test_each_call_has_what_is_new_the_last_one_and_the_run_have_the_whole(delta: Recorded) -> None:
    agent(ASK, ASK, ANSWER).run("hi")
    conversation = ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert prompts(delta) == [["system", "user"], ["assistant", "tool"], conversation]
    assert whole(delta) == conversation


def test_the_run_has_the_whole_also_where_no_call_was_the_last(delta: Recorded) -> None:
    agent(ASK, max_iterations=2).run("hi")
    assert prompts(delta) == [["system", "user"], ["assistant", "tool"]]
    assert whole(delta) == ["system", "user", "assistant", "tool"]


def test_a_tools_own_calls_are_recorded_whole_and_change_nothing(delta: Recorded) -> None:
    inner = ScriptedProvider([ASK])

    async def classify(text: str) -> str:
        """Classify."""
        await inner.call(messages=[{"role": "user", "content": text}, {"role": "user", "content": "again"}])
        return "fine"

    replies = [Reply(tool_calls=(("classify", {"text": "t"}),)), ANSWER]
    AgentLoop(agent_id="a", llm_provider=ScriptedProvider(replies), tool_providers=[FunctionTools([classify])]).run(
        "hi"
    )
    assert sorted(prompts(delta)) == [
        ["system", "user"],
        ["system", "user", "assistant", "tool"],
        ["user", "user"],
    ]


def test_a_conversation_that_was_cut_is_recorded_whole(delta: Recorded) -> None:
    async def window(operation: Any, call_next: CallNext) -> Any:
        if isinstance(operation, LLMCall):
            operation = replace(operation, messages=operation.messages[-2:])
        return await call_next(operation)

    agent(ASK, ASK, ANSWER, middleware=[window]).run("hi")
    assert prompts(delta) == [["system", "user"], ["assistant", "tool"], ["assistant", "tool"]]


def test_without_it_each_call_has_the_whole(recorded: Recorded) -> None:
    agent(ASK, ANSWER).run("hi")
    assert prompts(recorded) == [["system", "user"], ["system", "user", "assistant", "tool"]]
    assert attributes(recorded.span("agent.execute"))["langfuse.observation.input"] == "hi"

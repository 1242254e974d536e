"""What the spans of decorated functions say: runs with totals, counted turns, model answers, tool calls."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.core.identity import current_identity
from looopy_otel.core.semconv import AGENT_PARENT_TASK_ID
from looopy_otel.core.settings import Capture
from looopy_otel.core.types import AgentResult, ContentComplete, ContentDelta, LLMResponse, Message, ToolResult
from looopy_otel.core.usage import Usage
from looopy_otel.instrument.decorators import trace_agent, trace_iteration, trace_llm, trace_span, trace_tool
from looopy_otel.instrument.spans import agent_span, iteration_span
from looopy_otel.providers import Reply, ScriptedProvider
from looopy_otel.testing import CapturedSpans, capture_spans

INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"
MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"}}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}


def all_attributes(captured: CapturedSpans, name: str | None = None) -> list[dict[str, Any]]:
    """The attributes of all spans of a name, or of any."""
    return [dict(span.attributes or {}) for span in captured.spans() if name in (None, span.name)]


def test_the_whole_tree(captured: CapturedSpans) -> None:
    @trace_agent(name="maths", metadata={"tier": "pro"})
    def run(question: str) -> str:
        for _ in range(2):
            turn(question)
        return "4"

    @trace_iteration
    def turn(question: str) -> None:
        ask(question)
        add(2, 2)

    @trace_llm(model="gpt-4o")
    def ask(question: str) -> dict[str, Any]:
        return COMPLETION

    @trace_tool
    def add(a: int, b: int) -> int:
        return a + b

    with lo.session("s-1"):
        assert run("2+2?") == "4"
    turn_lines = ["  agent.iteration", "    llm.call", "    tool.execute"]
    assert captured.outline() == ["agent.execute", *turn_lines, *turn_lines]
    spans = all_attributes(captured)
    assert {one["session.id"] for one in spans} == {"s-1"}
    assert {one["agent.id"] for one in spans} == {"maths"}
    assert len({one["agent.task.id"] for one in spans}) == 1
    assert str(spans[0]["agent.task.id"]).startswith("task_")
    assert [one["agent.iteration"] for one in all_attributes(captured, "agent.iteration")] == [1, 2]
    assert {one["llm.finish_reason"] for one in all_attributes(captured, "agent.iteration")} == {"stop"}
    seen = captured.attributes("agent.execute")
    assert (seen["agent.iterations"], seen["agent.llm_calls"], seen["agent.tool_calls"]) == (2, 2, 2)
    assert (seen["agent.usage.prompt_tokens"], seen["agent.usage.completion_tokens"]) == (18, 2)
    assert (seen["agent.outcome"], seen["gen_ai.agent.name"], seen[INPUT], seen[OUTPUT]) == (
        *("completed", "maths", "2+2?", "4"),
    )
    assert seen["langfuse.observation.metadata.tier"] == "pro"
    tool = all_attributes(captured, "tool.execute")[0]
    assert (tool["gen_ai.tool.name"], tool[INPUT], tool[OUTPUT]) == ("add", '{"a":2,"b":2}', "4")
    assert len({one["gen_ai.tool.call.id"] for one in all_attributes(captured, "tool.execute")}) == 2


@pytest.mark.parametrize(
    "answer",
    [
        COMPLETION,
        ChatCompletion.model_validate(COMPLETION),
        LLMResponse(Message("assistant", "4"), "gpt-4o-2024-08-06", Usage(9, 1), "stop", "chatcmpl-1"),
    ],
    ids=["json", "openai", "ours"],
)
def test_a_providers_response_is_read(answer: Any, captured: CapturedSpans) -> None:
    @trace_llm(model="gpt-4o")
    def ask(messages: Sequence[Any], temperature: float, tools: Any = None) -> Any:
        return answer

    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    assert ask(MESSAGES, temperature=0.5, tools=[tool, {"type": "web_search"}]) is answer
    seen = captured.attributes("llm.call")
    assert (seen["gen_ai.request.model"], seen["gen_ai.response.model"]) == ("gpt-4o", "gpt-4o-2024-08-06")
    assert (seen["gen_ai.usage.input_tokens"], seen["gen_ai.usage.output_tokens"]) == (9, 1)
    assert (seen["llm.finish_reason"], seen["gen_ai.response.id"]) == ("stop", "chatcmpl-1")
    assert (seen["gen_ai.system"], seen["gen_ai.provider.name"]) == ("openai", "openai")
    assert seen["gen_ai.request.temperature"] == 0.5
    assert '"role":"system","content":"Be brief."' in str(seen[INPUT])
    assert '"name":"add"' in str(seen[INPUT])
    assert seen[OUTPUT] == '{"role":"assistant","content":"4"}'
    assert seen["langfuse.observation.type"] == "generation"


@pytest.mark.parametrize(
    ("arguments", "model", "content"),
    [
        ({"prompt": "Hi"}, "unknown", "Hi"),
        ({"model": "claude-3-haiku", "question": "Hi"}, "claude-3-haiku", "Hi"),
        ({"messages": [Message("user", "Hi")]}, "unknown", "Hi"),
        ({"messages": [ChatCompletionMessage(role="assistant", content="Hi")]}, "unknown", "Hi"),
        ({"messages": ["no", "messages"], "prompt": "Hi"}, "unknown", "Hi"),
    ],
)
@pytest.mark.parametrize("capture", ["full", "metadata"])
def test_where_the_conversation_is_found(arguments: Any, model: str, content: str, capture: Capture) -> None:
    @trace_llm
    def ask(**given: Any) -> str:
        return "Hello"

    with capture_spans(capture=capture) as captured:
        ask(**arguments)
    seen = captured.attributes("llm.call")
    assert seen["gen_ai.request.model"] == model
    assert (f'"content":"{content}"' in str(seen.get(INPUT))) == (capture == "full")
    assert ("langfuse.observation.input" in seen) == (capture == "full")


@pytest.mark.parametrize("result", ["4", {"score": 4}, None, 4.5, [1], SimpleNamespace(x=1)])
def test_answers_of_no_known_shape(result: Any, captured: CapturedSpans) -> None:
    @trace_llm(model="gpt-4o")
    def classify(rows: Any) -> Any:
        return result

    assert classify([1, 2]) is result
    seen = captured.attributes("llm.call")
    assert seen[INPUT] == '{"rows":[1,2]}'
    assert seen["llm.outcome"] == "completed"
    assert seen["llm.usage.source"] == "missing"
    assert "langfuse.observation.usage_details" not in seen


def chunk(content: str | None, finish: str | None = None, usage: Any = None) -> ChatCompletionChunk:
    choices = [] if usage else [{"index": 0, "delta": {"content": content}, "finish_reason": finish}]
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-x", "choices": choices}
    return ChatCompletionChunk.model_validate({**body, "usage": usage})


CHUNKS = [chunk(""), chunk("4"), chunk("2"), chunk(None, "stop"), chunk(None, usage=COMPLETION["usage"])]


@pytest.mark.parametrize(
    ("items", "usage"),
    [
        (["", "4", "2"], None),
        (CHUNKS, 9),
        ([ContentDelta("42"), ContentComplete(LLMResponse(Message("assistant", "42"), usage=Usage(9, 1)))], 9),
    ],
    ids=["texts", "openai", "events"],
)
def test_a_stream_is_joined(items: list[Any], usage: int | None, captured: CapturedSpans) -> None:
    @trace_llm(model="gpt-4o")
    def ask(prompt: str) -> Generator[Any]:
        yield from items

    assert list(ask("6*7?")) == items
    seen = captured.attributes("llm.call")
    assert seen[OUTPUT] == '{"role":"assistant","content":"42"}'
    assert seen.get("gen_ai.usage.input_tokens") == usage
    assert seen["llm.outcome"] == "completed"
    assert seen["gen_ai.request.stream"] is True
    assert float(seen["gen_ai.response.time_to_first_chunk"]) > 0


async def test_a_stream_that_is_left_keeps_what_came(captured: CapturedSpans) -> None:
    @trace_llm(model="gpt-4o")
    async def ask(prompt: str) -> AsyncGenerator[Any]:
        for one in CHUNKS:
            yield one

    stream = ask("6*7?")
    assert [await anext(stream), await anext(stream)] == CHUNKS[:2]
    await stream.aclose()
    seen = captured.attributes("llm.call")
    assert (seen["llm.outcome"], seen[OUTPUT]) == ("abandoned", '{"role":"assistant","content":"4"}')


def test_a_stream_without_a_finish_reason_is_not_cut_off(captured: CapturedSpans) -> None:
    @trace_llm(model="gpt-4o")
    def ask(prompt: str) -> Generator[Any, None, dict[str, Any]]:
        yield chunk("4")
        return COMPLETION

    list(ask("2+2?"))
    seen = captured.attributes("llm.call")
    assert (seen["llm.outcome"], seen["gen_ai.usage.input_tokens"]) == ("completed", 9)


def test_a_call_inside_takes_the_place_of_the_generation(captured: CapturedSpans) -> None:
    @trace_llm(model="gpt-4o")
    def answer(prompt: str) -> Any:
        return ask(prompt)

    @trace_llm(model="gpt-4o-mini")
    def ask(prompt: str) -> Any:
        return COMPLETION

    with agent_span("a"):
        answer("2+2?")
    assert captured.outline() == [
        "agent.execute",
        "  answer",
        "    llm.call",
    ]
    step, call = captured.attributes("answer"), captured.attributes("llm.call")
    assert step["langfuse.observation.type"] == "span"
    assert not [key for key in step if "usage" in key or "model" in key]
    assert ('"content":"2+2?"' in str(step[INPUT]), step[OUTPUT]) == (True, "4")
    assert (call["gen_ai.request.model"], call["gen_ai.usage.input_tokens"]) == ("gpt-4o-mini", 9)
    run = captured.attributes("agent.execute")
    assert (run["agent.llm_calls"], run["agent.usage.prompt_tokens"]) == (1, 9)


async def test_a_provider_inside_is_the_generation(captured: CapturedSpans) -> None:
    provider = ScriptedProvider([Reply(text="4", usage=COMPLETION["usage"])])

    @trace_llm
    async def ask(prompt: str) -> Any:
        return await provider.call(messages=[Message("user", prompt)])

    await ask("2+2?")
    assert [line.strip() for line in captured.outline()] == ["ask", "llm.call"]
    assert captured.attributes("llm.call")["gen_ai.usage.input_tokens"] == 9
    assert captured.attributes("ask")[OUTPUT] == "4"


async def test_a_decorated_tool_of_the_loop_is_recorded_once(captured: CapturedSpans) -> None:
    @trace_tool
    def add(a: int, b: int) -> int:
        """Adds.

        Args:
            a: One.
            b: Another.
        """
        with lo.span("inside"):
            return a + b

    provider = ScriptedProvider([Reply(tool_calls=(("add", {"a": 2, "b": 2}),)), Reply(text="4")])
    loop = AgentLoop(agent_id="maths", llm_provider=provider, tool_providers=[FunctionTools([add])])

    @trace_agent(name="outer")
    async def run(question: str) -> AgentResult:
        return await loop.arun(question)

    assert (await run("2+2?")).output == "4"
    turn = ["    agent.iteration", "      llm.call"]
    assert captured.outline() == [
        *["agent.execute", "  agent.execute", *turn, "      tool.execute", "        inside", *turn],
    ]
    outer = all_attributes(captured, "agent.execute")[0]
    assert (outer["agent.llm_calls"], outer["agent.tool_calls"], outer[OUTPUT]) == (2, 1, "4")


def test_a_tool_that_reports_a_failure_and_call_ids(captured: CapturedSpans) -> None:
    @trace_tool(name="search")
    def find(query: str, call_id: str) -> ToolResult:
        return ToolResult("no such thing", error_type="LookupError")

    find("x", call_id="call_7")
    seen = captured.attributes("tool.execute")
    assert (seen["gen_ai.tool.call.id"], seen["error.type"]) == ("call_7", "LookupError")
    assert seen["gen_ai.tool.name"] == "search"


def test_turns_are_counted_for_each_run(captured: CapturedSpans) -> None:
    @trace_iteration
    def turn() -> int:
        return current_identity().task_id is not None

    @trace_agent
    def run() -> None:
        turn()
        with iteration_span(), lo.span("deep"):
            pass
        inner()
        turn()

    @trace_agent
    def inner() -> None:
        turn()

    run()
    run()
    turn()
    numbers = [one["agent.iteration"] for one in all_attributes(captured, "agent.iteration")]
    assert numbers == [1, 2, 1, 3] * 2 + [1]
    runs = all_attributes(captured, "agent.execute")
    assert [one["agent.iterations"] for one in runs] == [3, 1, 3, 1]
    assert runs[1][AGENT_PARENT_TASK_ID] == runs[0]["agent.task.id"]
    assert runs[1]["session.id"] == runs[0]["session.id"] == runs[0]["agent.task.id"]


def test_an_agent_that_streams_text(captured: CapturedSpans) -> None:
    @trace_agent
    def run(question: str, history: int) -> Generator[str]:
        yield from ("4", "2")

    assert list(run("6*7?", 0)) == ["4", "2"]
    seen = captured.attributes("agent.execute")
    assert (seen[INPUT], seen[OUTPUT]) == ('{"question":"6*7?","history":0}', "42")


def test_an_agent_that_takes_messages(captured: CapturedSpans) -> None:
    @trace_agent
    def run(messages: list[Any]) -> str:
        return "4"

    run(MESSAGES)
    assert '"content":"2+2?"' in str(captured.attributes("agent.execute")[INPUT])


def test_facts_told_inside(captured: CapturedSpans) -> None:
    @trace_llm(model="m")
    def ask(prompt: str) -> str:
        lo.current().record(usage={"prompt_tokens": 3, "completion_tokens": 4}, response_model="m-1", cost="0.5")
        return "4"

    ask("2+2?")
    seen = captured.attributes("llm.call")
    assert (seen["gen_ai.usage.input_tokens"], seen["gen_ai.response.model"]) == (3, "m-1")
    assert (seen["gen_ai.usage.cost"], seen["llm.cost.source"], seen[OUTPUT]) == (
        *(0.5, "provider", '{"role":"assistant","content":"4"}'),
    )


def test_arguments_are_as_they_were_at_the_call(captured: CapturedSpans) -> None:
    @trace_span(name="step")
    def change(items: list[int]) -> list[int]:
        items.append(2)
        return items

    result = change([1])
    result.append(3)
    seen = captured.attributes("step")
    assert (seen[INPUT], seen[OUTPUT]) == ('{"items":[1]}', "[1,2]")


def test_a_huge_argument_leaves_room_for_the_others(captured: CapturedSpans) -> None:
    @trace_span(name="step")
    def load(data: str, name: str, lock: Any) -> None: ...

    load("x" * 10_000_000, "orders", threading.Lock())
    given = str(captured.attributes("step")[INPUT])
    assert len(given) < 600_000
    assert '"name":"orders"' in given
    assert "<cut: 10000000 characters in all>" in given


@pytest.mark.parametrize("decorator", [trace_agent, trace_tool, trace_llm, trace_span])
def test_an_exception_that_counts_as_false_is_a_failure(decorator: Any, captured: CapturedSpans) -> None:
    class NoDetails(Exception):
        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    @decorator
    def fail() -> None:
        raise NoDetails("failed")

    with pytest.raises(NoDetails):
        fail()
    (span,) = captured.spans()
    assert str((span.attributes or {})["error.type"]).endswith("NoDetails")

"""The OpenAI Agents SDK: chat completions and responses, plain and streamed."""

# ruff: noqa: E402 (what is imported must be there first)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.require import require_packages

require_packages("agents")

import openai
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    add_trace_processor,
    function_tool,
    set_trace_processors,
    trace,
)
from agents.tracing import get_trace_provider
from agents.tracing.processors import default_processor

import looopy_otel as lo
from looopy_otel.core.hooks import innermost
from looopy_otel.instrument.openai import instrument_openai
from looopy_otel.instrument.openai_agents.processor import OpenAIAgentsProcessor, instrument_openai_agents
from looopy_otel.instrument.openai_agents.recording import OPEN
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.testing import CapturedSpans
from tests.instrument.frameworks.scenario import TWO_TOOLS, calculating, decoded, named, reckon, told
from tests.support.model_server import Answer, ModelServer, Recorded

TREE = ["greeting", *(f"  {line}" for line in TWO_TOOLS)]


@function_tool(failure_error_function=None)
def calculate(expression: str) -> str:
    """Calculates."""
    return reckon(expression)


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    instrument_openai_agents()
    yield
    uninstrument("openai_agents")
    assert OPEN == {}


@pytest.fixture(params=[OpenAIChatCompletionsModel, OpenAIResponsesModel], ids=["chat", "responses"])
async def model(request: pytest.FixtureRequest, server: ModelServer) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        yield request.param(model="gpt-4o", openai_client=client)


@pytest.fixture(params=["run", "stream"])
def run(request: pytest.FixtureRequest) -> Any:
    return run_to_the_end if request.param == "run" else stream_to_the_end


async def run_to_the_end(agent: Any, **options: Any) -> Any:
    result = await Runner.run(agent, "What is 6*7?", run_config=settings(), **options)
    assert innermost() is None
    return result.final_output


async def stream_to_the_end(agent: Any, **options: Any) -> Any:
    result = Runner.run_streamed(agent, "What is 6*7?", run_config=settings(), **options)
    async for _ in result.stream_events():
        assert innermost() is None
    return result.final_output


def settings(**options: Any) -> RunConfig:
    return RunConfig(workflow_name="greeting", group_id="g-1", **options)


def calculator(model: Any, **options: Any) -> Any:
    settled: dict[str, Any] = {"name": "calculator", "model": model, "tools": [calculate], **options}
    return Agent(**settled)


@pytest.mark.parametrize("instrumented", [False, True])
async def test_the_tree_of_an_agent(model: Any, run: Any, instrumented: bool, captured: CapturedSpans) -> None:
    if instrumented:
        instrument_openai()

    assert await run(calculator(model)) == "It is 42."

    outline = captured.outline()
    assert outline[0] == "greeting"
    assert sorted(outline) == sorted(TREE)
    assert [line.strip() for line in outline if "reckon" not in line] == [
        line.strip() for line in TREE if "reckon" not in line
    ]


async def test_what_the_spans_tell(model: Any, run: Any, captured: CapturedSpans) -> None:
    await run(calculator(model, instructions="Be nice."))

    (agent,) = named(captured, "agent.execute")
    assert told(agent)["agent.id"] == "calculator"
    assert told(agent)["agent.outcome"] == "completed"
    assert told(agent)["agent.iterations"] == 2
    assert told(agent)["agent.tool_calls"] == 2
    assert told(agent)["output"] == "It is 42."
    assert {told(span)["session.id"] for span in captured.spans() if span.name != "reckon"} == {"g-1"}
    first, second = named(captured, "llm.call")
    assert told(first)["gen_ai.request.model"] == "gpt-4o"
    assert told(first)["gen_ai.system"] == "openai"
    asked = decoded(second, "gen_ai.prompt")
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool", "tool"]
    assert told(second)["gen_ai.completion"] == "It is 42."
    tools = named(captured, "tool.execute")
    assert {(told(one)["gen_ai.tool.call.id"], str(told(one)["input"]), told(one)["output"]) for one in tools} == {
        ("call_0", '{"expression":"6*7"}', "42"),
        ("call_1", '{"expression":"1+1"}', "2"),
    }


async def test_usage_is_told(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="Hi.", usage=(11, 7), cached=3, reasoning_tokens=2)

    await run_to_the_end(calculator(model))

    call = told(captured.span("llm.call"))
    assert call["gen_ai.usage.input_tokens"] == 11
    assert call["gen_ai.usage.output_tokens"] == 7
    # Version 0.2 tells no parts of the usage of chat completions.
    assert call.get("gen_ai.usage.cache_read.input_tokens", 3) == 3
    assert call["llm.usage.source"] == "reported"
    assert told(captured.span("agent.execute"))["agent.usage.total_tokens"] == 18


async def test_a_session_that_is_open_wins(model: Any, captured: CapturedSpans) -> None:
    with lo.session("mine"):
        await run_to_the_end(calculator(model))

    assert {told(span)["session.id"] for span in captured.spans()} == {"mine"}


async def test_a_handoff(model: Any, run: Any, captured: CapturedSpans, server: ModelServer) -> None:
    def hand_over(request: Recorded) -> Answer:
        names = [(tool.get("function") or tool)["name"] for tool in request.json.get("tools", ())]
        return Answer(text="", tool_calls=[(names[0], {})]) if "transfer_to_calculator" in names else Answer(text="42")

    server.script = hand_over

    assert await run(Agent(name="triage", model=model, handoffs=[calculator(model)])) == "42"

    assert captured.outline() == [
        "greeting",
        "  agent.execute",
        "    agent.iteration",
        "      llm.call",
        "      handoff",
        "  agent.execute",
        "    agent.iteration",
        "      llm.call",
    ]
    assert [told(agent)["agent.id"] for agent in named(captured, "agent.execute")] == ["triage", "calculator"]
    assert decoded(captured.span("handoff"), "output") == {"from": "triage", "to": "calculator"}


async def test_an_agent_as_a_tool(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    def ask(request: Recorded) -> Answer:
        names = [(tool.get("function") or tool)["name"] for tool in request.json.get("tools", ())]
        return (
            Answer(text="", tool_calls=[("ask", {"input": "6*7"})])
            if names and "42" not in str(request.json)
            else Answer(text="42")
        )

    server.script = ask
    inner = calculator(model, tools=[])
    boss = Agent(name="boss", model=model, tools=[inner.as_tool("ask", "Asks.")])

    await run_to_the_end(boss)

    assert captured.outline() == [
        "greeting",
        "  agent.execute",
        "    agent.iteration",
        "      llm.call",
        "      tool.execute",
        "        agent.execute",
        "          agent.iteration",
        "            llm.call",
        "    agent.iteration",
        "      llm.call",
    ]
    outer, within = named(captured, "agent.execute")
    assert told(within)["agent.parent_task.id"] == told(outer)["agent.task.id"]
    assert told(outer)["agent.llm_calls"] == 3


async def test_a_guardrail_is_a_step(model: Any, captured: CapturedSpans) -> None:
    async def check(*_: object) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    with pytest.raises(InputGuardrailTripwireTriggered):
        await run_to_the_end(calculator(model, input_guardrails=[InputGuardrail(check, name="polite")]))

    assert decoded(captured.span("polite"), "output") == {"triggered": True}
    assert told(captured.span("agent.execute"))["agent.outcome"] == "failed"


async def test_a_model_that_fails(model: Any, run: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(status=400, text="no")

    with pytest.raises(openai.BadRequestError):
        await run(calculator(model))

    assert told(captured.span("llm.call"))["error.type"] == "400"
    assert told(captured.span("llm.call"))["llm.outcome"] == "error"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "failed"


@pytest.mark.parametrize("told_to_the_model", [True, False])
async def test_a_tool_that_fails(
    told_to_the_model: bool, model: Any, captured: CapturedSpans, server: ModelServer
) -> None:
    def first_fails(request: Recorded) -> Answer:
        answer = calculating(request)
        return Answer(text="", tool_calls=[("calculate", {"expression": "boom"})]) if answer.tool_calls else answer

    server.script = first_fails
    tool = function_tool(reckon, name_override="calculate") if told_to_the_model else calculate
    agent = calculator(model, tools=[tool])
    if told_to_the_model:
        await run_to_the_end(agent)
    else:
        with pytest.raises(Exception, match="boom"):
            await run_to_the_end(agent)

    failed = told(captured.span("tool.execute"))
    assert failed["error.type"]
    assert decoded(captured.span("tool.execute"), "input") == {"expression": "boom"}
    assert told(captured.span("agent.execute"))["agent.outcome"] == ("completed" if told_to_the_model else "failed")


async def test_too_many_turns(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    with pytest.raises(MaxTurnsExceeded):
        await run_to_the_end(calculator(model), max_turns=1)

    assert told(captured.span("agent.execute"))["agent.outcome"] == "failed"
    assert len(named(captured, "llm.call")) == 1


async def test_a_run_that_is_cancelled(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(stall_before=0)
    task = asyncio.create_task(run_to_the_end(calculator(model)))
    await asyncio.to_thread(server.stalled.wait, 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert told(captured.span("llm.call"))["llm.outcome"] == "cancelled"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "cancelled"
    assert all(span.status.is_unset for span in captured.spans())


async def test_a_run_inside_the_handling_of_another_failure(model: Any, captured: CapturedSpans) -> None:
    try:
        raise ValueError("something else")
    except ValueError:
        await run_to_the_end(calculator(model))

    assert told(captured.span("agent.execute"))["agent.outcome"] == "completed"


async def test_two_runs_in_one_trace(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="Hi.")

    with trace("both", group_id="g-2"):
        with lo.span("before"):
            await Runner.run(calculator(model), "Hello!")
        await Runner.run(calculator(model), "Hello!")

    run = ["  agent.execute", "    agent.iteration", "      llm.call"]
    assert captured.outline() == ["both", "  before", *(f"  {line}" for line in run), *run]
    assert {told(span)["session.id"] for span in named(captured, "agent.execute")} == {"g-2"}


async def test_many_runs_at_once(model: Any, captured: CapturedSpans) -> None:
    await asyncio.gather(*(run_to_the_end(calculator(model)) for _ in range(10)))

    assert sorted(captured.outline()) == sorted(TREE * 10)


async def test_nothing_is_told_where_its_tracing_is_off(model: Any, captured: CapturedSpans) -> None:
    await Runner.run(calculator(model), "What is 6*7?", run_config=RunConfig(tracing_disabled=True))

    assert captured.outline() == ["reckon", "reckon"]


async def test_no_content_where_it_leaves_that_out(model: Any, captured: CapturedSpans) -> None:
    await Runner.run(calculator(model), "a secret", run_config=RunConfig(trace_include_sensitive_data=False))

    assert "a secret" not in str([told(span) for span in captured.spans()])
    assert len(named(captured, "llm.call")) == 2


async def test_two_processors_record_once(model: Any, captured: CapturedSpans) -> None:
    before = processors()
    add_trace_processor(OpenAIAgentsProcessor())
    await run_to_the_end(calculator(model))
    set_trace_processors(before)

    assert len(named(captured, "llm.call")) == 2


def processors() -> list[Any]:
    several: Any = get_trace_provider()
    return list(several._multi_processor._processors)


def test_nothing_is_sent_to_openai_until_it_is_undone() -> None:
    assert default_processor() not in processors()

    uninstrument("openai_agents")

    assert default_processor() in processors()
    assert not any(isinstance(one, OpenAIAgentsProcessor) for one in processors())


@pytest.mark.parametrize("beneath", [False, True], ids=["alone", "instrumented"])
async def test_usage_that_the_sdk_does_not_know(beneath: bool, captured: CapturedSpans, server: ModelServer) -> None:
    """The SDK asks a compatible server for no usage of a stream, and says zero."""
    server.script = Answer(usage=(1000, 500))
    if beneath:
        instrument_openai()
    try:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
            model = OpenAIChatCompletionsModel(model="gpt-4o", openai_client=client)
            await stream_to_the_end(Agent(name="a", model=model))
    finally:
        uninstrument("openai")
    call = told(captured.span("llm.call"))
    assert call.get("gen_ai.usage.input_tokens") == (1000 if beneath else None)
    assert call["llm.usage.source"] == ("reported" if beneath else "missing")
    assert call.get("gen_ai.usage.cost") == (0.0075 if beneath else None)


async def test_a_stream_that_is_cut_off(captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="hello there my friend", end_after=3)
    instrument_openai()
    try:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
            model = OpenAIChatCompletionsModel(model="gpt-4o", openai_client=client)
            await stream_to_the_end(Agent(name="a", model=model))
    finally:
        uninstrument("openai")
    call = told(captured.span("llm.call"))
    assert call["llm.outcome"] == "truncated"
    assert "llm.finish_reason" not in call


async def test_a_trace_has_one_session_and_a_name(model: Any, captured: CapturedSpans) -> None:
    await Runner.run(calculator(model), "What is 6*7?", run_config=RunConfig(workflow_name="greeting"))
    assert len({told(span)["session.id"] for span in captured.spans()}) == 1
    assert {told(span)["langfuse.trace.name"] for span in captured.spans()} == {"greeting"}

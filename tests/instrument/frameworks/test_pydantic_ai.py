"""Pydantic AI: sync, async, streamed and iterated runs."""

# ruff: noqa: E402 (what is imported must be there first)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.require import require_packages

require_packages("pydantic_ai")

import openai
from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.exceptions import ModelRetry, UsageLimitExceeded
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import UsageLimits

import looopy_otel as lo
from looopy_otel.core.hooks import innermost
from looopy_otel.instrument.openai import instrument_openai
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.instrument.pydantic_ai.tracing import PydanticAITracing, instrument_pydantic_ai
from looopy_otel.testing import CapturedSpans
from tests.instrument.frameworks.scenario import TWO_TOOLS, decoded, named, reckon, told
from tests.support.model_server import Answer, ModelServer

QUESTION = "What is 6*7?"


@pytest.fixture(params=[OpenAIChatModel, OpenAIResponsesModel], ids=["chat", "responses"])
async def model(request: pytest.FixtureRequest, server: ModelServer) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        yield request.param("gpt-4o", provider=OpenAIProvider(openai_client=client))


def calculator(model: Any, **options: Any) -> Any:
    settled: dict[str, Any] = {"name": "calculator", "instructions": "Be nice.", **options}
    agent: Any = Agent(model, **settled)

    @agent.tool_plain
    def calculate(expression: str) -> str:  # pyright: ignore[reportUnusedFunction]
        """Calculates."""
        return reckon(expression)

    return agent


async def run(agent: Any) -> None:
    await agent.run(QUESTION)


async def stream(agent: Any) -> None:
    async with agent.run_stream(QUESTION) as result:
        async for _ in result.stream_text():
            pass


async def events(agent: Any) -> None:
    async with agent.run_stream_events(QUESTION) as told_events:
        async for _ in told_events:
            pass


async def iterate(agent: Any) -> None:
    async with agent.iter(QUESTION) as steps:
        async for _ in steps:
            pass


WAYS = pytest.mark.parametrize("way", [run, stream, events, iterate])


@WAYS
@pytest.mark.parametrize("form", ["global", "agent", "both"])
@pytest.mark.parametrize("instrumented", [False, True])
async def test_the_tree_of_an_agent(
    way: Any, form: str, instrumented: bool, model: Any, captured: CapturedSpans
) -> None:
    if instrumented:
        instrument_openai()
    if form != "agent":
        instrument_pydantic_ai()
        instrument_pydantic_ai()

    await way(calculator(model, capabilities=[] if form == "global" else [PydanticAITracing()]))

    assert innermost() is None
    outline = captured.outline()
    assert sorted(outline) == sorted(TWO_TOOLS)
    assert [line for line in outline if "reckon" not in line] == [line for line in TWO_TOOLS if "reckon" not in line]


@WAYS
async def test_what_the_spans_tell(way: Any, model: Any, captured: CapturedSpans) -> None:
    instrument_pydantic_ai()

    with lo.session("mine"):
        await way(calculator(model))

    (agent,) = named(captured, "agent.execute")
    assert told(agent)["agent.id"] == "calculator"
    assert told(agent)["agent.outcome"] == "completed"
    assert told(agent)["agent.iterations"] == 2
    assert told(agent)["agent.usage.total_tokens"] == 43
    assert told(agent)["input"] == QUESTION
    assert told(agent)["output"] == "It is 42."
    assert {told(span)["session.id"] for span in captured.spans()} == {"mine"}
    assert {told(span)["agent.id"] for span in captured.spans()} == {"calculator"}
    first, second = named(captured, "agent.iteration")
    assert [told(turn)["agent.iteration"] for turn in (first, second)] == [1, 2]
    asked = decoded(named(captured, "llm.call")[1], "gen_ai.prompt")
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "tool", "tool"]
    call = told(named(captured, "llm.call")[0])
    assert call["gen_ai.request.model"] == "gpt-4o"
    assert call["gen_ai.system"] == "openai"
    assert call["server.address"] == "127.0.0.1"
    assert "calculate" in call["gen_ai.tool.definitions"]
    assert {(told(tool)["gen_ai.tool.call.id"], told(tool)["output"]) for tool in named(captured, "tool.execute")} == {
        ("call_0", "42"),
        ("call_1", "2"),
    }


async def test_a_streamed_call_tells_its_first_chunk(model: Any, captured: CapturedSpans) -> None:
    instrument_pydantic_ai()

    await stream(calculator(model))

    for call in named(captured, "llm.call"):
        assert told(call)["gen_ai.request.stream"] is True
        assert told(call)["gen_ai.response.time_to_first_chunk"] > 0


def test_a_sync_run(captured: CapturedSpans, server: ModelServer) -> None:
    instrument_pydantic_ai()
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        calculator(OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))).run_sync(QUESTION)
        assert innermost() is None
        loop.run_until_complete(client.close())
    finally:
        asyncio.set_event_loop(None)
        loop.close()

    assert sorted(captured.outline()) == sorted(TWO_TOOLS)


async def test_the_conversation_is_the_session(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="Hi.")
    instrument_pydantic_ai()
    agent = calculator(model)

    await agent.run("Hello!", conversation_id="c-1")

    assert {told(span)["session.id"] for span in captured.spans()} == {"c-1"}


async def test_until_uninstrument(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="Hi.")
    agent = calculator(model)
    before = Agent.iter
    instrument_pydantic_ai()
    uninstrument("pydantic_ai")

    await run(agent)

    assert Agent.iter is before
    assert captured.outline() == []


async def test_usage_parts(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="Hi.", usage=(11, 7), cached=3)
    instrument_pydantic_ai()

    await run(calculator(model))

    call = told(captured.span("llm.call"))
    assert call["gen_ai.usage.input_tokens"] == 11
    assert call["gen_ai.usage.cache_read.input_tokens"] == 3
    assert call["llm.finish_reason"] in ("stop", "completed")


@WAYS
async def test_a_model_that_fails(way: Any, model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(status=400, text="no")
    instrument_pydantic_ai()

    with pytest.raises(Exception, match="no"):
        await way(calculator(model))

    assert captured.outline() == ["agent.execute", "  agent.iteration", "    llm.call"]
    assert told(captured.span("llm.call"))["error.type"] == "400"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "failed"
    assert innermost() is None


async def test_a_tool_that_fails(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="", tool_calls=[("calculate", {"expression": "boom"})])
    instrument_pydantic_ai()

    with pytest.raises(ValueError, match="boom"):
        await run(calculator(model))

    assert told(captured.span("tool.execute"))["error.type"] == "ValueError"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "failed"


async def test_a_tool_that_wants_another_try(model: Any, captured: CapturedSpans) -> None:
    instrument_pydantic_ai()
    agent: Any = Agent(model, name="calculator")
    tries: list[str] = []

    @agent.tool_plain(retries=3)
    def calculate(expression: str) -> str:  # pyright: ignore[reportUnusedFunction]
        tries.append(expression)
        if len(tries) == 1:
            raise ModelRetry("again, please")
        return "42"

    await run(agent)

    failed = [tool for tool in named(captured, "tool.execute") if not tool.status.is_unset]
    assert len(failed) == 1
    assert told(captured.span("agent.execute"))["agent.outcome"] == "completed"


async def test_a_run_that_is_cancelled(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(stall_before=0)
    instrument_pydantic_ai()
    task = asyncio.create_task(run(calculator(model)))
    await asyncio.to_thread(server.stalled.wait, 10)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert told(captured.span("llm.call"))["llm.outcome"] == "cancelled"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "cancelled"
    assert all(span.status.is_unset for span in captured.spans())


async def test_a_stream_that_is_left(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="Hello there, dear friend. " * 20, stall_before=12)
    instrument_pydantic_ai()

    async with calculator(model).run_stream(QUESTION) as result:
        async for _ in result.stream_text(delta=True):
            break

    assert told(captured.span("llm.call"))["llm.outcome"] in ("abandoned", "cancelled")
    assert innermost() is None


async def test_limits(model: Any, captured: CapturedSpans) -> None:
    instrument_pydantic_ai()

    with pytest.raises(UsageLimitExceeded):
        await calculator(model).run(QUESTION, usage_limits=UsageLimits(request_limit=1))

    assert told(captured.span("agent.execute"))["error.type"]
    assert len(named(captured, "llm.call")) == 1


async def test_an_agent_that_a_tool_runs(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    instrument_pydantic_ai()
    inner = Agent(model, name="inner")
    outer: Any = Agent(model, name="outer")

    @outer.tool
    async def ask(ctx: RunContext[None], question: str) -> str:  # pyright: ignore[reportUnusedFunction]
        return (await inner.run(question)).output

    server.script = [Answer(text="", tool_calls=[("ask", {"question": "6*7"})]), Answer(text="42"), Answer(text="42")]
    await run(outer)

    assert captured.outline() == [
        "agent.execute",
        "  agent.iteration",
        "    llm.call",
        "    tool.execute",
        "      agent.execute",
        "        agent.iteration",
        "          llm.call",
        "  agent.iteration",
        "    llm.call",
    ]
    boss, within = named(captured, "agent.execute")
    assert told(within)["agent.parent_task.id"] == told(boss)["agent.task.id"]
    assert len({told(span)["session.id"] for span in captured.spans()}) == 1


class Sum(BaseModel):
    """What is asked for."""

    value: int


async def test_a_structured_output(model: Any, captured: CapturedSpans, server: ModelServer) -> None:
    server.script = Answer(text="", tool_calls=[("final_result", {"value": 42})])
    instrument_pydantic_ai()

    await Agent(model, output_type=Sum, name="calculator").run(QUESTION)

    assert decoded(captured.span("agent.execute"), "output") == {"value": 42}


async def test_many_runs_at_once(model: Any, captured: CapturedSpans) -> None:
    instrument_pydantic_ai()
    agent = calculator(model)

    await asyncio.gather(*(run(agent) for _ in range(10)))

    assert sorted(captured.outline()) == sorted(TWO_TOOLS * 10)


async def test_a_fault_of_ours_does_not_break_the_run(
    model: Any, captured: CapturedSpans, swallowed_faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("ours")

    for name in ("response_of", "call_of", "conversation", "announce_under"):
        monkeypatch.setattr(f"looopy_otel.instrument.pydantic_ai.tracing.{name}", fail)
    instrument_pydantic_ai()

    result = await calculator(model).run(QUESTION)

    assert result.output == "It is 42."
    assert swallowed_faults


@pytest.mark.parametrize("beneath", [False, True], ids=["alone", "instrumented"])
async def test_a_stream_that_is_cut_off(beneath: bool, captured: CapturedSpans, server: ModelServer) -> None:
    """Pydantic AI says of it that it ended well."""
    server.script = Answer(text="hello there my friend", end_after=3)
    if beneath:
        instrument_openai()
    try:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
            model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=client))
            await stream(Agent(model, capabilities=[PydanticAITracing()]))
    finally:
        uninstrument("openai")
    call = told(captured.span("llm.call"))
    assert call["llm.outcome"] == "truncated"
    assert "llm.finish_reason" not in call


@pytest.mark.parametrize("way", [run, stream])
async def test_each_model_that_is_tried_is_a_call(way: Any, captured: CapturedSpans, server: ModelServer) -> None:
    def answer(request: Any) -> Answer:
        return Answer(status=500) if request.json["model"] == "down" else Answer(usage=(11, 7))

    server.script = answer
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as client:
        provider = OpenAIProvider(openai_client=client)
        models = [OpenAIChatModel(name, provider=provider) for name in ("down", "gpt-4o")]
        await way(Agent(FallbackModel(*models), capabilities=[PydanticAITracing()]))
    calls = [told(span) for span in named(captured, "llm.call")]
    assert [call["gen_ai.request.model"] for call in calls] == ["down", "gpt-4o"]
    assert [call["llm.outcome"] for call in calls] == ["error", "completed"]

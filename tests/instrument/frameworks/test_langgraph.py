"""LangGraph: the same tree however the graph is run."""

# ruff: noqa: E402 (what is imported must be there first)

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from importlib import import_module
from operator import add
from typing import Annotated, Any, TypedDict

import pytest

from tests.support.require import require_packages

require_packages("langchain_core", "langchain_openai", "langgraph")

# pyright: reportMissingTypeStubs=false
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

import looopy_otel as lo
from looopy_otel.core.hooks import NO_RECORDER, innermost
from looopy_otel.core.types import ToolCall
from looopy_otel.instrument.langchain.handler import LangChainHandler, instrument_langchain
from looopy_otel.instrument.langchain.recording import RUNS
from looopy_otel.instrument.langchain.runs import Agent, Turn
from looopy_otel.instrument.openai import instrument_openai
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.instrument.place import Place
from looopy_otel.testing import CapturedSpans
from tests.instrument.frameworks.langgraph_agent import QUESTION, State, agent_at, calculate, model_at
from tests.instrument.frameworks.scenario import TWO_TOOLS, decoded, named, told
from tests.support.model_server import Answer, ModelServer, Recorded

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def no_run_left() -> Iterator[None]:
    yield
    assert len(RUNS) == 0


def config(**configurable: Any) -> dict[str, Any]:
    return {"callbacks": [LangChainHandler()], "configurable": configurable}


def invoke(graph: Any) -> None:
    graph.invoke(QUESTION, config(thread_id="t-1"))


def stream(graph: Any) -> None:
    for _ in graph.stream(QUESTION, config(thread_id="t-1"), stream_mode=["updates", "messages"]):
        assert innermost() is None


def batch(graph: Any) -> None:
    graph.batch([QUESTION], config(thread_id="t-1"))


def ainvoke(graph: Any) -> None:
    async def run() -> None:
        await graph.ainvoke(QUESTION, config(thread_id="t-1"))
        assert innermost() is None

    asyncio.run(run())


def astream(graph: Any) -> None:
    async def run() -> None:
        async for _ in graph.astream(QUESTION, config(thread_id="t-1"), stream_mode=["values", "messages"]):
            assert innermost() is None
        assert innermost() is None

    asyncio.run(run())


def astream_events(graph: Any) -> None:
    async def run() -> None:
        async for _ in graph.astream_events(QUESTION, config(thread_id="t-1"), version="v2"):
            assert innermost() is None

    asyncio.run(run())


WAYS = pytest.mark.parametrize("run", [invoke, stream, batch, ainvoke, astream, astream_events])


@WAYS
def test_the_tree_of_an_agent(run: Callable[[Any], None], server: ModelServer, captured: CapturedSpans) -> None:
    run(agent_at(server.url))

    assert captured.outline() == TWO_TOOLS


@WAYS
def test_the_client_below_is_instrumented_too(
    run: Callable[[Any], None], server: ModelServer, captured: CapturedSpans
) -> None:
    instrument_openai()

    run(agent_at(server.url))

    assert captured.outline() == TWO_TOOLS
    assert [told(call)["gen_ai.usage.input_tokens"] for call in named(captured, "llm.call")] == [11, 20]


@WAYS
def test_what_the_spans_tell(run: Callable[[Any], None], server: ModelServer, captured: CapturedSpans) -> None:
    run(agent_at(server.url))

    (agent,) = named(captured, "agent.execute")
    assert told(agent)["agent.id"] == "calculator"
    assert told(agent)["agent.outcome"] == "completed"
    assert told(agent)["agent.iterations"] == 2
    assert told(agent)["agent.llm_calls"] == 2
    assert told(agent)["agent.tool_calls"] == 2
    assert told(agent)["agent.usage.total_tokens"] == 43
    assert decoded(agent, "input") == [{"role": "user", "content": "What is 6*7?"}]
    assert told(agent)["output"] == "It is 42."
    assert {told(span)["session.id"] for span in captured.spans()} == {"t-1"}
    assert {told(span)["agent.id"] for span in captured.spans()} == {"calculator"}
    first, second = named(captured, "agent.iteration")
    assert [told(turn)["agent.iteration"] for turn in (first, second)] == [1, 2]
    assert [message["role"] for message in decoded(second, "input")] == ["assistant", "tool", "tool"]
    assert told(first)["llm.finish_reason"] == "tool_calls"
    tools = named(captured, "tool.execute")
    assert {(told(tool)["gen_ai.tool.call.id"], told(tool)["output"]) for tool in tools} == {
        ("call_0", "42"),
        ("call_1", "2"),
    }
    assert all(told(tool)["agent.tool.name"] == "calculate" for tool in tools)


def test_a_call_tells_the_request(server: ModelServer, captured: CapturedSpans) -> None:
    agent_at(server.url, temperature=0.25).invoke(QUESTION, config())

    call = told(named(captured, "llm.call")[0])
    assert call["gen_ai.request.model"] == "gpt-4o"
    assert call["gen_ai.system"] == "openai"
    assert call["gen_ai.request.temperature"] == 0.25
    assert call["server.address"] == "127.0.0.1"
    assert call["server.port"] == server.port
    assert "calculate" in call["gen_ai.tool.definitions"]


def test_a_streamed_call_tells_its_first_chunk(server: ModelServer, captured: CapturedSpans) -> None:
    stream(agent_at(server.url))

    for call in named(captured, "llm.call"):
        assert told(call)["gen_ai.request.stream"] is True
        assert told(call)["gen_ai.response.time_to_first_chunk"] > 0


def test_a_session_that_is_open_wins(server: ModelServer, captured: CapturedSpans) -> None:
    with lo.session("mine", user_id="me"):
        agent_at(server.url).invoke(QUESTION, config(thread_id="t-1"))

    assert {(told(span)["session.id"], told(span)["user.id"]) for span in captured.spans()} == {("mine", "me")}


def test_it_hangs_under_what_is_current(server: ModelServer, captured: CapturedSpans) -> None:
    with lo.span("request"):
        agent_at(server.url).invoke(QUESTION, config())

    assert captured.outline() == ["request", *(f"  {line}" for line in TWO_TOOLS)]


def test_all_runs_are_recorded_until_uninstrument(server: ModelServer, captured: CapturedSpans) -> None:
    instrument_langchain()
    instrument_langchain()
    graph = agent_at(server.url)

    graph.invoke(QUESTION)
    graph.invoke(QUESTION, config())
    uninstrument("langchain")
    graph.invoke(QUESTION)

    assert captured.outline() == [*TWO_TOOLS, *TWO_TOOLS, "reckon", "reckon"]


def test_two_handlers_record_once(server: ModelServer, captured: CapturedSpans) -> None:
    agent_at(server.url).invoke(QUESTION, {"callbacks": [LangChainHandler(), LangChainHandler()]})

    assert captured.outline() == TWO_TOOLS


def test_without_tracing_nothing_happens(server: ModelServer) -> None:
    agent_at(server.url).invoke(QUESTION, config())

    assert len(server.requests) == 2


@WAYS
def test_a_model_that_fails(run: Callable[[Any], None], server: ModelServer, captured: CapturedSpans) -> None:
    server.script = Answer(status=400, text="no")

    with pytest.raises(Exception, match="no"):
        run(agent_at(server.url))

    assert captured.outline() == ["agent.execute", "  agent.iteration", "    llm.call"]
    agent, turn, call = captured.spans()
    assert told(call)["error.type"] == "400"
    assert told(call)["llm.outcome"] == "error"
    assert told(turn)["error.type"] == "400"
    assert told(agent)["agent.outcome"] == "failed"


def test_a_tool_that_fails(server: ModelServer, captured: CapturedSpans) -> None:
    server.script = Answer(text="", tool_calls=[("calculate", {"expression": "boom"})])

    with pytest.raises(ValueError, match="boom"):
        agent_at(server.url).invoke(QUESTION, config())

    assert told(captured.span("tool.execute"))["error.type"] == "ValueError"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "failed"


def test_a_tool_that_fails_and_whose_failure_the_model_sees(server: ModelServer, captured: CapturedSpans) -> None:
    def first_fails(request: Recorded) -> Answer:
        asked = request.json["messages"][-1]["role"] == "tool"
        return Answer() if asked else Answer(text="", tool_calls=[("calculate", {"expression": "boom"})])

    server.script = first_fails
    agent_at(server.url, handle_tool_errors=True).invoke(QUESTION, config())

    assert told(captured.span("tool.execute"))["error.type"] == "ValueError"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "completed"


async def test_a_run_that_is_cancelled(server: ModelServer, captured: CapturedSpans) -> None:
    server.script = Answer(stall_before=0)
    run = asyncio.create_task(agent_at(server.url, streaming=False).ainvoke(QUESTION, config()))
    await asyncio.to_thread(server.stalled.wait, 10)

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert captured.outline() == ["agent.execute", "  agent.iteration", "    llm.call"]
    assert told(captured.span("llm.call"))["llm.outcome"] == "cancelled"
    assert told(captured.span("agent.execute"))["agent.outcome"] == "cancelled"
    assert all(span.status.is_unset for span in captured.spans())


def test_a_stream_that_nobody_reads_to_its_end(server: ModelServer, captured: CapturedSpans) -> None:
    chunks = agent_at(server.url).stream(QUESTION, config(), stream_mode="updates")
    next(chunks)
    chunks.close()

    assert told(captured.span("agent.execute"))["agent.outcome"] == "cancelled"
    assert captured.outline()[:3] == TWO_TOOLS[:3]


async def test_an_async_stream_that_nobody_reads_to_its_end(server: ModelServer, captured: CapturedSpans) -> None:
    chunks = agent_at(server.url).astream(QUESTION, config(), stream_mode="messages")
    await anext(chunks)
    await chunks.aclose()

    assert captured.outline()[:3] == TWO_TOOLS[:3]
    assert told(captured.span("agent.execute"))["agent.outcome"] == "cancelled"
    assert innermost() is None


async def test_many_runs_at_once(server: ModelServer, captured: CapturedSpans) -> None:
    graph = agent_at(server.url)

    await asyncio.gather(*(graph.ainvoke(QUESTION, config(thread_id=f"t-{number}")) for number in range(20)))

    assert captured.outline() == TWO_TOOLS * 20
    trees: dict[int, set[str]] = {}
    for span in captured.spans():
        assert span.context is not None
        trees.setdefault(span.context.trace_id, set()).add(told(span)["session.id"])
    assert sorted(map(len, trees.values())) == [1] * 20


def test_a_graph_inside_a_node(server: ModelServer, captured: CapturedSpans) -> None:
    outer: Any = StateGraph(State)
    outer.add_node("researcher", agent_at(server.url))
    outer.add_edge(START, "researcher")
    outer.add_edge("researcher", END)

    outer.compile(name="boss").invoke(QUESTION, config(thread_id="t-1"))

    assert captured.outline() == [
        "agent.execute",
        "  researcher",
        *(f"    {line}" for line in TWO_TOOLS),
    ]
    boss, inner = named(captured, "agent.execute")
    assert told(inner)["agent.parent_task.id"] == told(boss)["agent.task.id"]
    assert told(boss)["agent.usage.total_tokens"] == 43
    assert {told(span)["session.id"] for span in captured.spans()} == {"t-1"}


class Notes(TypedDict):
    notes: Annotated[list[str], add]


def test_parallel_nodes_and_nodes_without_a_model(captured: CapturedSpans) -> None:
    def left(state: Notes) -> Notes:
        with lo.span("in-left"):
            return {"notes": ["left"]}

    def right(state: Notes) -> Notes:
        with lo.span("in-right"):
            return {"notes": ["right"]}

    graph: Any = StateGraph(Notes)
    graph.add_node("left", left)
    graph.add_node("right", right)
    graph.add_edge(START, "left")
    graph.add_edge(START, "right")

    graph.compile().invoke({"notes": []}, config(thread_id="t-1"))

    assert {told(span)["session.id"] for span in captured.spans()} == {"t-1"}
    lines = captured.outline()
    assert lines[0] == "agent.execute"
    assert {tuple(lines[1:3]), tuple(lines[3:5])} == {("  left", "    in-left"), ("  right", "    in-right")}
    assert decoded(captured.span("agent.execute"), "output") == {"notes": ["left", "right"]}
    assert decoded(captured.span("left"), "output") == {"notes": ["left"]}


def test_a_model_that_a_tool_calls_is_no_turn(server: ModelServer, captured: CapturedSpans) -> None:
    inner = model_at(server.url)

    @tool("calculate")
    def asks(expression: str) -> str:
        """Asks another model."""
        with lo.span("thinking"):
            return str(inner.invoke([{"role": "tool", "content": "x", "tool_call_id": "c"}]).content)

    def answer(request: Recorded) -> Answer:
        asked = request.json["messages"][-1]["role"] == "tool"
        return Answer(text="42") if asked else Answer(text="", tool_calls=[("calculate", {"expression": "1"})])

    server.script = answer
    agent_at(server.url, tools=[asks]).invoke(QUESTION, config())

    assert captured.outline() == [
        "agent.execute",
        "  agent.iteration",
        "    llm.call",
        "    tool.execute",
        "      thinking",
        "        llm.call",
        "  agent.iteration",
        "    llm.call",
    ]


def test_a_graph_that_waits_for_somebody_has_not_failed(captured: CapturedSpans) -> None:
    def ask(state: Notes) -> Notes:
        return {"notes": [interrupt("sure?")]}

    graph: Any = StateGraph(Notes)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    compiled = graph.compile(checkpointer=InMemorySaver())

    compiled.invoke({"notes": []}, config(thread_id="t-1"))

    assert captured.outline() == ["agent.execute", "  ask"]
    assert all(span.status.is_unset for span in captured.spans())
    assert told(captured.span("agent.execute"))["agent.outcome"] == "completed"
    assert told(captured.span("agent.execute"))["langfuse.observation.metadata.interrupted"] is True


def test_too_many_steps(server: ModelServer, captured: CapturedSpans) -> None:
    server.script = Answer(text="", tool_calls=[("calculate", {"expression": "6*7"})])

    with pytest.raises(GraphRecursionError):
        agent_at(server.url).invoke(QUESTION, {**config(), "recursion_limit": 4})

    assert told(captured.span("agent.execute"))["error.type"] == "GraphRecursionError"
    assert [told(turn)["agent.iteration"] for turn in named(captured, "agent.iteration")] == [1, 2]


def test_the_prebuilt_agent(server: ModelServer, captured: CapturedSpans) -> None:
    prebuilt: Any = import_module("langgraph.prebuilt")
    agent = prebuilt.create_react_agent(model_at(server.url), [calculate])
    agent.invoke(QUESTION, config())

    assert captured.outline() == TWO_TOOLS


def test_a_strange_answer_does_not_break_the_run(
    server: ModelServer, captured: CapturedSpans, swallowed_faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr("looopy_otel.instrument.langchain.recording.response_of", fail)
    monkeypatch.setattr("looopy_otel.instrument.langchain.recording.request_of", fail)

    result = agent_at(server.url).invoke(QUESTION, config())

    assert result["messages"][-1].content == "It is 42."
    assert swallowed_faults


def test_a_node_that_asks_a_wrapped_client_is_a_turn(captured: CapturedSpans) -> None:
    asked = lo.wrap(lambda: "Hi!", request=lambda: {"model": "gpt-4o", "messages": []}, response=lambda text: text)
    builder: Any = StateGraph(State)

    def think(_: State) -> Any:
        return {"messages": [("ai", asked())]}

    builder.add_node("think", think)
    builder.add_edge(START, "think")
    builder.add_edge("think", END)
    builder.compile(name="raw").invoke(QUESTION, config())
    assert captured.outline() == ["agent.execute", "  agent.iteration", "    llm.call"]


def test_whose_call_a_tool_answers_where_langchain_does_not_say() -> None:
    agent = Agent("a", NO_RECORDER)
    calls = [ToolCall(name, "add", f'{{"x": {x}}}') for name, x in (("1", 1), ("2", 2), ("3", 2))]
    agent.turns.append(Turn(NO_RECORDER, Place(), open_calls={call.id: call for call in calls}))
    assert [agent.claim("add", {"x": x, "state": "injected"}) for x in (2, 1, 2, 2)] == ["2", "1", "3", None]

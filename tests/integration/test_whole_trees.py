"""Whole trees as they arrive: the example's run in each dialect, failures, and many agents at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.providers import LiteLLM, LiteLLMAPIError, RecordedRequest, Reply, ScriptedServer
from tests.integration.example import ANSWER, ANSWER_TEXT, PROMPT, calculate, example_model
from tests.integration.pictures import example_in_genai, example_in_langfuse, example_in_seed
from tests.support.langfuse_row import outline, to_row
from tests.support.langfuse_rules import all_violations
from tests.support.otlp_sink import OTLPSink
from tests.support.tree import Node, picture, resources


@pytest.fixture
def model() -> Iterator[ScriptedServer]:
    with ScriptedServer(example_model) as server:
        yield server


def configured(sink: OTLPSink, destination: str, **options: Any) -> lo.Telemetry:
    """Tracing to the sink with everything set that stands on every span."""
    addresses: dict[str, Any] = (
        {"langfuse_public_key": "pk-lf-1", "langfuse_secret_key": "sk-lf-1", "langfuse_base_url": sink.url}
        if destination == "langfuse"
        else {"otlp_endpoint": sink.url}
    )
    return lo.configure(
        service_name="tests",
        service_version="1.2.0",
        environment="testing",
        release="r-7",
        exporters=[destination],
        **addresses,
        **options,
    )


def run_example(model: ScriptedServer) -> str:
    """One run of the example in a session; returns its task."""
    agent = AgentLoop(
        agent_id="my-agent", llm_provider=LiteLLM.gpt4(model.url), tool_providers=[FunctionTools([calculate])]
    )
    with lo.session(session_id="s-1", user_id="u-1", tags=["beta"], metadata={"tier": "pro"}):
        result = agent.run(PROMPT)
    assert result.output == ANSWER_TEXT
    return result.task_id


def only_tree(sink: OTLPSink) -> Node:
    (tree,) = sink.trees()
    return tree


@pytest.mark.parametrize("dialect", ["seed", "genai"])
def test_the_example_arrives_whole(sink: OTLPSink, model: ScriptedServer, dialect: str) -> None:
    with configured(sink, "otlp", dialects={"otlp": dialect}):
        run_example(model)
    expected = {"seed": example_in_seed, "genai": example_in_genai}[dialect]
    assert picture(only_tree(sink)) == expected()
    assert {request.path for request in sink.requests} == {"/v1/traces"}


def test_the_example_arrives_whole_in_langfuse(sink: OTLPSink, model: ScriptedServer) -> None:
    with configured(sink, "langfuse"):
        run_example(model)
    assert picture(only_tree(sink)) == example_in_langfuse()
    assert all_violations(sink.requests) == []


def test_what_a_person_sees_in_langfuse(sink: OTLPSink, model: ScriptedServer) -> None:
    with configured(sink, "langfuse"):
        task = run_example(model)
    rows = [to_row(node.span) for node in only_tree(sink).walk()]
    assert [outline(row) for row in rows] == [
        "agent.execute (agent)",
        "agent.iteration (chain)",
        "llm.call (generation) · gpt-4-0613 · 150 → 75 (225 total) · $0.0068",
        "tool.execute (tool)",
        "agent.iteration (chain)",
        "llm.call (generation) · gpt-4-0613 · 234 → 21 (255 total) · $0.0077",
    ]
    assert {(row.session, row.user, row.tags, row.trace_name) for row in rows} == {
        ("s-1", "u-1", ("beta",), "my-agent")
    }
    assert {(row.environment, row.release, row.version) for row in rows} == {("testing", "r-7", "1.2.0")}
    assert {row.metadata["tier"] for row in rows} == {"pro"}
    assert [row.root for row in rows] == [True, False, False, False, False, False]
    assert rows[0].input == PROMPT
    assert rows[0].output == ANSWER_TEXT
    assert (rows[3].input, rows[3].output) == ({"expression": "15 * 23 + 47"}, 392)
    assert {span.attributes["agent.task.id"] for span in sink.spans} == {task}


def test_the_resource_says_which_service_it_was(sink: OTLPSink, model: ScriptedServer) -> None:
    with configured(sink, "otlp"):
        run_example(model)
    assert resources(sink.spans) == [
        {
            "deployment.environment.name": "testing",
            "service.instance.id": "<instance>",
            "service.name": "tests",
            "service.version": "1.2.0",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": "<version>",
        }
    ]


@pytest.mark.parametrize("dialect", ["seed", "genai", "langfuse"])
def test_a_collector_that_forwards_any_dialect_to_langfuse_shows_the_same_numbers(
    sink: OTLPSink, model: ScriptedServer, dialect: str
) -> None:
    with configured(sink, "otlp", dialects={"otlp": dialect}):
        run_example(model)
    rows = [to_row(node.span) for node in only_tree(sink).walk()]
    assert [row.type for row in rows] == ["AGENT", "CHAIN", "GENERATION", "TOOL", "CHAIN", "GENERATION"]
    generations = [row for row in rows if row.type == "GENERATION"]
    assert [row.model for row in generations] == ["gpt-4-0613", "gpt-4-0613"]
    assert [row.usage["total"] for row in generations] == [225, 255]
    assert [row.usage["input"] for row in generations] == [150, 234]
    assert [row.cost["total"] for row in generations] == [0.0068, 0.0077]
    assert sum(row.cost.get("total", 0.0) for row in rows) == pytest.approx(0.0145)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=401, text="no"),
        Reply(status=429, text="slow down", headers={"retry-after": "7"}),
        Reply(status=500, text="fell over"),
        Reply(status=502, body=b"<html>", headers={"content-type": "text/html"}),
        Reply(body=b"not json"),
        Reply(body=b'{"choices": []}'),
        Reply(text="half a word", cut_after=2),
        Reply(text="half a word", stream_error="overloaded"),
    ],
    ids=["401", "429", "500", "502", "no JSON", "no choices", "cut", "error in stream"],
)
def test_a_failed_run_breaks_no_rule_of_langfuse(sink: OTLPSink, reply: Reply) -> None:
    with ScriptedServer([reply]) as server, configured(sink, "langfuse"):
        agent = AgentLoop(agent_id="my-agent", llm_provider=LiteLLM.gpt4(server.url))
        with pytest.raises(Exception, match="LiteLLM"):
            agent.run(PROMPT)
    assert all_violations(sink.requests) == []
    rows = {row.name: row for row in map(to_row, sink.spans)}
    assert {name: row.level for name, row in rows.items()} == {
        "agent.execute": "ERROR",
        "agent.iteration": "ERROR",
        "llm.call": "ERROR",
    }
    assert "LiteLLM" in (rows["llm.call"].status_message or "")


def test_a_failed_tool_breaks_no_rule_of_langfuse(sink: OTLPSink) -> None:
    replies = [Reply(tool_calls=(("calculate", {"expression": "1 / 0"}), ("unknown", "{not json"))), ANSWER]
    with ScriptedServer(replies) as server, configured(sink, "langfuse"):
        AgentLoop(
            agent_id="my-agent", llm_provider=LiteLLM.gpt4(server.url), tool_providers=[FunctionTools([calculate])]
        ).run(PROMPT)
    assert all_violations(sink.requests) == []
    tools = [to_row(span) for span in only_tree(sink).named("tool.execute")]
    assert [row.level for row in tools] == ["ERROR", "ERROR"]
    assert "KeyError" in f"{tools[0].status_message} {tools[0].output}"


@pytest.mark.parametrize("capture", ["full", "redacted", "metadata"])
def test_no_capture_mode_breaks_a_rule_of_langfuse(sink: OTLPSink, model: ScriptedServer, capture: str) -> None:
    with configured(sink, "langfuse", capture=capture):
        run_example(model)
    assert all_violations(sink.requests) == []
    assert (b"15 * 23" in b"".join(request.message.SerializeToString() for request in sink.requests)) == (
        capture != "metadata"
    )


async def test_a_call_outside_a_loop_is_a_root(sink: OTLPSink, model: ScriptedServer) -> None:
    with configured(sink, "langfuse"):
        response = await LiteLLM.gpt4(model.url).call(
            messages=[{"role": "user", "content": PROMPT}], session_id="task-123"
        )
        assert response.tool_calls
    assert only_tree(sink).outline() == "llm.call"
    assert all_violations(sink.requests) == []
    assert to_row(sink.spans[0]).session == "task-123"


def test_a_failed_call_is_told_by_the_error_it_raised(sink: OTLPSink) -> None:
    with ScriptedServer([Reply(status=500, text="fell over")]) as server, configured(sink, "otlp"):
        with pytest.raises(LiteLLMAPIError) as raised:
            LiteLLM.gpt4(server.url).call_sync(messages=[{"role": "user", "content": PROMPT}])
    (span,) = sink.spans
    assert (span.status, span.status_message) == ("ERROR", str(raised.value))
    assert span.attributes["llm.outcome"] == "error"
    assert "gen_ai.usage.cost" not in span.attributes


AGENTS = 10
TOOLS = 3


async def test_many_agents_at_once_with_parallel_tools(sink: OTLPSink) -> None:
    def model(request: RecordedRequest) -> Reply:
        last = request.setting("messages")[-1]
        if last["role"] == "tool":
            return Reply(text=f"done: {last['content']}", usage={"prompt_tokens": 2, "completion_tokens": 1})
        number = last["content"].rpartition(" ")[2]
        calls = tuple(("look_up", {"agent": number, "key": str(key)}) for key in range(TOOLS))
        return Reply(tool_calls=calls, usage={"prompt_tokens": 1, "completion_tokens": 1}, delay=0.02)

    # Each agent's tools wait for one another, so they do run at the same time.
    barriers = {str(number): threading.Barrier(TOOLS, timeout=30) for number in range(AGENTS)}

    def look_up(agent: str, key: str) -> str:
        """Looks a key up.

        Args:
            agent: Who asks.
            key: What for.
        """
        barriers[agent].wait()
        with lo.span("lookup", input={"agent": agent, "key": key}):
            return f"{agent}/{key}"

    async def run(number: int, url: str) -> str:
        agent = AgentLoop(
            agent_id=f"agent-{number}", llm_provider=LiteLLM.gpt4(url), tool_providers=[FunctionTools([look_up])]
        )
        with lo.session(session_id=f"session-{number}", user_id=f"user-{number}"):
            result = await agent.arun(f"I am {number}")
        assert result.output == f"done: {number}/{TOOLS - 1}"
        return result.task_id

    with ScriptedServer(model) as server, configured(sink, "langfuse"):
        tasks = await asyncio.gather(*(run(number, server.url) for number in range(AGENTS)))

    trees = {tree.span.attributes["agent.id"]: tree for tree in sink.trees()}
    assert len(sink.trees()) == len(trees) == AGENTS
    assert len({tree.span.trace_id for tree in trees.values()}) == AGENTS
    for number, task in enumerate(tasks):
        tree = trees[f"agent-{number}"]
        assert tree.outline().splitlines() == [
            "agent.execute",
            "  agent.iteration",
            "    llm.call",
            *["    tool.execute", "      lookup"] * TOOLS,
            "  agent.iteration",
            "    llm.call",
        ]
        for node in tree.walk():
            seen = node.span.attributes
            assert (seen["session.id"], seen["user.id"]) == (f"session-{number}", f"user-{number}")
            assert (seen["agent.id"], seen["agent.task.id"]) == (f"agent-{number}", task)
        asked = {str(to_row(span).input["key"]) for span in tree.named("tool.execute")}  # pyright: ignore[reportArgumentType]
        assert asked == {str(key) for key in range(TOOLS)}
        for tool in (node for node in tree.walk() if node.span.name == "tool.execute"):
            assert to_row(tool.span).input == {"agent": str(number), "key": to_row(tool.children[0].span).input["key"]}
    assert all_violations(sink.requests) == []

"""Runs that are left early, at each stage: one tree, every span ended once, no failure, the connection closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.providers import LiteLLM, Reply, ScriptedServer
from tests.integration.example import ANSWER, PROMPT, TOOL_CALL, calculate
from tests.support.langfuse_row import to_row
from tests.support.langfuse_rules import all_violations
from tests.support.otlp_sink import OTLPSink
from tests.support.spans import Span
from tests.support.tree import Node

ENDLESS = Reply(text="word " * 1000, chunk_size=5, chunk_delay=0.05)
SILENT = Reply(text="too late", delay=60.0)


@pytest.fixture
def telemetry(sink: OTLPSink) -> Iterator[lo.Telemetry]:
    with lo.configure(
        exporters=["langfuse"],
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        langfuse_base_url=sink.url,
    ) as running:
        yield running


def agent_of(server: ScriptedServer, tool: Callable[..., object] = calculate) -> AgentLoop:
    return AgentLoop(agent_id="my-agent", llm_provider=LiteLLM.gpt4(server.url), tool_providers=[FunctionTools([tool])])


def only_tree(sink: OTLPSink, telemetry: lo.Telemetry) -> Node:
    """The one tree that arrived, which breaks no rule of Langfuse and has no failure in it."""
    telemetry.flush()
    (tree,) = sink.trees()
    assert {node.span.status for node in tree.walk()} == {"UNSET"}
    assert not [node.span for node in tree.walk() if "error.type" in node.span.attributes]
    assert all_violations(sink.requests) == []
    return tree


def outcomes(tree: Node) -> dict[str, object]:
    """How the run and its last call ended."""
    calls: list[Span] = tree.named("llm.call")
    return {
        "run": tree.span.attributes["agent.outcome"],
        "call": calls[-1].attributes["llm.outcome"] if calls else None,
    }


async def cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_while_the_model_thinks(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with ScriptedServer([SILENT]) as server:
        task: asyncio.Task[object] = asyncio.create_task(agent_of(server).arun(PROMPT))
        assert await asyncio.to_thread(server.wait_for_requests, 1)
        await cancelled(task)
        assert await asyncio.to_thread(server.wait_for_disconnects, 1)
    tree = only_tree(sink, telemetry)
    assert tree.outline() == "agent.execute\n  agent.iteration\n    llm.call"
    assert outcomes(tree) == {"run": "cancelled", "call": "cancelled"}
    assert to_row(tree.named("llm.call")[0]).usage["total"] == 0


async def test_cancelled_while_a_tool_runs(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    running = asyncio.Event()

    async def slow(expression: str) -> None:
        """Never comes back.

        Args:
            expression: What to calculate.
        """
        running.set()
        await asyncio.Event().wait()

    with ScriptedServer([Reply(tool_calls=(("slow", {"expression": "1"}), ("slow", {"expression": "2"})))]) as server:
        task: asyncio.Task[object] = asyncio.create_task(agent_of(server, slow).arun(PROMPT))
        await running.wait()
        await cancelled(task)
    tree = only_tree(sink, telemetry)
    assert tree.outline().splitlines() == [
        "agent.execute",
        "  agent.iteration",
        "    llm.call",
        "    tool.execute",
        "    tool.execute",
    ]
    assert outcomes(tree) == {"run": "cancelled", "call": "completed"}


async def test_left_by_break_in_the_middle_of_a_stream(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with ScriptedServer([ENDLESS]) as server:
        events = agent_of(server).execute(PROMPT, detail="full")
        async for event in events:
            if event.kind == "content-delta":
                break
        await events.aclose()
        assert await asyncio.to_thread(server.wait_for_disconnects, 1)
    tree = only_tree(sink, telemetry)
    assert tree.outline() == "agent.execute\n  agent.iteration\n    llm.call"
    assert tree.span.attributes["agent.outcome"] == "cancelled"
    (call,) = tree.named("llm.call")
    assert call.attributes["llm.outcome"] in ("cancelled", "abandoned")
    assert str(to_row(call).output["content"]).startswith("word")


async def test_unsubscribed_in_the_second_turn(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with ScriptedServer([TOOL_CALL, SILENT]) as server:
        subscription = agent_of(server).execute(PROMPT).subscribe()
        assert await asyncio.to_thread(server.wait_for_requests, 2)
        subscription.unsubscribe()
        assert await asyncio.to_thread(server.wait_for_disconnects, 1)
        await asyncio.to_thread(sink.wait_for, 6)
    tree = only_tree(sink, telemetry)
    assert tree.outline().splitlines() == [
        "agent.execute",
        "  agent.iteration",
        "    llm.call",
        "    tool.execute",
        "  agent.iteration",
        "    llm.call",
    ]
    assert outcomes(tree) == {"run": "cancelled", "call": "cancelled"}


async def test_a_late_second_consumer_starts_no_second_run(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with ScriptedServer([TOOL_CALL, ANSWER]) as server:
        stream = agent_of(server).execute(PROMPT)
        first = [event async for event in stream]
        second = [event async for event in stream]
        assert len(server.requests) == 2
    assert first == second
    assert len(list(only_tree(sink, telemetry).walk())) == 6


async def test_a_call_that_is_left_early(sink: OTLPSink, telemetry: lo.Telemetry) -> None:
    with ScriptedServer([ENDLESS]) as server:
        stream = aiter(LiteLLM.gpt4(server.url).call(messages=[{"role": "user", "content": PROMPT}]))
        assert (await anext(stream)).kind == "content-delta"
        await stream.aclose()
        assert await asyncio.to_thread(server.wait_for_disconnects, 1)
    tree = only_tree(sink, telemetry)
    assert (tree.span.name, tree.span.attributes["llm.outcome"]) == ("llm.call", "abandoned")

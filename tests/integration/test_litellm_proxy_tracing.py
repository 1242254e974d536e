"""Traced runs through a real LiteLLM proxy: whole trees, Langfuse's rules, and the trace's id at the proxy."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.providers import LiteLLM, LiteLLMProvider, LiteLLMStreamError, Reply
from tests.integration.example import ANSWER, ANSWER_TEXT, PROMPT, calculate, drained, example_model_without_cost
from tests.support.langfuse_row import outline, to_row
from tests.support.langfuse_rules import all_violations
from tests.support.otlp_sink import OTLPSink
from tests.support.proxy import LiteLLMProxy, ProxyRecord, Upstream
from tests.support.spans import Span

pytestmark = pytest.mark.proxy

BARE_ANSWER = replace(ANSWER, cost=None, model=None)
"""An answer that leaves name and price of the model to the proxy."""


def langfuse(sink: OTLPSink) -> lo.Telemetry:
    return lo.configure(
        service_name="tests",
        exporters=["langfuse"],
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        langfuse_base_url=sink.url,
    )


@pytest.fixture
def agent(proxy: LiteLLMProxy, upstream: Upstream) -> AgentLoop:
    upstream.play_by(example_model_without_cost)
    return AgentLoop(
        agent_id="my-agent",
        llm_provider=LiteLLM.gpt4(proxy.url, proxy.key),
        tool_providers=[FunctionTools([calculate])],
    )


def parent_of(span: Span) -> str:
    """What a ``traceparent`` says of a span, without its flags."""
    return f"00-{span.trace_id}-{span.span_id}"


def parent_at_proxy(record: ProxyRecord) -> str:
    """The ``traceparent`` that reached the proxy, which must say that the trace is sampled, without its flags."""
    parent, _, flags = record.headers["traceparent"].rpartition("-")
    assert int(flags, 16) & 1
    return parent


async def test_the_run_as_langfuse_shows_it(sink: OTLPSink, agent: AgentLoop) -> None:
    with langfuse(sink):
        await agent.arun(PROMPT)
    (tree,) = sink.trees()
    assert [outline(to_row(node.span)) for node in tree.walk()] == [
        "agent.execute (agent)",
        "agent.iteration (chain)",
        "llm.call (generation) · gpt-4 · 150 → 75 (225 total) · $0.0090",
        "tool.execute (tool)",
        "agent.iteration (chain)",
        "llm.call (generation) · gpt-4 · 234 → 21 (255 total) · $0.0083",
    ]
    assert all_violations(sink.requests) == []


async def test_the_proxy_gets_the_trace_of_each_call(proxy: LiteLLMProxy, sink: OTLPSink, agent: AgentLoop) -> None:
    with langfuse(sink):
        result = await agent.arun(PROMPT)
    records = proxy.wait_for_records(lambda record: record.session == result.task_id, count=2)
    calls = [span for span in sink.spans if span.name == "llm.call"]
    assert {parent_at_proxy(record) for record in records} == {parent_of(span) for span in calls}
    assert {record.call_id for record in records} == {span.attributes["llm.request.id"] for span in calls}
    assert {span.trace_id for span in calls} == {result.trace_id}


async def test_a_streamed_call_is_traced_alike(proxy: LiteLLMProxy, upstream: Upstream, sink: OTLPSink) -> None:
    upstream.play(BARE_ANSWER)
    with langfuse(sink):
        provider = LiteLLM.gpt4(proxy.url, proxy.key)
        await drained(provider.call(messages=[{"role": "user", "content": PROMPT}], session_id="task-streamed"))
    (span,) = sink.spans
    (record,) = proxy.wait_for_records(lambda record: record.session == "task-streamed")
    assert parent_at_proxy(record) == parent_of(span)
    row = to_row(span)
    assert outline(row) == "llm.call (generation) · gpt-4 · 234 → 21 (255 total) · $0.0083"
    assert row.output == {"role": "assistant", "content": ANSWER_TEXT}
    assert "langfuse.observation.completion_start_time" in span.attributes
    assert all_violations(sink.requests) == []


async def test_an_alias_is_priced_by_the_model_behind_it(
    proxy: LiteLLMProxy, upstream: Upstream, sink: OTLPSink
) -> None:
    upstream.play(BARE_ANSWER)
    with langfuse(sink):
        provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="support-bot")
        await provider.call(messages=[{"role": "user", "content": PROMPT}])
    (span,) = sink.spans
    assert to_row(span).model == "gpt-4o-mini"
    assert (span.attributes["gen_ai.request.model"], span.attributes["gen_ai.response.model"]) == (
        "support-bot",
        "gpt-4o-mini",
    )
    assert (span.attributes["gen_ai.system"], span.attributes["llm.cost.source"]) == ("openai", "provider")
    assert all_violations(sink.requests) == []


async def test_a_cost_that_nobody_knows_is_absent(proxy: LiteLLMProxy, upstream: Upstream, sink: OTLPSink) -> None:
    upstream.play(BARE_ANSWER)
    with langfuse(sink) as telemetry:
        provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="in-house")
        await provider.call(messages=[{"role": "user", "content": PROMPT}])
        telemetry.flush()
        assert telemetry.stats().unpriced_calls == {"in-house-1": 1}
    (span,) = sink.spans
    row = to_row(span)
    assert (row.cost, row.usage["total"]) == ({}, 255)
    assert span.attributes["llm.cost.source"] == "unknown"
    assert all_violations(sink.requests) == []


@pytest.mark.parametrize(
    ("reply", "error_type"),
    [
        (Reply(status=401, text="no"), "401"),
        (Reply(status=429, text="slow down", headers={"retry-after": "7"}), "429"),
        (Reply(status=500, text="fell over"), "500"),
    ],
)
async def test_a_failed_run_as_langfuse_shows_it(
    upstream: Upstream, sink: OTLPSink, agent: AgentLoop, reply: Reply, error_type: str
) -> None:
    upstream.play(reply)
    with langfuse(sink), pytest.raises(Exception, match="LiteLLM API error"):
        await agent.arun(PROMPT)
    call = next(span for span in sink.spans if span.name == "llm.call")
    row = to_row(call)
    assert (row.level, row.usage["total"], row.cost) == ("ERROR", 0, {})
    assert f"LiteLLM API error: {error_type}" in (row.status_message or "")
    assert call.attributes["error.type"] == error_type
    assert all_violations(sink.requests) == []


async def test_a_cut_stream_keeps_what_came(proxy: LiteLLMProxy, upstream: Upstream, sink: OTLPSink) -> None:
    upstream.play(Reply(text="One word after the other, until the line breaks off.", cut_after=4, chunk_delay=0.2))
    with langfuse(sink), pytest.raises(LiteLLMStreamError):
        await drained(LiteLLM.gpt4(proxy.url, proxy.key).call(messages=[{"role": "user", "content": PROMPT}]))
    (span,) = sink.spans
    row = to_row(span)
    assert row.level == "ERROR"
    assert row.output["content"]
    assert "One word after the other".startswith(row.output["content"])
    assert all_violations(sink.requests) == []


async def test_two_sessions_at_once_in_the_traces_and_at_the_proxy(
    proxy: LiteLLMProxy, sink: OTLPSink, agent: AgentLoop
) -> None:
    sessions = ["traced-0", "traced-1"]
    with langfuse(sink):
        results = await asyncio.gather(*(agent.arun(PROMPT, session_id=session) for session in sessions))
    trees = {tree.span.attributes["session.id"]: tree for tree in sink.trees()}
    assert sorted(trees) == sessions
    for session, result in zip(sessions, results, strict=True):
        spans = [node.span for node in trees[session].walk()]
        assert len(spans) == 6
        assert {(span.attributes["session.id"], span.attributes["agent.task.id"]) for span in spans} == {
            (session, result.task_id)
        }
        records = proxy.wait_for_records(lambda record, wanted=session: record.session == wanted, count=2)
        assert {parent_at_proxy(record) for record in records} == {
            parent_of(span) for span in trees[session].named("llm.call")
        }
    assert all_violations(sink.requests) == []

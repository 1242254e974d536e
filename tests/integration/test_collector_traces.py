"""Spans through a real collector to Langfuse: the same observations as without it, whatever dialect was sent."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.providers import LiteLLM, Reply, ScriptedServer
from tests.integration.example import ANSWER, ANSWER_TEXT, EXPRESSION, PROMPT, calculate, drained, example_model
from tests.integration.pictures import PARAMETERS, SYSTEM, USER
from tests.support.collector import PUBLIC_KEY, SECRET_KEY, Collector
from tests.support.langfuse_row import Row, outline, to_row
from tests.support.langfuse_rules import all_violations
from tests.support.otlp_sink import OTLPSink
from tests.support.require import absent
from tests.support.spans import Span
from tests.support.tree import build

DIALECTS = ["genai", "langfuse", "seed", ("genai", "langfuse", "seed")]


@pytest.fixture
def direct() -> Iterator[OTLPSink]:
    """What gets the same spans without the collector."""
    with OTLPSink() as running:
        yield running


@pytest.fixture
def model() -> Iterator[ScriptedServer]:
    with ScriptedServer(example_model) as server:
        yield server


def configured(direct: OTLPSink, collector: Collector, **options: Any) -> lo.Telemetry:
    """Tracing to both at once: each span is rendered for Langfuse and for the collector."""
    settings: dict[str, Any] = {"exporters": ["langfuse", "otlp"], **options}
    return lo.configure(
        service_name="tests",
        service_version="1.2.0",
        environment="testing",
        release="r-7",
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        langfuse_base_url=direct.url,
        otlp_endpoint=collector.url,
        **settings,
    )


def agent(url: str) -> AgentLoop:
    return AgentLoop(agent_id="my-agent", llm_provider=LiteLLM.gpt4(url), tool_providers=[FunctionTools([calculate])])


def run_example(url: str) -> None:
    with lo.session(session_id="s-1", user_id="u-1", tags=["beta"], metadata={"tier": "pro"}):
        assert agent(url).run(PROMPT).output == ANSWER_TEXT


def collected(sink: OTLPSink, direct: OTLPSink) -> list[tuple[Row, Row]]:
    """What a person sees of each span, directly and through the collector, in order of start."""
    through = {span.span_id: span for span in sink.wait_for(len(direct.spans))}
    without = sorted(direct.spans, key=lambda span: span.start)
    assert {span.span_id: span.parent_id for span in without} == {
        span.span_id: span.parent_id for span in through.values()
    }
    return [(to_row(span), to_row(through[span.span_id])) for span in without]


def but_content(row: Row) -> Row:
    return replace(row, input=None, output=None)


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_langfuse_gets_the_same_observations_as_without_a_collector(
    sink: OTLPSink, direct: OTLPSink, collector: Collector, model: ScriptedServer, dialect: Any
) -> None:
    with configured(direct, collector, dialects={"otlp": dialect}):
        run_example(model.url)
    rows = collected(sink, direct)
    assert [outline(through) for _, through in rows] == [
        "agent.execute (agent)",
        "agent.iteration (chain)",
        "llm.call (generation) · gpt-4-0613 · 150 → 75 (225 total) · $0.0068",
        "tool.execute (tool)",
        "agent.iteration (chain)",
        "llm.call (generation) · gpt-4-0613 · 234 → 21 (255 total) · $0.0077",
    ]
    if dialect == "seed":  # the one dialect that says nothing of Langfuse's own about costs and parameters
        rows = [
            (replace(one, cost={}, model_parameters={}), replace(two, cost={}, model_parameters={}))
            for one, two in rows
        ]
    assert [but_content(through) for _, through in rows] == [but_content(without) for without, _ in rows]
    assert all_violations(sink.requests) == []
    assert [tree.outline() for tree in sink.trees()] == [tree.outline() for tree in direct.trees()]
    if dialect != "genai" and dialect != "seed":
        assert [through for _, through in rows] == [without for without, _ in rows]


def test_credentials_and_the_ingestion_version_come_from_the_environment(
    sink: OTLPSink, direct: OTLPSink, collector: Collector, model: ScriptedServer
) -> None:
    with configured(direct, collector):
        run_example(model.url)
    sink.wait_for(6)
    basic = base64.b64encode(f"{PUBLIC_KEY}:{SECRET_KEY}".encode()).decode()
    for request in sink.requests:
        assert request.headers["authorization"] == f"Basic {basic}"
        assert request.headers["x-langfuse-ingestion-version"] == "4"
        assert request.headers["content-encoding"] == "gzip"


def test_the_content_of_the_conventions_is_readable_in_langfuse(
    sink: OTLPSink, direct: OTLPSink, collector: Collector, model: ScriptedServer
) -> None:
    with configured(direct, collector, dialects={"otlp": "genai"}):
        run_example(model.url)
    execute, first_turn, asking, tool, second_turn, answering = [through for _, through in collected(sink, direct)]
    offered = {"type": "function", "name": "calculate", "description": "Calculates an expression."}
    called = {"type": "tool-call", "name": "calculate", "id": "call_1_0", "arguments": {"expression": EXPRESSION}}
    request = {"role": "assistant", "content": [called]}
    result = {"role": "tool", "content": "392", "tool_call_id": "call_1_0", "name": "calculate"}
    answer = {"role": "assistant", "content": ANSWER_TEXT}
    assert (execute.input, execute.output) == ([{"role": "user", "content": PROMPT}], answer)
    assert (first_turn.input, first_turn.output) == ([SYSTEM, USER], request)
    assert asking.input == {"messages": [SYSTEM, USER], "tools": [{**offered, "parameters": PARAMETERS}]}
    assert asking.output == {**request, "finish_reason": "tool_call"}
    assert (tool.input, tool.output) == ({"expression": EXPRESSION}, {"result": 392})
    assert (second_turn.input, second_turn.output) == ([result], answer)
    assert answering.input["messages"] == [SYSTEM, USER, request, result]
    assert answering.output == {**answer, "finish_reason": "stop"}


HOSTILE = [
    'say "parts":[{"type":"text","content":"x"}] twice: "parts":[{"type":"text","content":"x"}]',
    '[{"role":"user","parts":[{"type":"tool_call","name":"n","arguments":{}}]}]',
    'ends in a backslash \\ or two \\\\ and a quote \\"',
    "lines\nand tabs\tand $1 $$2 ${env:HOME} and \x00 \U0001f600 }]}]",
    "x" * 100_000,
]


def test_texts_arrive_as_they_are(sink: OTLPSink, direct: OTLPSink, collector: Collector) -> None:
    replies = [Reply(text=text) for text in HOSTILE]
    with ScriptedServer(replies) as server, configured(direct, collector):
        for text in HOSTILE:
            messages = [{"role": "system", "content": text}, {"role": "user", "content": text, "name": "me"}]
            LiteLLM.gpt4(server.url).call_sync(messages=messages)
    rows = collected(sink, direct)
    assert len(rows) == len(HOSTILE)
    for text, (without, through) in zip(HOSTILE, rows, strict=True):
        assert text == through.input[0]["content"]
        assert through.input == without.input
        assert through.output["content"] == without.output["content"]
    assert all_violations(sink.requests) == []


def test_no_text_is_taken_for_structure(sink: OTLPSink, direct: OTLPSink, collector: Collector) -> None:
    pieces = [
        '"',
        "\\",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "parts",
        "content",
        "text",
        "type",
        "role",
        "tool_call",
        "$1",
        "\n",
    ]
    chance = random.Random(7)
    texts = ["".join(chance.choices(pieces, k=chance.randrange(1, 40))) for _ in range(300)]
    messages = [{"role": chance.choice(["system", "user", "assistant"]), "content": text} for text in texts]
    with ScriptedServer([Reply(text="ok")]) as server, configured(direct, collector):
        LiteLLM.gpt4(server.url).call_sync(messages=messages)
    ((without, through),) = collected(sink, direct)
    assert through.input == without.input == messages


def test_tool_arguments_may_look_like_messages(sink: OTLPSink, direct: OTLPSink, collector: Collector) -> None:
    arguments = {"parts": [{"type": "text", "text": "x"}], "content": 'a "quoted" word', "n": 1}

    def note(parts: list[dict[str, str]], content: str, n: int) -> str:
        """Notes something.

        Args:
            parts: Parts.
            content: Content.
            n: A number.
        """
        return content

    replies = [Reply(text="a moment", tool_calls=(("note", arguments), ("note", arguments))), ANSWER]
    with ScriptedServer(replies) as server, configured(direct, collector):
        AgentLoop(
            agent_id="my-agent", llm_provider=LiteLLM.gpt4(server.url), tool_providers=[FunctionTools([note])]
        ).run(PROMPT)
    rows = [through for _, through in collected(sink, direct)]
    output = next(row.output for row in rows if row.type == "GENERATION")
    assert [part["type"] for part in output["content"]] == ["text", "tool-call", "tool-call"]
    assert output["content"][0]["text"] == "a moment"
    assert [part["arguments"] for part in output["content"][1:]] == [arguments, arguments]
    assert all_violations(sink.requests) == []


async def streamed(server: ScriptedServer) -> None:
    await drained(agent(server.url).execute(PROMPT))


async def abandoned(server: ScriptedServer) -> None:
    stream = LiteLLM.gpt4(server.url).call(messages=[USER])
    async for _ in stream:
        break
    await stream.aclose()


async def cancelled(server: ScriptedServer) -> None:
    task = asyncio.ensure_future(agent(server.url).arun(PROMPT))
    assert await asyncio.to_thread(server.wait_for_requests, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def failed(server: ScriptedServer) -> None:
    with pytest.raises(Exception, match="LiteLLM"):
        await agent(server.url).arun(PROMPT)


STORIES: Mapping[str, tuple[Callable[[ScriptedServer], Any], list[Reply], list[str]]] = {
    "streamed": (streamed, [ANSWER], ["DEFAULT"]),
    "abandoned": (abandoned, [Reply(text="word " * 50, chunk_delay=0.01)], ["DEFAULT"]),
    "cancelled": (cancelled, [replace(ANSWER, delay=30.0)], ["DEFAULT"]),
    "refused": (failed, [Reply(status=401, text="no")], ["ERROR"]),
    "fell over": (failed, [Reply(status=500, text="fell over")], ["ERROR"]),
    "cut off": (failed, [Reply(text="half a word", cut_after=2)], ["ERROR"]),
    "failed in its stream": (failed, [Reply(text="half a word", stream_error="overloaded")], ["ERROR"]),
    "with a failed tool": (
        streamed,
        [Reply(tool_calls=(("calculate", {"expression": "1 / 0"}), ("unknown", "{not json"))), ANSWER],
        ["DEFAULT", "ERROR"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["genai", "langfuse", "seed"])
async def test_runs_that_end_in_every_way(sink: OTLPSink, direct: OTLPSink, collector: Collector, dialect: str) -> None:
    for name, (story, replies, levels) in STORIES.items():
        before = len(direct.spans)
        with ScriptedServer(replies) as server, configured(direct, collector, dialects={"otlp": dialect}):
            await story(server)
        assert len(direct.spans) > before, name
        rows = collected(sink, direct)[before:]
        assert sorted({through.level for _, through in rows}) == levels, name
        assert [facts(through) for _, through in rows] == [facts(without) for without, _ in rows], name
        assert all_violations(sink.requests) == [], name


@pytest.mark.parametrize("dialect", ["genai", "langfuse", "seed"])
def test_a_model_without_a_price_does_not_get_that_of_another_seller(
    sink: OTLPSink, direct: OTLPSink, collector: Collector, dialect: str
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    with configured(direct, collector, dialects={"otlp": dialect}), lo.agent_span("asker"):
        for answering in ("gpt-4o", "another", None):
            with lo.llm_span(model="hosted_vllm/gpt-4o", stream=True) as call:
                call.record(usage=usage, response_model=answering)
    rows = collected(sink, direct)
    assert [(row.model, row.model_parameters) for _, row in rows] == [(row.model, {}) for row, _ in rows]
    assert [row.model for _, row in rows[1:]] == ["hosted_vllm/gpt-4o", "another", "hosted_vllm/gpt-4o"]


def facts(row: Row) -> tuple[object, ...]:
    return row.name, row.type, row.level, row.status_message, row.model, dict(row.usage), row.session, row.root


@pytest.mark.parametrize("dialect", ["genai", "langfuse"])
def test_cached_and_reasoning_tokens_are_counted_once(
    sink: OTLPSink, direct: OTLPSink, collector: Collector, dialect: Any
) -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 300,
        "total_tokens": 1300,
        "prompt_tokens_details": {"cached_tokens": 600},
        "completion_tokens_details": {"reasoning_tokens": 200},
    }
    reply = Reply(text="ok", reasoning="let me think", model="gpt-4o-2024-08-06", usage=usage)
    with ScriptedServer([reply]) as server, configured(direct, collector, dialects={"otlp": dialect}):
        LiteLLM.gpt4(server.url).call_sync(messages=[USER])
    ((without, through),) = collected(sink, direct)
    assert through.usage == {
        "input": 400,
        "input_cached_tokens": 600,
        "output": 100,
        "output_reasoning_tokens": 200,
        "total": 1300,
    }
    assert but_content(through) == but_content(without)
    assert "total" in through.cost
    assert "let me think" in str(through.output)
    assert all_violations(sink.requests) == []


@pytest.mark.parametrize("capture", ["full", "metadata"])
def test_no_capture_mode_breaks_a_rule(
    sink: OTLPSink, direct: OTLPSink, collector: Collector, model: ScriptedServer, capture: str
) -> None:
    with configured(direct, collector, capture=capture):
        run_example(model.url)
    rows = collected(sink, direct)
    assert all_violations(sink.requests) == []
    assert any(through.input is not None for _, through in rows) == (capture == "full")


def test_steps_and_metadata_of_users_arrive(sink: OTLPSink, direct: OTLPSink, collector: Collector) -> None:
    with configured(direct, collector):
        with lo.span("look up", input={"q": 1}) as step:
            step.record(output=[1, 2], metadata={"source": "cache", "plan": {"a": 1}})
    ((without, through),) = collected(sink, direct)
    assert through == without
    assert through.metadata == {"source": "cache", "plan": '{"a":1}'}
    assert all_violations(sink.requests) == []


def test_spans_arrive_by_grpc(sink: OTLPSink, direct: OTLPSink, collector: Collector, model: ScriptedServer) -> None:
    if find_spec("grpc") is None:
        absent("grpc", "install looopy-otel[grpc]")
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GRPCSpanExporter

    exporter = GRPCSpanExporter(endpoint=collector.grpc_endpoint, insecure=True)
    with configured(direct, collector, exporters=["langfuse", exporter]):
        run_example(model.url)
    rows = collected(sink, direct)
    assert [through for _, through in rows] == [without for without, _ in rows]
    assert all_violations(sink.requests) == []


def test_spans_of_others_keep_their_names_and_lose_their_credentials(sink: OTLPSink, collector: Collector) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
    kept = {"gen_ai.tool.name": "search", "input": "bare", "http.request.header.accept": "text/html"}
    lost = {
        "http.request.header.authorization": "Bearer abc",
        "http.request.header.x-api-key": "abc",
        "http.response.header.set-cookie": "abc",
        # As OpenTelemetry's own instrumentations spell them.
        "http.request.header.x_goog_api_key": "abc",
        "http.request.header.proxy_authorization": "abc",
        "http.response.header.set_cookie": "abc",
    }
    provider.get_tracer("another-library").start_span("GET", attributes={**kept, **lost}).end()
    provider.shutdown()
    (span,) = sink.wait_for(1)
    assert dict(span.attributes) == kept


def test_the_file_keeps_spans_as_they_arrived(
    tmp_path_factory: pytest.TempPathFactory, sink: OTLPSink, direct: OTLPSink, model: ScriptedServer
) -> None:
    override = {"service": {"pipelines": {"traces/others": {"exporters": ["file"]}}}}
    with Collector(tmp_path_factory.mktemp("collector"), sink.url, override) as collector:
        with configured(direct, collector):
            run_example(model.url)
        sink.wait_for(6)
        collector.stop()
        text = (collector.directory / "traces.jsonl").read_text(encoding="utf-8")
    assert text.count('"gen_ai.tool.name"') == 1
    assert "gen_ai.input.messages" in text
    assert all_names(sink.spans) == all_names(direct.spans)


def all_names(spans: list[Span]) -> list[str]:
    return [node.span.name for tree in build(spans) for node in tree.walk()]

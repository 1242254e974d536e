"""The rules hold for a span that Langfuse takes as it is meant, and each speaks up where it is broken."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tests.support.langfuse_row import outline, to_row
from tests.support.langfuse_rules import (
    REQUEST_RULES,
    SPAN_RULES,
    TRACE_RULES,
    span_violations,
    trace_violations,
    violations,
)
from tests.support.otlp_sink import Received
from tests.support.spans import Span, SpanEvent

COMMON: Mapping[str, Any] = {
    "user.id": "u-1",
    "session.id": "s-1",
    "agent.task.id": "t-1",
    "langfuse.trace.tags": ["beta"],
    "langfuse.trace.name": "support",
    "langfuse.environment": "production",
    "langfuse.release": "r1",
    "langfuse.version": "9",
    "langfuse.trace.metadata.tier": "pro",
}
ROOT = Span(
    trace_id="1" * 32,
    span_id="2" * 16,
    parent_id="f" * 16,
    name="agent.execute",
    start=1_000_000_000,
    end=9_000_000_000,
    scope="looopy_otel",
    attributes={
        **COMMON,
        "langfuse.observation.type": "agent",
        "gen_ai.operation.name": "invoke_agent",
        "langfuse.internal.is_app_root": True,
        "langfuse.internal.as_root": "true",
        "langfuse.observation.input": "Hello!",
        "langfuse.observation.output": "Hi.",
    },
)
GENERATION = Span(
    trace_id="1" * 32,
    span_id="3" * 16,
    parent_id="2" * 16,
    name="llm.call",
    kind="CLIENT",
    start=2_000_000_000,
    end=3_000_000_000,
    scope="looopy_otel",
    attributes={
        **COMMON,
        "langfuse.observation.type": "generation",
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": "gpt-5-2025-08-07",
        "langfuse.observation.model.name": "gpt-5",
        "langfuse.observation.model.parameters": '{"temperature":0.2,"service_tier":"flex"}',
        "langfuse.observation.usage_details": '{"input":70,"input_cached_tokens":30,"output":15,'
        '"output_reasoning_tokens":5,"total":120}',
        "langfuse.observation.cost_details": '{"input":0.001,"output":0.002,"total":0.003}',
        "langfuse.observation.completion_start_time": "1970-01-01T00:00:02.500000Z",
        "langfuse.observation.input": '[{"role":"user","content":"Hello!"}]',
        "langfuse.observation.output": '{"role":"assistant","content":"Hi."}',
        "langfuse.observation.prompt.name": "p",
        "langfuse.observation.prompt.version": 3,
        "gen_ai.usage.cost": 0.003,
        "llm.cost.source": "provider",
    },
)
MESSAGE = ExportTraceServiceRequest(
    resource_spans=[
        ResourceSpans(
            scope_spans=[
                ScopeSpans(
                    spans=[
                        WireSpan(
                            trace_id=b"\x01" * 16,
                            span_id=b"\x02" * 8,
                            name="step",
                            start_time_unix_nano=1,
                            end_time_unix_nano=2,
                            attributes=[KeyValue(key="user.id", value=AnyValue(string_value="u-1"))],
                        )
                    ]
                )
            ]
        )
    ]
)
REQUEST = Received(
    method="POST",
    path="/api/public/otel/v1/traces",
    headers={
        "authorization": "Basic cGstMTpzay0x",
        "content-type": "application/x-protobuf",
        "content-encoding": "gzip",
        "x-langfuse-ingestion-version": "4",
    },
    body=gzip.compress(MESSAGE.SerializeToString()),
    message=MESSAGE,
    status=200,
)


def test_the_reference_spans_break_no_rule() -> None:
    assert span_violations(ROOT) == []
    assert span_violations(GENERATION) == []
    assert trace_violations([GENERATION, ROOT]) == []


def test_the_reference_request_breaks_no_rule_of_requests() -> None:
    assert [violation for violation in violations(REQUEST) if violation.split()[1] == "request:"] == []


def test_the_row_of_the_reference_generation() -> None:
    row = to_row(GENERATION)
    assert (row.type, row.name, row.model, row.level) == ("GENERATION", "llm.call", "gpt-5", "DEFAULT")
    assert row.model_parameters == {"temperature": 0.2, "service_tier": "flex"}
    assert row.usage == {
        "input": 70,
        "input_cached_tokens": 30,
        "output": 15,
        "output_reasoning_tokens": 5,
        "total": 120,
    }
    assert row.cost == {"input": 0.001, "output": 0.002, "total": 0.003}
    assert (row.input, row.output) == (
        [{"role": "user", "content": "Hello!"}],
        {"role": "assistant", "content": "Hi."},
    )
    assert (row.session, row.user, row.tags, row.trace_name) == ("s-1", "u-1", ("beta",), "support")
    assert (row.environment, row.release, row.version, row.metadata) == ("production", "r1", "9", {"tier": "pro"})
    assert outline(row) == "llm.call (generation) · gpt-5 · 100 → 20 (120 total) · $0.0030"


def test_the_row_of_an_agent_has_neither_model_nor_usage() -> None:
    row = to_row(_with(ROOT, {"gen_ai.request.model": "gpt-5", "gen_ai.usage.input_tokens": 7}))
    assert (row.type, row.model, row.usage, row.root) == ("AGENT", None, {}, True)


def test_inclusive_usage_is_made_disjoint() -> None:
    usage = {
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 30,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 5,
    }
    row = to_row(_with(GENERATION, usage, without=("langfuse.observation.usage_details",)))
    assert row.usage == {
        "input": 70,
        "input_cached_tokens": 30,
        "output": 15,
        "output_reasoning_tokens": 5,
        "total": 120,
    }


def test_only_one_of_input_and_output_blanks_the_other() -> None:
    row = to_row(_with(GENERATION, {"gen_ai.completion": "Hi."}, without=("langfuse.observation.output",)))
    assert (row.input, row.output) == ([{"role": "user", "content": "Hello!"}], None)


def _with(span: Span, attributes: Mapping[str, Any], without: tuple[str, ...] = ()) -> Span:
    kept = {key: value for key, value in span.attributes.items() if key not in without}
    return replace(span, attributes={**kept, **attributes})


BROKEN_SPANS: list[tuple[str, Span]] = [
    ("2.identity", _with(ROOT, {"session.id": 7})),
    ("2.identity", _with(ROOT, {"langfuse.trace.tags": "beta"})),
    ("2.identity", _with(ROOT, {"langfuse.version": 9})),
    ("2.identity", replace(_with(ROOT, {}, without=("user.id",)), resource={"user.id": "u-1"})),
    ("2.environment", _with(ROOT, {"langfuse.environment": "Prod EU"})),
    ("2.environment", _with(ROOT, {"langfuse.environment": "langfuse-dev"})),
    ("2.trace-name", _with(ROOT, {"langfuse.trace.name": "n" * 1001})),
    ("2.trace-content", _with(ROOT, {"langfuse.trace.input": "Hello!"})),
    ("2.name", _with(ROOT, {"gen_ai.tool.name": "calculate"})),
    ("2.level", replace(_with(ROOT, {"langfuse.observation.level": "DEFAULT"}), status="ERROR")),
    ("2.level", _with(ROOT, {"langfuse.observation.level": "LOUD"})),
    ("2.failure", replace(_with(ROOT, {"error.type": "ValueError"}), status="ERROR")),
    ("2.failure", replace(ROOT, status="ERROR", status_message="broken")),
    ("2.model", _with(GENERATION, {}, without=("langfuse.observation.model.name",))),
    ("2.model", _with(ROOT, {"gen_ai.request.model": "gpt-4"})),
    ("2.model-parameters", _with(GENERATION, {"langfuse.observation.model.parameters": '{"stop":["a"]}'})),
    ("2.model-parameters", _with(GENERATION, {"langfuse.observation.model.parameters": "{}"})),
    ("2.usage", _with(GENERATION, {"langfuse.observation.usage_details": "{}"})),
    ("2.usage", _with(GENERATION, {"langfuse.observation.usage_details": '{"input":1.5,"output":1}'})),
    ("2.usage", _with(GENERATION, {"langfuse.observation.usage_details": '{"input":true}'})),
    ("2.usage", _with(GENERATION, {"langfuse.observation.usage_details": '{"input":-1}'})),
    ("2.usage", _with(GENERATION, {"langfuse.observation.usage_details": '{"prompt_tokens":1}'})),
    (
        "2.usage",
        _with(GENERATION, {"langfuse.observation.usage_details": '{"input":9,"input_cached_tokens":3,"total":9}'}),
    ),
    ("2.completion-start", _with(GENERATION, {"langfuse.observation.completion_start_time": "1970-01-01T00:00:02.5"})),
    ("2.completion-start", _with(GENERATION, {"langfuse.observation.completion_start_time": "1970-01-01T00:00:07Z"})),
    ("2.completion-start", _with(GENERATION, {"langfuse.observation.completion_start_time": 2_500_000_000})),
    ("2.prompt", _with(GENERATION, {"langfuse.observation.prompt.version": "3"})),
    ("2.prompt", _with(GENERATION, {}, without=("langfuse.observation.prompt.version",))),
    ("3.type", _with(GENERATION, {"langfuse.observation.type": "GENERATION"})),
    ("3.type", _with(ROOT, {"langfuse.observation.type": "span"})),
    ("3.operation", _with(GENERATION, {"gen_ai.operation.name": "invoke_agent"})),
    ("3.root-flags", _with(ROOT, {}, without=("langfuse.internal.as_root",))),
    ("3.root-flags", _with(ROOT, {"langfuse.internal.as_root": True})),
    ("3.root-flags", replace(GENERATION, parent_id=None)),
    ("4.metadata", _with(ROOT, {"langfuse.observation.metadata": "[1]"})),
    ("4.metadata", _with(ROOT, {"langfuse.observation.metadata.attributes": "x"})),
    ("4.scope", replace(ROOT, scope="langfuse-sdk")),
    ("4.scope", replace(ROOT, scope="ai")),
    ("5.both", _with(ROOT, {}, without=("langfuse.observation.output",))),
    ("5.both", _with(ROOT, {"langfuse.observation.output": 3})),
    ("5.once", _with(GENERATION, {"gen_ai.prompt": "[]"})),
    ("5.once", _with(GENERATION, {"gen_ai.prompt.name": "p"})),
    ("5.once", _with(GENERATION, {"gen_ai.input.messages": "[]"})),
    ("5.once", _with(ROOT, {"output": "Hi."})),
    ("5.once", replace(GENERATION, events=(SpanEvent("gen_ai.choice", 1, {}),))),
    ("5.tool-calls", _with(GENERATION, {"langfuse.observation.output": '[{"role":"assistant","parts":[]}]'})),
    ("5.tools", _with(GENERATION, {"gen_ai.tool.definitions": '[{"type":"function"}]'})),
    ("6.cost", _with(GENERATION, {"langfuse.observation.cost_details": '{"input":0.001,"output":0.002}'})),
    ("6.cost", _with(GENERATION, {"langfuse.observation.cost_details": '{"total":"0.003"}'})),
    ("6.cost", _with(GENERATION, {"langfuse.observation.cost_details": '{"input":0.001,"total":0.003}'})),
    ("6.unknown", _with(GENERATION, {"llm.cost.source": "unknown"})),
    ("6.unknown", _with(GENERATION, {"gen_ai.usage.cost": "0.003"})),
    ("8.usage-on-leaves", _with(ROOT, {"gen_ai.usage.input_tokens": 3})),
    ("8.usage-on-leaves", _with(ROOT, {"langfuse.observation.cost_details": '{"total":0.003}'})),
    (
        "8.usage-of-failures",
        replace(
            _with(
                GENERATION,
                {"error.type": "500"},
                without=("langfuse.observation.usage_details", "langfuse.observation.cost_details"),
            ),
            status="ERROR",
            status_message="failed",
        ),
    ),
    ("8.attributes", _with(ROOT, {f"looopy.{number}": number for number in range(128)})),
]


@pytest.mark.parametrize(("rule", "span"), BROKEN_SPANS)
def test_a_broken_span_is_found(rule: str, span: Span) -> None:
    assert rule in {violation.split()[0] for violation in span_violations(span)}


def _request(**changes: Any) -> Received:
    return replace(REQUEST, **changes)


def _headers(**changes: str) -> Received:
    return _request(headers={**REQUEST.headers, **{key.replace("_", "-"): value for key, value in changes.items()}})


def _message(**changes: Any) -> Received:
    message = ExportTraceServiceRequest.FromString(MESSAGE.SerializeToString())
    span = message.resource_spans[0].scope_spans[0].spans[0]
    for name, value in changes.items():
        span.ClearField(name)  # pyright: ignore[reportArgumentType]
        getattr(span, name).extend(value) if isinstance(value, list) else setattr(span, name, value)
    return _request(message=message)


def _value(value: AnyValue | None) -> Received:
    return _message(attributes=[KeyValue(key="x", value=value)])


BROKEN_REQUESTS: list[tuple[str, Received]] = [
    ("1.path", _request(path="/v1/traces")),
    ("1.path", _request(method="PUT")),
    ("1.authorization", _headers(authorization="Bearer sk-1")),
    ("1.authorization", _headers(authorization="Basic cGstMTo=")),
    ("1.content-type", _headers(content_type="application/json")),
    ("1.encoding", _headers(content_encoding="deflate")),
    ("1.encoding", _request(error="DecodeError: not a message")),
    ("1.ingestion-version", _headers(x_langfuse_ingestion_version="3")),
    ("1.sdk-name", _headers(x_langfuse_sdk_name="python")),
    ("1.ids", _message(trace_id=b"\x00" * 16)),
    ("1.ids", _message(span_id=b"\x01")),
    ("1.ids", _message(parent_span_id=b"\x00" * 8)),
    ("1.times", _message(end_time_unix_nano=0)),
    ("1.values", _value(None)),
    ("1.values", _value(AnyValue())),
    ("1.values", _value(AnyValue(bytes_value=b"x"))),
    ("1.values", _value(AnyValue(kvlist_value=KeyValueList()))),
    ("1.values", _value(AnyValue(array_value=ArrayValue()))),
    ("1.values", _value(AnyValue(array_value=ArrayValue(values=[AnyValue()])))),
    ("1.values", _value(AnyValue(int_value=2**60))),
]


@pytest.mark.parametrize(("rule", "request_"), BROKEN_REQUESTS)
def test_a_broken_request_is_found(rule: str, request_: Received) -> None:
    assert rule in {violation.split()[0] for violation in violations(request_)}


BROKEN_TRACES: list[tuple[str, list[Span]]] = [
    ("3.roots", [_with(ROOT, {}, without=("langfuse.internal.is_app_root",))]),
    ("3.roots", [ROOT, _with(GENERATION, {"langfuse.internal.is_app_root": True})]),
    ("3.identity", [ROOT, _with(GENERATION, {}, without=("user.id",))]),
    ("3.identity", [ROOT, _with(GENERATION, {}, without=("langfuse.trace.metadata.tier",))]),
    ("3.identity", [ROOT, _with(GENERATION, {"langfuse.trace.name": "other"})]),
    ("3.session", [_with(ROOT, {}, without=("session.id",))]),
]


@pytest.mark.parametrize(("rule", "trace"), BROKEN_TRACES)
def test_a_broken_trace_is_found(rule: str, trace: list[Span]) -> None:
    assert rule in {violation.split()[0] for violation in trace_violations(trace)}


def test_every_rule_is_seen_to_speak_up() -> None:
    broken = {rule for cases in (BROKEN_SPANS, BROKEN_REQUESTS, BROKEN_TRACES) for rule, _ in cases}
    assert broken == {*REQUEST_RULES, *SPAN_RULES, *TRACE_RULES}

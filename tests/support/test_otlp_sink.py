"""The sink takes what OpenTelemetry's own exporter sends, and says what it is told to say."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, Tracer

from tests.support.otlp_sink import Answer, OTLPSink
from tests.support.tree import JsonText, picture, resources


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as running:
        yield running


@pytest.fixture
def tracer(sink: OTLPSink) -> Iterator[Tracer]:
    provider = TracerProvider(resource=Resource({"service.name": "svc"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{sink.url}/v1/traces", compression=Compression.Gzip)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("my-scope")
    provider.shutdown()


def test_a_tree_arrives_as_it_was_made(sink: OTLPSink, tracer: Tracer) -> None:
    with tracer.start_as_current_span(
        "outer", attributes={"task": "task_1730000000000_ab12", "tags": ["a", "b"]}
    ) as outer:
        with tracer.start_as_current_span(
            "inner", kind=SpanKind.CLIENT, links=[Link(outer.get_span_context())]
        ) as inner:
            inner.set_attributes({"body": '{"id": "task_1730000000000_ab12"}', "count": 3, "ratio": 0.5, "yes": True})
            inner.add_event("seen", {"by": "me"})
            inner.set_status(Status(StatusCode.ERROR, "broken"))
    sink.wait_for(2)
    (tree,) = sink.trees()
    assert picture(tree) == {
        "name": "outer",
        "attributes": {"tags": ["a", "b"], "task": "<task>"},
        "children": [
            {
                "name": "inner",
                "kind": "CLIENT",
                "status": "ERROR: broken",
                "attributes": {"body": JsonText({"id": "<task>"}), "count": 3, "ratio": 0.5, "yes": True},
                "events": [{"name": "seen", "attributes": {"by": "me"}}],
                "links": 1,
            }
        ],
    }
    assert tree.outline() == "outer\n  inner"
    assert [span.name for span in tree.named("inner")] == ["inner"]
    assert resources(sink.spans) == [{"service.name": "svc"}]
    assert {span.scope for span in sink.spans} == {"my-scope"}
    assert sink.requests[0].headers["content-encoding"] == "gzip"


def test_answers_come_in_order_and_refused_spans_are_not_taken(sink: OTLPSink) -> None:
    sink.answer(Answer(503, headers={"retry-after": "7"}), Answer(400, body=b"no"))
    with httpx.Client(trust_env=False) as client:
        answers = [client.post(f"{sink.url}/v1/traces", content=b"") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 400, 200]
    assert answers[0].headers["retry-after"] == "7"
    assert answers[1].content == b"no"
    assert [request.accepted for request in sink.wait_for_requests(3)] == [False, False, True]


def test_a_body_that_is_no_export_request_is_refused(sink: OTLPSink) -> None:
    answer = httpx.post(f"{sink.url}/v1/traces", content=b"\xff\xff", trust_env=False)
    assert answer.status_code == 400
    assert sink.requests[0].error is not None


def test_a_dropped_connection_has_no_answer(sink: OTLPSink) -> None:
    sink.answer(Answer(drop=True))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{sink.url}/v1/traces", content=b"", trust_env=False)
    assert not sink.requests[0].accepted


def test_a_closed_sink_refuses_connections() -> None:
    sink = OTLPSink()
    sink.close()
    sink.close()
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"{sink.url}/v1/traces", content=b"", trust_env=False)

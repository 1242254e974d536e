"""`configure(tracer_provider=…)`: our spans on the application's provider, nothing twice, nothing missing, no flood."""

from __future__ import annotations

import gc
import json
import logging
import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, NoOpTracerProvider, ProxyTracerProvider, SpanContext, get_current_span

import looopy_otel as lo
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.neighbours import neighbours_of
from tests.others.application import APPLICATION, OWN, SECRET, call, handle_request, names, provider_to
from tests.support.otlp_sink import OTLPSink
from tests.support.spans import Span


@pytest.fixture
def application() -> Iterator[OTLPSink]:
    with OTLPSink() as sink:
        yield sink


@pytest.fixture
def ours() -> Iterator[OTLPSink]:
    with OTLPSink() as sink:
        yield sink


@pytest.fixture
def provider(application: OTLPSink) -> Iterator[TracerProvider]:
    provider = provider_to(application)
    yield provider
    provider.shutdown()


def to_langfuse(provider: Any, sink: OTLPSink, tmp_path: Path, **more: Any) -> lo.Telemetry:
    return lo.configure(
        tracer_provider=provider,
        exporters="langfuse",
        langfuse_public_key="pk-ours",
        langfuse_secret_key="sk",
        langfuse_base_url=sink.url,
        spool_directory=tmp_path,
        **more,
    )


def named(spans: list[Span], name: str) -> Span:
    (found,) = [span for span in spans if span.name == name]
    return found


def processors_on(provider: TracerProvider) -> int:
    return len(provider._active_span_processor._span_processors)  # pyright: ignore[reportPrivateUsage]


def test_without_exporters_the_providers_own_get_everything(provider: TracerProvider, application: OTLPSink) -> None:
    with lo.configure(tracer_provider=provider) as telemetry:
        assert telemetry.settings.destinations == ()
        handle_request(provider)
        provider.force_flush()
    assert names(application.spans) == sorted(APPLICATION + OWN)
    spans = application.spans
    chain = ["GET /", "agent.execute", "between", "SELECT", "llm.call"]
    for above, below in pairwise(chain):
        assert named(spans, below).parent_id == named(spans, above).span_id


def test_the_environment_alone_makes_no_destination(provider: TracerProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk")
    with lo.configure(tracer_provider=provider) as telemetry:
        assert telemetry.settings.destinations == ()
    with lo.configure(tracer_provider=provider, exporters="auto") as telemetry:
        assert [one.name for one in telemetry.settings.destinations] == ["langfuse"]


def test_our_destination_gets_what_belongs_as_one_tree(
    provider: TracerProvider, application: OTLPSink, ours: OTLPSink, tmp_path: Path
) -> None:
    with to_langfuse(provider, ours, tmp_path) as telemetry:
        handle_request(provider)
        with telemetry.tracer("my-tool").start_as_current_span("mine"):
            pass
        with provider.get_tracer("opentelemetry.instrumentation.openai").start_as_current_span("instrumented"):
            pass
        with provider.get_tracer("other").start_as_current_span("about an LLM") as span:
            span.set_attribute("gen_ai.request.model", "m")
        telemetry.flush()
        provider.force_flush()
    others = ["about an LLM", "instrumented", "mine"]
    assert names(ours.spans) == sorted(OWN + others)
    assert names(application.spans) == sorted(APPLICATION + OWN + others)
    spans = ours.spans
    assert named(spans, "between").parent_id == named(spans, "agent.execute").span_id
    assert named(spans, "llm.call").parent_id == named(spans, "between").span_id
    assert [span.name for span in spans if "langfuse.internal.is_app_root" in span.attributes] == [
        "agent.execute",
        "mine",
        "instrumented",
        "about an LLM",
    ]
    call_span = named(application.spans, "llm.call")
    assert call_span.parent_id == named(application.spans, "SELECT").span_id


def test_each_destination_has_its_dialect_and_no_other(
    provider: TracerProvider, application: OTLPSink, ours: OTLPSink, tmp_path: Path
) -> None:
    with to_langfuse(provider, ours, tmp_path, capture="full") as telemetry:
        with lo.llm_span(model="gpt-4o") as span:
            span.record(input="Hello", output="Hi", metadata={"k": "v"})
        telemetry.flush()
        provider.force_flush()
    at_ours, at_theirs = ours.spans[0].attributes, application.spans[0].attributes
    content = {"langfuse.observation.input", "gen_ai.input.messages"}
    assert content & set(at_ours) == {"langfuse.observation.input"}
    assert content & set(at_theirs) == {"gen_ai.input.messages"}
    assert json.loads(at_theirs["gen_ai.output.messages"])[0]["parts"][0]["content"] == "Hi"


def test_the_dialect_can_be_said(provider: TracerProvider, application: OTLPSink) -> None:
    with lo.configure(tracer_provider=provider, dialects={"tracer_provider": "langfuse"}, capture="full"):
        call()
        provider.force_flush()
    assert "langfuse.observation.input" in application.spans[0].attributes


def test_secrets_do_not_reach_processors_of_others(
    provider: TracerProvider, application: OTLPSink, ours: OTLPSink, tmp_path: Path
) -> None:
    class Refused(Exception):
        pass

    def refused_step() -> None:
        with lo.span(f"step {SECRET}", input=SECRET):
            here = get_current_span()
            here.set_attribute("said.by.others", SECRET)
            here.add_event("noted", {"what": SECRET})
            call(SECRET)
            raise Refused(f"no {SECRET}")

    with to_langfuse(provider, ours, tmp_path) as telemetry:
        with pytest.raises(Refused):
            refused_step()
        telemetry.flush()
        provider.force_flush()
    for sink in (application, ours):
        assert len(names(sink.spans)) == 2
        bodies = b"".join(request.message.SerializeToString() for request in sink.requests)
        assert SECRET.encode() not in bodies
        step = next(span for span in sink.spans if span.name.startswith("step"))
        assert (step.status, step.status_message[:3]) == ("ERROR", "no ")
        assert [event.name for event in step.events] == ["noted", "exception"]


def test_identity_survives_a_narrow_span(application: OTLPSink) -> None:
    provider = provider_to(application, SpanLimits(max_span_attributes=12))
    with lo.configure(tracer_provider=provider), lo.session(session_id="s-1", user_id="u-1"):
        call()
        provider.force_flush()
    provider.shutdown()
    attributes = application.spans[0].attributes
    assert (attributes["session.id"], attributes["user.id"]) == ("s-1", "u-1")


@pytest.mark.parametrize("project", [False, True])
def test_a_place_that_the_provider_exports_to_is_left_out(
    project: bool, ours: OTLPSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "looopy_otel")
    provider = TracerProvider(shutdown_on_exit=False)
    path = "/api/public/otel/v1/traces" if project else "/v1/traces"
    headers = {"Authorization": "Basic cGstb3VyczpvdGhlcg=="} if project else {}
    exporter = OTLPSpanExporter(endpoint=ours.url + path, headers=headers)
    if project:
        telemetry = to_langfuse(provider, ours, tmp_path)
    else:
        telemetry = lo.configure(
            tracer_provider=provider, exporters="otlp", otlp_endpoint=ours.url, metrics="none", spool_directory=tmp_path
        )
    with telemetry:
        call()
        telemetry.flush()
        provider.add_span_processor(BatchSpanProcessor(exporter))
        call()
        telemetry.flush()
        provider.force_flush()
    provider.shutdown()
    assert names(ours.spans) == ["llm.call", "llm.call"]
    assert [record.levelname for record in caplog.records if "not sent again" in record.message] == ["INFO"]


class OnlyRequests(BatchSpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        if span.name.startswith("GET"):
            super().on_end(span)


class OnlyRequestsOut(SpanExporter):
    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._inner.export([span for span in spans if span.name.startswith("GET")])

    def shutdown(self) -> None:
        self._inner.shutdown()


@pytest.mark.parametrize("filtering", ["processor", "exporter"])
def test_an_exporter_that_may_hold_spans_back_does_not_stand_for_ours(
    filtering: str, ours: OTLPSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=ours.traces_url)
    provider.add_span_processor(
        OnlyRequests(exporter) if filtering == "processor" else BatchSpanProcessor(OnlyRequestsOut(exporter))
    )
    with lo.configure(
        tracer_provider=provider, exporters="otlp", otlp_endpoint=ours.url, metrics="none", spool_directory=tmp_path
    ) as telemetry:
        handle_request(provider)
        telemetry.flush()
        provider.force_flush()
    provider.shutdown()
    assert names(ours.spans) == sorted(["GET /", *OWN])
    assert [record.levelname for record in caplog.records if "may arrive twice" in record.message] == ["WARNING"]


def test_another_tenant_of_the_same_collector_is_another_place(ours: OTLPSink, tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=ours.traces_url, headers={"x-scope-orgid": "theirs"})
    provider.add_span_processor(BatchSpanProcessor(exporter))
    with lo.configure(
        tracer_provider=provider,
        exporters="otlp",
        otlp_endpoint=ours.url,
        otlp_headers={"x-scope-orgid": "ours"},
        metrics="none",
        spool_directory=tmp_path,
    ) as telemetry:
        call()
        telemetry.flush()
        provider.force_flush()
    provider.shutdown()
    assert sorted(request.headers["x-scope-orgid"] for request in ours.requests) == ["ours", "theirs"]


@pytest.mark.parametrize(
    ("grpc", "http", "same"),
    [
        ("http://localhost:4317", "http://localhost:4318", True),
        ("http://localhost:4317", "http://127.0.0.1:4318", True),
        ("http://collector:4317", "http://localhost:4318", False),
        ("http://localhost:4320", "http://localhost:4318", False),
        ("https://collector:4317", "http://collector:4318", False),
    ],
)
def test_grpc_and_http_at_a_collectors_two_ports_are_one_place(grpc: str, http: str, same: bool) -> None:
    exporters = pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc.trace_exporter")
    exporter = exporters.OTLPSpanExporter(endpoint=grpc)
    processor = SimpleSpanProcessor(exporter)
    destination = HTTPDestination(name="otlp", endpoint=f"{http}/v1/traces", headers={}, dialects=("genai",))
    assert neighbours_of([processor]).serves(destination) is same
    exporter.shutdown()


def test_links_do_not_carry_secrets_to_processors_of_others(provider: TracerProvider, application: OTLPSink) -> None:
    link = Link(SpanContext(1, 2, is_remote=True), {"why": SECRET})
    with lo.configure(tracer_provider=provider) as telemetry:
        with telemetry.tracer("mine").start_as_current_span("linked at its start", links=[link]):
            pass
        with lo.span("linked later"):
            get_current_span().add_link(link.context, link.attributes)
        provider.force_flush()
    assert names(application.spans) == ["linked at its start", "linked later"]
    body = b"".join(request.message.SerializeToString() for request in application.requests)
    assert body.count(b"why") == 2
    assert SECRET.encode() not in body


def test_a_provider_that_is_set_in_the_middle_of_a_run_makes_no_second_root(
    provider: TracerProvider, ours: OTLPSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[Any] = [ProxyTracerProvider()]
    monkeypatch.setattr("looopy_otel.export.attached.get_tracer_provider", lambda: there[-1])
    with to_langfuse("global", ours, tmp_path) as telemetry:
        with lo.agent_span("run"):
            there.append(provider)
            with lo.span("first on it"):
                pass
            with provider.get_tracer("web").start_as_current_span("GET /"), lo.tool_span("inner"):
                pass
        telemetry.flush()
    run, inner = named(ours.spans, "agent.execute"), named(ours.spans, "tool.execute")
    assert inner.parent_id == run.span_id
    assert "langfuse.internal.is_app_root" not in inner.attributes


def test_a_second_configure_replaces_and_shutdown_leaves_the_provider(
    provider: TracerProvider, application: OTLPSink, ours: OTLPSink, tmp_path: Path
) -> None:
    before = processors_on(provider)
    to_langfuse(provider, ours, tmp_path)
    second = to_langfuse(provider, ours, tmp_path)
    assert processors_on(provider) == before + 1
    tracer = second.tracer("my-tool")
    handle_request(provider)
    second.shutdown()
    assert processors_on(provider) == before
    handle_request(provider)
    with tracer.start_as_current_span("late"):
        pass
    provider.force_flush()
    assert names(ours.spans) == OWN
    assert names(application.spans) == sorted([*APPLICATION, *APPLICATION, *OWN, "late"])


def test_shutdown_lets_go_of_everything(provider: TracerProvider) -> None:
    telemetry = lo.configure(tracer_provider=provider)
    pipeline: Any = telemetry._pipeline  # pyright: ignore[reportPrivateUsage]
    processor = weakref.ref(pipeline._processor)
    telemetry.shutdown()
    lo.configure(exporters="none").shutdown()
    del telemetry, pipeline
    gc.collect()
    assert processor() is None


def test_shutting_the_provider_down_does_not_lose_what_we_took(
    provider: TracerProvider, ours: OTLPSink, tmp_path: Path
) -> None:
    with to_langfuse(provider, ours, tmp_path):
        call()
        provider.shutdown()
    assert names(ours.spans) == ["llm.call"]


def test_the_providers_sampler_decides(ours: OTLPSink, tmp_path: Path) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with to_langfuse(provider, ours, tmp_path) as telemetry:
        handle_request(provider)
        telemetry.flush()
    assert ours.requests == []


def test_what_takes_no_processors_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="NoOpTracerProvider takes no processors"):
        lo.configure(tracer_provider=NoOpTracerProvider())  # type: ignore[arg-type]

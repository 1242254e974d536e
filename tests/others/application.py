"""A provider as an application has it, with a collector of its own; and what an application does on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import TracerProvider as AnyProvider

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse, Message
from tests.support.otlp_sink import OTLPSink
from tests.support.spans import Span

OWN = ["agent.execute", "between", "llm.call"]
APPLICATION = ["GET /", "SELECT"]
SECRET = "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3


def provider_to(sink: OTLPSink, limits: SpanLimits | None = None) -> TracerProvider:
    """A provider that exports everything to a sink, as an application's does."""
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=sink.traces_url)))
    return provider


def call(content: str = "Hello") -> None:
    """One LLM call."""
    handle = hooks.announce(LLMCall(messages=[{"role": "user", "content": content}], model="gpt-4o"))
    handle.end(LLMResponse(message=Message("assistant", "Hi"), model="gpt-4o"))


def handle_request(provider: AnyProvider, content: str = "Hello") -> None:
    """A request that runs an agent, which asks a database, and inside that, a model: five spans."""
    web = provider.get_tracer("opentelemetry.instrumentation.asgi")
    database = provider.get_tracer("opentelemetry.instrumentation.sqlalchemy")
    with lo.session(session_id="s-1", user_id="u-1"), web.start_as_current_span("GET /"):
        with lo.agent_span("helper"), lo.span("between"), database.start_as_current_span("SELECT"):
            call(content)


def names(spans: Iterable[Span]) -> list[str]:
    """The names, sorted; fails where a span came twice."""
    found = list(spans)
    twice = [one for one, times in Counter((span.trace_id, span.span_id) for span in found).items() if times > 1]
    assert not twice, f"twice: {[span.name for span in found if (span.trace_id, span.span_id) in twice]}"
    return sorted(span.name for span in found)


def calls_in(reader: InMemoryMetricReader) -> int:
    """How many LLM calls were measured so far."""
    data = reader.get_metrics_data()
    return sum(
        getattr(point, "count", 0)
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "gen_ai.client.operation.duration"
        for point in metric.data.data_points
    )

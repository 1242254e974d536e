"""Our private provider beside others: one tree across them, each with its own spans, sampling and roots."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Tracer, get_tracer_provider

import looopy_otel as lo
from looopy_otel.testing import CapturedSpans, capture_spans
from tests.instrument.context.operations import ANSWER, llm, run, turn

ROOT_FLAGS = {"langfuse.internal.is_app_root", "langfuse.internal.as_root"}


@pytest.fixture
def captured() -> Iterator[CapturedSpans]:
    with capture_spans() as spans:
        yield spans


class Others:
    """The provider of somebody else, such as a web framework's."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer: Tracer = provider.get_tracer("web")

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found


def id_of(span: ReadableSpan) -> tuple[int, int]:
    assert span.context
    return span.context.trace_id, span.context.span_id


def parent_of(span: ReadableSpan) -> tuple[int, int] | None:
    return (span.parent.trace_id, span.parent.span_id) if span.parent else None


def is_root(span: ReadableSpan) -> bool:
    flags = ROOT_FLAGS & set(span.attributes or {})
    assert flags in (set(), ROOT_FLAGS)
    return bool(flags)


def test_spans_of_two_providers_make_one_tree(captured: CapturedSpans) -> None:
    others = Others()
    with others.tracer.start_as_current_span("GET /"):
        agent = run()
        with others.tracer.start_as_current_span("SELECT"):
            iteration = turn()
            llm().end(ANSWER)
            iteration.end()
        agent.end()
    agent_span, iteration_span, call = (
        captured.span(name) for name in ("agent.execute", "agent.iteration", "llm.call")
    )
    assert parent_of(agent_span) == id_of(others.span("GET /"))
    assert parent_of(others.span("SELECT")) == id_of(agent_span)
    assert parent_of(iteration_span) == id_of(others.span("SELECT"))
    assert parent_of(call) == id_of(iteration_span)
    assert [span.name for span in captured.spans()] == ["agent.execute", "agent.iteration", "llm.call"]
    assert len(others.exporter.get_finished_spans()) == 2


def test_ours_is_a_root_for_langfuse_below_a_span_that_langfuse_never_sees(captured: CapturedSpans) -> None:
    with Others().tracer.start_as_current_span("GET /"):
        with lo.span("outer"), lo.span("inner"):
            pass
    assert is_root(captured.span("outer"))
    assert not is_root(captured.span("inner"))


def test_an_unsampled_request_does_not_make_its_generations_vanish(captured: CapturedSpans) -> None:
    web = TracerProvider(sampler=ALWAYS_OFF).get_tracer("web")
    with web.start_as_current_span("GET /") as request:
        assert not request.is_recording()
        llm().end(ANSWER)
    call = captured.span("llm.call")
    assert parent_of(call) == (request.get_span_context().trace_id, request.get_span_context().span_id)
    assert is_root(call)


def test_spans_of_a_tracer_of_ours_are_in_the_same_tree(captured: CapturedSpans) -> None:
    tracer = captured.telemetry.tracer("my-tool")
    with lo.session(session_id="s"), lo.span("outer"), tracer.start_as_current_span("plain"), lo.span("inner"):
        pass
    assert captured.outline() == ["outer", "  plain", "    inner"]
    assert [is_root(span) for span in captured.spans()] == [True, False, False]
    assert [(span.attributes or {})["session.id"] for span in captured.spans()] == ["s"] * 3


def test_the_global_provider_is_left_alone(captured: CapturedSpans) -> None:
    before = get_tracer_provider()
    with lo.span("outer"):
        assert get_tracer_provider() is before


def test_the_context_of_others_comes_back_after_theirs_and_ours(captured: CapturedSpans) -> None:
    others = Others()
    outer = lo.span("outer").__enter__()
    with others.tracer.start_as_current_span("theirs"):
        with lo.span("inner"):
            pass
        assert lo.current() is outer
        with others.tracer.start_as_current_span("theirs too"):
            pass
    outer.end()
    assert parent_of(others.span("theirs too")) == id_of(others.span("theirs"))
    assert parent_of(captured.span("inner")) == id_of(others.span("theirs"))

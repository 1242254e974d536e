"""Instrumentations of OpenAI's SDK by others, on a provider of theirs: each of us records a call once, in one tree."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import get_current_span

from looopy_otel.instrument.call import WrapOptions
from looopy_otel.instrument.openai import wrap_openai
from looopy_otel.testing import capture_spans
from tests.instrument.context.operations import ANSWER, llm
from tests.support.model_server import ModelServer

openai: Any = pytest.importorskip("openai")
pytestmark = pytest.mark.filterwarnings("ignore:Support for class-based `config`:DeprecationWarning")
MESSAGES = [{"role": "user", "content": "Hello"}]
NAMES = {
    "opentelemetry.instrumentation.openai": "opentelemetry-instrumentation-openai (OpenLLMetry)",
    "openinference.instrumentation.openai": "openinference-instrumentation-openai",
    "opentelemetry.instrumentation.genai.openai": "opentelemetry-instrumentation-genai-openai",
}


class Theirs:
    """One of these instrumentations, at work."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.instrumentor = import_module(name).OpenAIInstrumentor()
        self.instrumentor.instrument(tracer_provider=provider)

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())


@pytest.fixture(params=NAMES)
def theirs(request: pytest.FixtureRequest) -> Iterator[Theirs]:
    pytest.importorskip(request.param)
    instrumentation = Theirs(request.param)
    yield instrumentation
    instrumentation.instrumentor.uninstrument()


@pytest.fixture
def client() -> Iterator[Any]:
    with ModelServer() as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as plain:
            yield plain


def test_a_wrapped_client_under_their_instrumentation(theirs: Theirs, client: Any) -> None:
    wrapped = wrap_openai(client, WrapOptions())
    with capture_spans() as captured:
        wrapped.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert not get_current_span().get_span_context().is_valid
        assert list(wrapped.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
        assert not get_current_span().get_span_context().is_valid
    assert captured.outline() == ["llm.call", "llm.call"]
    assert len(theirs.spans()) == 2
    trace_ids = [span.context.trace_id for span in captured.spans() if span.context]
    assert sorted(trace_ids) == sorted(span.context.trace_id for span in theirs.spans() if span.context)


def test_their_instrumentation_inside_a_call_of_ours(theirs: Theirs, client: Any) -> None:
    with capture_spans() as captured:
        call = llm()
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        call.end(ANSWER)
    assert captured.outline() == ["llm.call"]
    # Only OpenLLMetry knows the key that says that a call is recorded already.
    silent = theirs.name == "opentelemetry.instrumentation.openai"
    assert len(theirs.spans()) == (0 if silent else 1)

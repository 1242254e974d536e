"""Logfire's instrumentation of the same client, in either order with ours: every call is seen, and counts once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from tests.others.application import calls_in
from tests.support.model_server import Answer, ModelServer
from tests.support.otlp_sink import OTLPSink

logfire: Any = pytest.importorskip("logfire")
openai: Any = pytest.importorskip("openai")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
REQUEST: dict[str, Any] = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}]}
TOKENS = "gen_ai.usage.output_tokens"


class Theirs:
    """A Logfire of its own, beside the global one."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.instance = logfire.configure(
            local=True,
            send_to_logfire=False,
            console=False,
            metrics=False,
            inspect_arguments=False,
            additional_span_processors=[SimpleSpanProcessor(self.exporter)],
        )
        self.provider = self.instance.config.get_tracer_provider()

    def instrumented(self, client: Any) -> Any:
        self.instance.instrument_openai(client)
        return client


def theirs_first(theirs: Theirs, client: Any) -> Any:
    return lo.wrap(theirs.instrumented(client))


def ours_first(theirs: Theirs, client: Any) -> Any:
    return theirs.instrumented(lo.wrap(client))


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Theirs:
    for pool in (ThreadPoolExecutor, ProcessPoolExecutor):
        # Logfire changes these, for good; no other test shall see it.
        monkeypatch.setattr(pool, "submit", pool.submit)
    return Theirs()


@pytest.fixture
def client() -> Iterator[Any]:
    with ModelServer(Answer(text="Hello there.", usage=(11, 7))) as server:
        with openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0) as plain:
            yield plain


@pytest.fixture(params=[theirs_first, ours_first])
def both(request: pytest.FixtureRequest, theirs: Theirs, client: Any) -> Any:
    order: Callable[[Theirs, Any], Any] = request.param
    return order(theirs, client)


def ask_twice(client: Any) -> None:
    """Once as a whole, once as a stream."""
    client.chat.completions.create(**REQUEST)
    assert list(client.chat.completions.create(**REQUEST, stream=True))


def configure(sink: OTLPSink, tmp_path: Path, **more: Any) -> lo.Telemetry:
    return lo.configure(
        exporters="langfuse",
        langfuse_public_key="pk",
        langfuse_secret_key="sk",
        langfuse_base_url=sink.url,
        spool_directory=tmp_path,
        **more,
    )


def test_a_private_provider_sees_every_call(both: Any, tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    with OTLPSink() as sink:
        with configure(sink, tmp_path, metrics=reader) as telemetry:
            ask_twice(both)
            telemetry.flush()
            assert calls_in(reader) == 2
        assert [span.name for span in sink.spans] == ["llm.call", "llm.call"]


@pytest.mark.parametrize("within", [False, True])
def test_on_one_provider_each_call_is_one_generation(within: bool, both: Any, theirs: Theirs, tmp_path: Path) -> None:
    with OTLPSink() as sink:
        with configure(sink, tmp_path, tracer_provider=theirs.provider):
            if within:
                with lo.agent_span("run"):
                    ask_twice(both)
            else:
                ask_twice(both)
        telling = [span for span in sink.spans if any(key.startswith("gen_ai.usage.") for key in span.attributes)]
        assert [span.name for span in telling if span.name != "agent.execute"] == ["llm.call", "llm.call"]
        assert any(span.scope == "logfire.openai" for span in sink.spans)
    at_theirs = [span for span in theirs.exporter.get_finished_spans() if TOKENS in (span.attributes or {})]
    assert {span.instrumentation_scope.name for span in at_theirs if span.instrumentation_scope} >= {"logfire.openai"}


def test_what_only_they_record_stays_a_generation(theirs: Theirs, client: Any, tmp_path: Path) -> None:
    with OTLPSink() as sink:
        with configure(sink, tmp_path, tracer_provider=theirs.provider), lo.agent_span("run"):
            theirs.instrumented(client).chat.completions.create(**REQUEST)
        (theirs_here,) = [span for span in sink.spans if span.scope == "logfire.openai"]
        assert theirs_here.attributes[TOKENS] == 7


def test_clients_that_they_have_patched_as_a_class_are_seen(theirs: Theirs, client: Any, tmp_path: Path) -> None:
    with theirs.instance.instrument_openai(openai.OpenAI), OTLPSink() as sink:
        with configure(sink, tmp_path):
            lo.instrument_openai()
            client.chat.completions.create(**REQUEST)
            lo.uninstrument("openai")
        assert [span.name for span in sink.spans] == ["llm.call"]

"""The Langfuse SDK on the same provider: what it sends is sent by it alone, and reads as it should."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

import looopy_otel as lo
from tests.others.application import APPLICATION, OWN, call, handle_request, names, provider_to
from tests.support.otlp_sink import OTLPSink

pytest.importorskip("langfuse")


class Project:
    """A Langfuse project with a client of the SDK on a provider of the application."""

    def __init__(self, sink: OTLPSink, collector: OTLPSink, tmp_path: Path) -> None:
        self.sink = sink
        self.collector = collector
        self.key = f"pk-{uuid4()}"
        self.provider = provider_to(collector)
        self._spool = tmp_path
        self._clients: list[Any] = []

    def client(self, should_export_span: Callable[[ReadableSpan], bool] | None = None) -> Any:
        client = import_module("langfuse").Langfuse(
            public_key=self.key,
            secret_key="sk",
            base_url=self.sink.url,
            tracer_provider=self.provider,
            should_export_span=should_export_span,
        )
        self._clients.append(client)
        return client

    def configure(self, **more: Any) -> lo.Telemetry:
        more.setdefault("langfuse_base_url", self.sink.url)
        return lo.configure(
            tracer_provider=self.provider,
            exporters="langfuse",
            langfuse_public_key=self.key,
            langfuse_secret_key="sk",
            spool_directory=self._spool,
            capture="full",
            **more,
        )

    def close(self) -> None:
        for client in self._clients:
            client.shutdown()
        self.provider.shutdown()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with OTLPSink() as sink, OTLPSink() as collector:
        made = Project(sink, collector, tmp_path)
        yield made
        made.close()


@pytest.mark.parametrize("sdk_first", [True, False])
def test_nothing_is_sent_twice_and_nothing_is_missing(project: Project, sdk_first: bool) -> None:
    client: Any = project.client() if sdk_first else None
    with project.configure() as telemetry:
        client = client or project.client()
        with client.start_as_current_observation(name="theirs"):
            handle_request(project.provider)
        telemetry.flush()
        project.provider.force_flush()
    assert names(project.sink.spans) == sorted([*OWN, "theirs"])
    assert names(project.collector.spans) == sorted([*OWN, *APPLICATION, "theirs"])
    roots = [span.name for span in project.sink.spans if "langfuse.internal.is_app_root" in span.attributes]
    assert roots == ["theirs"]


def test_the_sdk_sends_what_langfuse_reads(project: Project) -> None:
    project.client()
    with project.configure():
        with lo.session(session_id="s-1", user_id="u-1"), lo.span("step"):
            call("Hello")
        project.provider.force_flush()
    spans = {span.name: span.attributes for span in project.sink.spans}
    assert spans.keys() == {"step", "llm.call"}
    generation = spans["llm.call"]
    assert generation["langfuse.observation.type"] == "generation"
    assert json.loads(generation["langfuse.observation.input"]) == [{"role": "user", "content": "Hello"}]
    assert "gen_ai.input.messages" not in generation
    assert [(one["session.id"], one["user.id"]) for one in spans.values()] == [("s-1", "u-1")] * 2


def test_what_the_users_filter_keeps_from_the_sdk_is_sent_by_us(project: Project) -> None:
    def not_ours(span: ReadableSpan) -> bool:
        scope = span.instrumentation_scope
        return scope is None or scope.name != "looopy_otel"

    client = project.client(not_ours)
    with project.configure() as telemetry:
        with client.start_as_current_observation(name="theirs"):
            call()
        telemetry.flush()
        project.provider.force_flush()
    assert names(project.sink.spans) == ["llm.call", "theirs"]


def test_the_same_key_at_another_host_is_another_project(project: Project) -> None:
    project.client()
    with OTLPSink() as production:
        with project.configure(langfuse_base_url=production.url) as telemetry:
            call()
            telemetry.flush()
            project.provider.force_flush()
        assert names(production.spans) == ["llm.call"]
    assert names(project.sink.spans) == ["llm.call"]


def test_spans_of_the_sdk_go_to_other_destinations_of_ours(project: Project) -> None:
    client = project.client()
    with OTLPSink() as other:
        with lo.configure(
            tracer_provider=project.provider, exporters="otlp", otlp_endpoint=other.url, metrics="none"
        ) as telemetry:
            with client.start_as_current_observation(name="theirs"):
                call()
            telemetry.flush()
            project.provider.force_flush()
        assert names(other.spans) == ["llm.call", "theirs"]
    assert names(project.sink.spans) == ["llm.call", "theirs"]


def test_an_sdk_on_a_provider_of_its_own_is_left_alone(project: Project) -> None:
    project.provider = TracerProvider(shutdown_on_exit=False)
    client = project.client()
    with lo.configure(
        exporters="langfuse",
        langfuse_public_key=project.key,
        langfuse_secret_key="sk",
        langfuse_base_url=project.sink.url,
    ) as telemetry:
        with client.start_as_current_observation(name="theirs"):
            call()
        telemetry.flush()
        project.provider.force_flush()
    assert names(project.sink.spans) == ["llm.call", "theirs"]

"""Anthropic's SDK makes spans of its own: one call has one span, and calls that are not recorded keep theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.instrument.patching import uninstrument
from looopy_otel.testing import CapturedSpans
from tests.instrument.clients.apis import MESSAGES_API, Subject, take
from tests.support.model_server import Answer, ModelServer

pytestmark = pytest.mark.skipif(not hasattr(anthropic.Anthropic, "_tracer"), reason="this version makes no spans")

NATIVE = "anthropic.messages.create"


class Theirs:
    """A tracer provider of the user's own."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def option(self) -> dict[str, Any]:
        return {"open_telemetry": {"tracer_provider": self.provider}}

    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]


@pytest.fixture
def theirs() -> Theirs:
    return Theirs()


@pytest.fixture
async def messages(asynchronous: bool, server: ModelServer) -> AsyncIterator[Subject]:
    subject = Subject(MESSAGES_API, asynchronous, server)
    yield subject
    await subject.close_clients()


@pytest.mark.parametrize("form", ["wrapped", "instrumented"])
async def test_a_recorded_call_has_one_span(messages: Subject, spans: CapturedSpans, theirs: Theirs, form: str) -> None:
    client = messages.plain_client(**theirs.option)
    await messages.create(client)
    assert theirs.names() == [NATIVE]
    if form == "wrapped":
        client = messages.client(client)
    else:
        messages.instrument()
    await messages.create(client)
    await take(await messages.stream(client))
    async with messages.helper(client) as stream:
        await take(stream)
    assert theirs.names() == [NATIVE]
    assert spans.outline() == ["llm.call"] * 3


@pytest.mark.parametrize("told", ["text", "message"])
async def test_a_call_inside_another_one_of_ours_has_one_span(
    messages: Subject, spans: CapturedSpans, theirs: Theirs, told: str
) -> None:
    client = messages.plain_client(**theirs.option)

    @lo.trace_llm(name="question")
    async def question(prompt: str) -> Any:
        answer = await messages.create(client)
        return answer if told == "message" else "text"

    await question("Hello")
    assert theirs.names() == []
    assert spans.outline() == ["question", "  llm.call"]
    assert spans.attributes("llm.call")["gen_ai.usage.input_tokens"] == 11
    await messages.create(client)
    assert theirs.names() == [NATIVE]


async def test_its_request_carries_our_traceparent(messages: Subject, spans: CapturedSpans, theirs: Theirs) -> None:
    await messages.create(messages.client(messages.plain_client(**theirs.option)))
    context = spans.span("llm.call").context
    assert context is not None
    assert f"{context.span_id:016x}" in messages.server.last.headers["traceparent"]


async def test_calls_that_are_not_recorded_keep_theirs(messages: Subject, spans: CapturedSpans, theirs: Theirs) -> None:
    client = messages.client(messages.plain_client(**theirs.option))
    with hooks.suppressed():
        await messages.create(client)
    assert theirs.names() == [NATIVE]
    messages.server.script = Answer()
    arguments = {"model": MESSAGES_API.model, "messages": MESSAGES_API.arguments["messages"]}
    counted = client.messages.count_tokens(**arguments)
    if messages.asynchronous:
        await counted
    assert theirs.names() == [NATIVE, "anthropic.messages.count_tokens"]
    assert spans.spans() == []


async def test_uninstrumenting_gives_them_back(messages: Subject, spans: CapturedSpans, theirs: Theirs) -> None:
    client = messages.plain_client(**theirs.option)
    messages.instrument()
    await messages.create(client)
    uninstrument("anthropic")
    await messages.create(client)
    assert theirs.names() == [NATIVE]
    assert len(spans.spans()) == 1


async def test_one_span_also_when_theirs_go_to_our_provider(messages: Subject, spans: CapturedSpans) -> None:
    tracer: Any = spans.telemetry.tracer("com.anthropic.sdk.python")
    client = messages.plain_client()
    client._lazy_tracer = tracer
    with lo.span("step"):
        await messages.create(messages.client(client))
        await messages.create(client)
    assert spans.outline() == ["step", "  llm.call", f"  {NATIVE}"]


async def test_with_options_keeps_it_that_way(messages: Subject, spans: CapturedSpans, theirs: Theirs) -> None:
    client = messages.client(messages.plain_client(**theirs.option)).with_options(timeout=9)
    await messages.create(client)
    assert theirs.names() == []
    assert spans.outline() == ["llm.call"]


async def test_middleware_of_the_sdks_own_sees_the_wrapped_client(messages: Subject, spans: CapturedSpans) -> None:
    seen: list[str] = []

    def watch(request: Any, call_next: Any) -> Any:
        seen.append("sync")
        return call_next(request)

    async def awatch(request: Any, call_next: Any) -> Any:
        seen.append("async")
        return await call_next(request)

    own = awatch if messages.asynchronous else watch
    client = messages.client(messages.plain_client(middleware=[own], max_retries=1))
    messages.server.script = [Answer(status=500, headers={"retry-after-ms": "5"}), Answer()]
    await messages.create(client)
    await take(await messages.stream(client))
    assert len(seen) == 3
    assert spans.outline() == ["llm.call", "  llm.attempt", "  llm.attempt", "llm.call"]
    assert all((span.attributes or {}).get("llm.outcome", "completed") == "completed" for span in spans.spans())

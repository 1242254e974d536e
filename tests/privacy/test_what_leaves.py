"""What reaches the store and a wire of a whole program, in each capture mode: no secret, or no content."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.core.draft import LLMDraft, ToolDraft, draft_from_json, draft_to_json
from looopy_otel.core.settings import Capture
from looopy_otel.privacy.gate import Gate
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedServer
from looopy_otel.store.span import StoredSpan
from looopy_otel.store.sqlite import Store
from tests.support.otlp_sink import Answer, OTLPSink

SECRETS = [f"sk-{number:02d}" + "AbCdEfGhIjKlMnOpQrStUvWx" for number in range(12)]


@dataclass(frozen=True, slots=True)
class Left:
    """What left the program.

    Attributes:
        memory: An exporter that got every dialect.
        database: The local store's file.
    """

    memory: InMemorySpanExporter
    database: Path

    @property
    def stored(self) -> list[StoredSpan]:
        """Every span of the store."""
        with Store(self.database, read_only=True) as store:
            return [span for trace in store.traces() for span in store.spans(trace.trace_id)]

    @property
    def everything(self) -> str:
        """All that was exported or stored, as text."""
        exported = [span.to_json() for span in self.memory.get_finished_spans()]
        return "\n".join(exported) + self.database.read_bytes().decode("latin-1") + repr(self.stored)

    def attributes(self, name: str) -> dict[str, Any]:
        """The exported attributes of the one span of that name."""
        (span,) = [span for span in self.memory.get_finished_spans() if span.name == name]
        return dict(span.attributes or {})

    def call(self) -> LLMDraft:
        """The draft of the one LLM call."""
        (draft,) = [span.draft for span in self.stored if isinstance(span.draft, LLMDraft)]
        return draft


@contextmanager
def tracing(capture: Capture, left: Left) -> Generator[lo.Telemetry]:
    """Everything that happens inside has left at the end of the block."""
    with lo.configure(capture=capture, exporters=["local", left.memory], database=left.database) as telemetry:
        yield telemetry


@pytest.fixture
def left(tmp_path: Path) -> Left:
    return Left(InMemorySpanExporter(), tmp_path / "traces.db")


def completion(message: dict[str, Any], **fields: Any) -> bytes:
    """The body of a plain reply."""
    return json.dumps({"choices": [{"index": 0, "message": message, **fields.pop("choice", {})}], **fields}).encode()


def test_no_string_that_came_from_anywhere_carries_a_secret(left: Left) -> None:
    call = {"id": SECRETS[0], "type": "function", "function": {"name": f"no_{SECRETS[1]}", "arguments": "{}"}}
    asked = completion(
        {"role": "assistant", "tool_calls": [call]},
        id=SECRETS[2],
        model=SECRETS[3],
        choice={"finish_reason": f"because {SECRETS[4]}"},
    )
    replies = [Reply(body=asked, headers={"x-litellm-call-id": SECRETS[5]}), Reply(text="done")]
    with ScriptedServer(replies) as server, tracing("redacted", left) as telemetry:
        with (
            lo.session(SECRETS[6], user_id=SECRETS[7], tags=[SECRETS[8]], metadata={SECRETS[9]: "x"}),
            lo.span(f"look up {SECRETS[10]}"),
        ):
            provider = LiteLLMProvider(base_url=server.url, model="gpt-4")
            AgentLoop(agent_id="a", llm_provider=provider, tool_providers=[FunctionTools([])]).run("go")
            with telemetry.tracer("mine").start_as_current_span("plain", attributes={SECRETS[11]: 1}):
                pass
    assert [secret for secret in SECRETS if secret in left.everything] == []
    (tool,) = [span.draft for span in left.stored if isinstance(span.draft, ToolDraft)]
    assert (tool.tool_name, tool.call_id) == ("no_[REDACTED:openai-key]", "[REDACTED:openai-key]")


def test_what_is_ours_in_a_draft_is_no_free_text(left: Left) -> None:
    with ScriptedServer([Reply(text="hi")]) as server, tracing("redacted", left):
        LiteLLMProvider(base_url=server.url, model="gpt-4").call_sync(messages=[{"role": "user", "content": "Hello!"}])
    draft = left.call()
    assert (draft.kind, draft.outcome, draft.usage_source, draft.finish_reason) == (
        "llm",
        "completed",
        "missing",
        "stop",
    )
    assert draft_from_json(draft_to_json(draft)) == draft


PARAMETERS: dict[str, Any] = {
    "suffix": "Jane has it",
    "instructions": "Jane" * 500,
    "user": "jane@example.org",
    "stop": ["Jane", "Doe"],
    "prediction": {"type": "content", "content": "Jane"},
    "logit_bias": {"Jane": 1},
    "reasoning_effort": "high",
    "service_tier": "Jane is a tier",
    "thinking": {"type": "enabled", "budget_tokens": 64, "note": "Jane"},
    "modalities": ["text", "audio"],
    "seed": 7,
    "parallel_tool_calls": False,
}
KEPT = {
    "temperature": 0.7,
    "max_tokens": 4096,
    "top_p": 1.0,
    "reasoning_effort": "high",
    "thinking": {"type": "enabled", "budget_tokens": 64},
    "modalities": ["text", "audio"],
    "seed": 7,
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema"},
    "tool_choice": "auto",
}


def test_metadata_keeps_of_the_parameters_what_are_settings(left: Left) -> None:
    with ScriptedServer([Reply(text="hi")]) as server, tracing("metadata", left):
        provider = LiteLLMProvider(base_url=server.url, model="gpt-4", extra_params=PARAMETERS)
        provider.call_sync(
            messages=[{"role": "user", "content": "Jane"}],
            tool_choice="auto",
            response_format={"type": "json_schema", "json_schema": {"name": "Jane", "schema": {}}},
            metadata={"question": "What does Jane have? " * 20, "plan": "gold", "answers": '{"of": "Jane"}'},
        )
    assert "jane" not in left.everything.lower()
    assert left.call().parameters == KEPT
    assert left.call().metadata == {"question": "[REDACTED:content]", "plan": "gold", "answers": "[REDACTED:content]"}


def test_metadata_keeps_no_word_of_the_model(left: Left) -> None:
    call = {"id": "Jane 1", "type": "function", "function": {"name": "the patient is Jane Doe", "arguments": "{}"}}
    asked = completion(
        {"role": "assistant", "tool_calls": [call]}, id="of Jane", model="Jane's", choice={"finish_reason": "Jane: no"}
    )
    replies = [Reply(body=asked, headers={"x-litellm-call-id": "Jane's call"}), Reply(text="done")]
    with ScriptedServer(replies) as server, tracing("metadata", left):
        provider = LiteLLMProvider(base_url=server.url, model="gpt-4")
        AgentLoop(agent_id="a", llm_provider=provider, tool_providers=[FunctionTools([])]).run("go")
    assert "Jane" not in left.everything
    (tool,) = [span.draft for span in left.stored if isinstance(span.draft, ToolDraft)]
    assert tool.tool_name == tool.call_id == "[REDACTED:content]"


def test_metadata_of_a_session_loses_its_structures_on_everybodys_spans(left: Left) -> None:
    with tracing("metadata", left) as telemetry, lo.session(metadata={"nested": {"of": "Jane"}, "plan": "gold"}):
        with telemetry.tracer("mine").start_as_current_span("plain"), lo.span("own"):
            pass
    assert "Jane" not in left.everything
    assert left.attributes("plain")["langfuse.trace.metadata.plan"] == "gold"
    assert left.attributes("own")["langfuse.trace.metadata.plan"] == "gold"


@pytest.mark.parametrize("capture", ["full", "redacted", "metadata"])
def test_half_an_emoji_anywhere_on_a_span_does_no_harm(left: Left, capture: Capture) -> None:
    half = "\ud83d"
    with (
        tracing(capture, left) as telemetry,
        telemetry.tracer("mine").start_as_current_span(f"plain{half}", attributes={half: [half], "x": half}) as span,
    ):
        span.add_event(half, {half: half})
        span.set_status(StatusCode.ERROR, half)
    encode_spans(left.memory.get_finished_spans())
    assert [span.name for span in left.stored] == ["plain\ufffd"]
    attributes = left.attributes("plain\ufffd")
    assert (list(attributes["\ufffd"]), attributes["x"]) == (["\ufffd"], "\ufffd")


def test_what_a_backend_echoes_is_in_no_report(caplog: pytest.LogCaptureFixture) -> None:
    said = f"invalid span: prompt was {SECRETS[0]}".encode()
    with OTLPSink() as sink, lo.configure(exporters=["otlp"], otlp_endpoint=sink.url) as telemetry:
        sink.answer(Answer(400, body=said, headers={"content-type": "text/plain"}))
        with lo.span("own"):
            pass
        telemetry.flush()
        (destination,) = telemetry.stats().destinations
    assert "invalid span: prompt was [REDACTED:openai-key]" in (destination.last_error or "")
    assert "invalid span: prompt was [REDACTED:openai-key]" in caplog.text
    assert SECRETS[0] not in f"{telemetry.stats()} {caplog.text}"


@pytest.mark.parametrize(
    "text",
    [
        '{"credentials": {"password": {"value": "hunter2xyzzy9"}}}',
        '[{"password": ["hunter2xyzzy9", {"x": "hunter2xyzzy9"}]}]',
    ],
)
def test_a_structure_that_was_written_as_json_is_redacted_as_one(text: str) -> None:
    gate = Gate("redacted")
    redacted = gate.attributes({"gen_ai.prompt": text, "plain": "{no json} stays"})
    assert "hunter2xyzzy9" not in str(redacted)
    assert redacted["plain"] == "{no json} stays"

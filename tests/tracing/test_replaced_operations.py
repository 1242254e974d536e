"""What a middleware puts in the place of an operation is what the span tells."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from looopy_otel.agent import CallNext
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedServer
from tests.tracing.conftest import Recorded, attributes


async def scrub(operation: Any, call_next: CallNext) -> Any:
    messages = [{"role": "user", "content": "REPLACED"}]
    return await call_next(replace(operation, messages=messages, model="gpt-4o-mini", parameters={"temperature": 0.0}))


async def test_a_provider_middleware_protects_the_trace_too(recorded: Recorded) -> None:
    with ScriptedServer([Reply(text="Hello!")]) as server:
        provider = LiteLLMProvider(base_url=server.url, model="gpt-4", middleware=[scrub])
        await provider.call(messages=[{"role": "user", "content": "SECRET"}])
        body = json.loads(server.requests[0].body)
    assert (body["model"], body["messages"]) == ("gpt-4o-mini", [{"role": "user", "content": "REPLACED"}])
    span = recorded.span("llm.call")
    assert "SECRET" not in span.to_json()
    seen = attributes(span)
    assert seen["gen_ai.request.model"] == "gpt-4o-mini"
    assert seen["gen_ai.request.temperature"] == 0.0
    assert json.loads(str(seen["gen_ai.prompt"])) == [{"role": "user", "content": "REPLACED"}]

"""The genai dialect: whole spans in the current conventions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from looopy_otel.core.usage import Usage
from looopy_otel.mapping import genai
from tests.mapping import drafts
from tests.mapping.drafts import DEPLOYMENT, DRAFTS
from tests.support.langfuse_row import to_row
from tests.support.spans import Span

INPUT_JSON = (
    '[{"role":"system","parts":[{"type":"text","content":"Be short."}]},'
    '{"role":"user","parts":[{"type":"text","content":"1+1?"}]}]'
)
ASKING = '{"type":"tool_call","name":"calculate","id":"c1","arguments":{"expression":"1+1"}}'
CONVENTIONS: dict[str, Any] = {
    "gen_ai.request.temperature": 0.7,
    "gen_ai.request.max_tokens": 4096,
    "gen_ai.request.stop_sequences": ["END"],
    "gen_ai.request.stream": True,
    "gen_ai.response.finish_reasons": ["tool_calls"],
    "gen_ai.response.time_to_first_chunk": 0.25,
    "server.address": "127.0.0.1",
    "server.port": 4000,
    "gen_ai.usage.input_tokens": 150,
    "gen_ai.usage.output_tokens": 75,
    "gen_ai.usage.cache_read.input_tokens": 100,
    "gen_ai.usage.cache_creation.input_tokens": 20,
    "gen_ai.usage.cache_write.input_tokens": 20,
    "gen_ai.usage.audio.input_tokens": 0,
    "gen_ai.usage.reasoning.output_tokens": 25,
    "gen_ai.input.messages": INPUT_JSON,
}
EXPECTED: dict[str, dict[str, Any]] = {
    "agent": {
        **drafts.AGENT_SCALARS,
        "gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"1+1?"}]}]',
        "gen_ai.output.messages": '[{"role":"assistant","parts":[{"type":"text","content":"2"}]}]',
        "looopy.metadata.plan": "gold",
        "looopy.metadata.steps": "[1,2]",
    },
    "iteration": {
        **drafts.ITERATION_SCALARS,
        "gen_ai.input.messages": INPUT_JSON,
        "gen_ai.output.messages": f'[{{"role":"assistant","parts":[{ASKING}]}}]',
    },
    "llm": {
        **drafts.LLM_SCALARS,
        **drafts.GENERATION,
        **CONVENTIONS,
        "gen_ai.output.messages": f'[{{"role":"assistant","parts":[{ASKING}],"finish_reason":"tool_call"}}]',
        "gen_ai.tool.definitions": (
            '[{"name":"calculate","description":"Adds.","parameters":{"type":"object"},"type":"function"}]'
        ),
        "looopy.metadata.attempt": 1,
    },
    "answer": {
        **drafts.LLM_SCALARS,
        **drafts.GENERATION,
        **CONVENTIONS,
        "llm.finish_reason": "stop",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.output.messages": (
            '[{"role":"assistant","parts":[{"type":"text","content":"2"}],"finish_reason":"stop"}]'
        ),
        "looopy.metadata.attempt": 1,
    },
    "embedding": {
        **drafts.EMBEDDING_SCALARS,
        **drafts.EMBEDDING_GENERATION,
        "gen_ai.request.encoding_formats": ["float"],
        "gen_ai.embeddings.dimension.count": 256,
        "gen_ai.usage.input_tokens": 8,
        "gen_ai.usage.output_tokens": 0,
        "input": '["a","b"]',
        "output": '{"embeddings":2,"dimensions":256}',
    },
    "failed call": {
        **drafts.FAILED_CALL_SCALARS,
        **drafts.FAILED_GENERATION,
        "gen_ai.input.messages": INPUT_JSON,
    },
    "unrecorded call": {**drafts.UNRECORDED_CALL_SCALARS, **drafts.FAILED_GENERATION},
    "tool": {
        **drafts.TOOL_SCALARS,
        "gen_ai.agent.name": "my-agent",
        "gen_ai.tool.name": "calculate",
        "gen_ai.tool.call.arguments": '{"expression":"1+1"}',
        "gen_ai.tool.call.result": '{"result":"2"}',
    },
    "failed tool": {
        **drafts.TOOL_SCALARS,
        "error.type": "ValueError",
        "gen_ai.agent.name": "my-agent",
        "gen_ai.tool.name": "calculate",
        "gen_ai.tool.call.arguments": '{"arguments":"not json"}',
    },
    "attempt": drafts.ATTEMPT_ATTRIBUTES,
    "step": {**drafts.STEP_SCALARS, "input": '{"q":1}', "output": "[1]", "looopy.metadata.k": "v"},
}


@pytest.mark.parametrize("kind", DRAFTS)
def test_whole_span(kind: str) -> None:
    assert genai.attributes(DRAFTS[kind], DEPLOYMENT) == EXPECTED[kind]


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"finish_reason": "length"}, ["length"]),
        ({"finish_reason": None, "outcome": "truncated"}, ["error"]),
        ({"finish_reason": None, "outcome": "error"}, ["error"]),
        ({"finish_reason": None, "outcome": "error", "answered": False}, None),
        ({"finish_reason": None, "outcome": "abandoned"}, None),
        ({"finish_reason": None, "outcome": "completed"}, None),
    ],
)
def test_finish_reasons(changes: dict[str, Any], reasons: list[str] | None) -> None:
    sent = genai.attributes(replace(drafts.LLM, **changes), DEPLOYMENT)
    assert sent.get("gen_ai.response.finish_reasons") == reasons


def test_what_a_collector_forwards_to_langfuse_is_counted_once() -> None:
    usage = Usage(100, 20, cache_read_tokens=30, cache_write_tokens=10, audio_input_tokens=5, reasoning_tokens=5)
    sent = genai.attributes(replace(drafts.LLM, usage=usage), DEPLOYMENT)
    shown = to_row(Span(trace_id="1" * 32, span_id="2" * 16, parent_id=None, name="llm.call", attributes=sent))
    assert shown.usage == {
        "input": 55,
        "input_cached_tokens": 30,
        "input_cache_creation": 10,
        "input_audio_tokens": 5,
        "output": 15,
        "output_reasoning_tokens": 5,
        "total": 120,
    }
    assert shown.type == "GENERATION"
    assert shown.model == "gpt-4-0613"
    assert shown.input == orjson.loads(INPUT_JSON)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"temperature": 0}, {"gen_ai.request.temperature": 0.0}),
        ({"top_p": 1, "top_k": 40.0}, {"gen_ai.request.top_p": 1.0, "gen_ai.request.top_k": 40}),
        ({"max_completion_tokens": 5}, {"gen_ai.request.max_tokens": 5}),
        ({"max_tokens": 7, "max_output_tokens": 9}, {"gen_ai.request.max_tokens": 7}),
        ({"n": 1}, {}),
        ({"n": 3, "seed": 42}, {"gen_ai.request.choice.count": 3, "gen_ai.request.seed": 42}),
        ({"stop_sequences": ["A"]}, {"gen_ai.request.stop_sequences": ["A"]}),
        ({"previous_response_id": "r"}, {"gen_ai.request.previous_response.id": "r"}),
        ({"stop": "END"}, {"gen_ai.request.stop_sequences": ["END"]}),
        ({"stop": []}, {}),
        ({"reasoning_effort": "low"}, {"gen_ai.request.reasoning.level": "low"}),
        ({"reasoning": {"effort": "high"}}, {"gen_ai.request.reasoning.level": "high"}),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"gen_ai.output.type": "json"}),
        ({"response_format": {"type": "text"}}, {"gen_ai.output.type": "text"}),
        ({"temperature": None, "max_tokens": "many", "presence_penalty": float("nan"), "seed": 10**400}, {}),
        ({"presence_penalty": 0.5, "frequency_penalty": -1, "logit_bias": {}},
         {"gen_ai.request.presence_penalty": 0.5, "gen_ai.request.frequency_penalty": -1.0}),
    ],
)  # fmt: skip
def test_request_parameters(parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = genai.attributes(replace(drafts.FAILED_CALL, parameters=parameters), DEPLOYMENT)
    shown = {k: v for k, v in sent.items() if k.startswith(("gen_ai.request.", "gen_ai.output.type"))}
    assert shown == {"gen_ai.request.model": "gpt-4", **expected}
    assert {type(shown[key]) for key in expected} == {type(value) for value in expected.values()}

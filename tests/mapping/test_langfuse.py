"""The langfuse dialect: whole spans, and the ingestion's rules that attributes alone can break."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.draft import Cost, Draft, LLMDraft
from looopy_otel.core.usage import Usage
from looopy_otel.mapping import langfuse
from looopy_otel.mapping.langfuse import model_name, usage_details
from tests.mapping import drafts
from tests.mapping.drafts import DEPLOYMENT, DRAFTS
from tests.support.langfuse_rules import span_violations
from tests.support.spans import Span

TOOL_JSON = '{"type":"function","function":{"name":"calculate","description":"Adds.","parameters":{"type":"object"}}}'
EXPECTED: dict[str, dict[str, Any]] = {
    "agent": {
        **drafts.AGENT_SCALARS,
        "langfuse.observation.input": "1+1?",
        "langfuse.observation.output": "2",
        "langfuse.observation.metadata.plan": "gold",
        "langfuse.observation.metadata.steps": "[1,2]",
    },
    "iteration": {
        **drafts.ITERATION_SCALARS,
        "langfuse.observation.input": drafts.MESSAGES_JSON,
        "langfuse.observation.output": drafts.ASKING_JSON,
    },
    "llm": {
        **drafts.LLM_SCALARS,
        **drafts.GENERATION,
        "langfuse.observation.input": f'{{"messages":{drafts.MESSAGES_JSON},"tools":[{TOOL_JSON}]}}',
        "langfuse.observation.output": drafts.ASKING_JSON,
        "langfuse.observation.metadata.attempt": 1,
    },
    "answer": {
        **drafts.LLM_SCALARS,
        **drafts.GENERATION,
        "llm.finish_reason": "stop",
        "langfuse.observation.input": drafts.MESSAGES_JSON,
        "langfuse.observation.output": '{"role":"assistant","content":"2"}',
        "langfuse.observation.metadata.attempt": 1,
    },
    "embedding": {
        **drafts.EMBEDDING_SCALARS,
        **drafts.EMBEDDING_GENERATION,
        "langfuse.observation.input": '["a","b"]',
        "langfuse.observation.output": '{"embeddings":2,"dimensions":256}',
    },
    "failed call": {
        **drafts.FAILED_CALL_SCALARS,
        **drafts.FAILED_GENERATION,
        "langfuse.observation.input": drafts.MESSAGES_JSON,
        "langfuse.observation.output": "",
    },
    "unrecorded call": {**drafts.UNRECORDED_CALL_SCALARS, **drafts.FAILED_GENERATION},
    "tool": {
        **drafts.TOOL_SCALARS,
        "langfuse.observation.input": '{"expression":"1+1"}',
        "langfuse.observation.output": "2",
    },
    "failed tool": {
        **drafts.TOOL_SCALARS,
        "error.type": "ValueError",
        "langfuse.observation.input": "not json",
        "langfuse.observation.output": "Error: bad",
    },
    "attempt": drafts.ATTEMPT_ATTRIBUTES,
    "step": {
        **drafts.STEP_SCALARS,
        "langfuse.observation.input": '{"q":1}',
        "langfuse.observation.output": "[1]",
        "langfuse.observation.metadata.k": "v",
    },
}


@pytest.mark.parametrize("kind", DRAFTS)
def test_whole_span(kind: str) -> None:
    assert langfuse.attributes(DRAFTS[kind], DEPLOYMENT) == EXPECTED[kind]


def as_sent(draft: Draft) -> Span:
    return Span(
        trace_id="1" * 32,
        span_id="2" * 16,
        parent_id=None if draft.root else "3" * 16,
        name=draft.name,
        kind="INTERNAL",
        start=draft.start_time,
        end=draft.end_time,
        status="ERROR" if draft.error else "UNSET",
        status_message=draft.error.message if draft.error else "",
        attributes=langfuse.attributes(draft, DEPLOYMENT),
        scope="looopy-otel",
    )


@pytest.mark.parametrize("kind", DRAFTS)
def test_no_rule_of_the_ingestion_is_broken(kind: str) -> None:
    assert span_violations(as_sent(DRAFTS[kind])) == []


@pytest.mark.parametrize("kind", DRAFTS)
def test_nothing_renames_retypes_or_repeats(kind: str) -> None:
    keys = langfuse.attributes(DRAFTS[kind], DEPLOYMENT).keys()
    assert not keys & {"gen_ai.tool.name", "gen_ai.tool.definitions", "input", "output", "prompt", "events", "model"}
    assert not [key for key in keys if key.startswith(("gen_ai.prompt", "gen_ai.completion"))]
    assert not [key for key in keys if key.endswith(".messages")]
    assert "langfuse.observation.level" not in keys


@pytest.mark.parametrize("kind", ["agent", "iteration", "tool", "step", "llm"])
@pytest.mark.parametrize(("content", "result"), [("in", None), (None, "out"), ("in", "out")])
def test_input_and_output_come_together(kind: str, content: str | None, result: str | None) -> None:
    sent = langfuse.attributes(replace(DRAFTS[kind], input=content, output=result), DEPLOYMENT)
    assert isinstance(sent["langfuse.observation.input"], str)
    assert isinstance(sent["langfuse.observation.output"], str)


def test_a_call_whose_content_is_not_known_has_neither_input_nor_output() -> None:
    sent = langfuse.attributes(replace(drafts.LLM, input=None, output=None, tools=None), DEPLOYMENT)
    assert not [key for key in sent if key.endswith((".input", ".output"))]


def test_tools_alone_are_the_input() -> None:
    sent = langfuse.attributes(replace(drafts.LLM, input=None), DEPLOYMENT)
    assert orjson.loads(str(sent["langfuse.observation.input"])) == {"tools": [drafts.TOOL]}


def test_several_choices_stay_a_list() -> None:
    choices: Any = [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    sent = langfuse.attributes(replace(drafts.LLM, output=choices), DEPLOYMENT)
    assert orjson.loads(str(sent["langfuse.observation.output"])) == choices


@pytest.mark.parametrize(
    ("given_name", "sent"),
    [
        ("gpt-4", "gpt-4"),
        ("azure/gpt-4", "gpt-4"),
        ("openrouter/anthropic/claude-3-opus", "claude-3-opus"),
        ("bedrock/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-3-opus-20240229-v1:0",
         "eu.anthropic.claude-3-opus-20240229-v1:0"),
        ("odd/", "odd/"),
    ],
)  # fmt: skip
def test_the_model_has_no_prefix_that_the_price_table_does_not_know(given_name: str, sent: str) -> None:
    assert model_name(given_name) == sent


@pytest.mark.parametrize(
    ("changes", "usage"),
    [
        ({"answered": False, "outcome": "cancelled"}, '{"input":0,"output":0}'),
        ({"outcome": "truncated"}, '{"input":0,"output":0}'),
        ({"outcome": "error"}, '{"input":0,"output":0}'),
        ({"outcome": "abandoned"}, None),
        ({"outcome": "completed"}, None),
        ({"outcome": "error", "usage": Usage(3, 2)}, '{"input":3,"output":2,"total":5}'),
    ],
)
def test_usage_of_calls_that_reported_none(changes: dict[str, Any], usage: str | None) -> None:
    draft: LLMDraft = replace(drafts.LLM, usage=None)
    sent = langfuse.attributes(replace(draft, **changes), DEPLOYMENT)
    assert sent.get("langfuse.observation.usage_details") == usage


def test_unknown_cost_is_absent_and_a_known_zero_is_sent() -> None:
    unknown = langfuse.attributes(replace(drafts.LLM, cost=None), DEPLOYMENT)
    assert "gen_ai.usage.cost" not in unknown
    assert "langfuse.observation.cost_details" not in unknown
    assert unknown["llm.cost.source"] == "unknown"
    free = langfuse.attributes(replace(drafts.LLM, cost=Cost(Decimal(0), source="price-table")), DEPLOYMENT)
    assert free["gen_ai.usage.cost"] == 0.0
    assert free["langfuse.observation.cost_details"] == '{"total":0.0}'


def test_shares_that_do_not_make_up_the_total_are_left_out() -> None:
    cost = Cost(Decimal("0.03"), Decimal("0.01"), Decimal("0.01"), source="price-table")
    sent = langfuse.attributes(replace(drafts.LLM, cost=cost), DEPLOYMENT)
    assert sent["langfuse.observation.cost_details"] == '{"total":0.03}'


counts = st.integers(min_value=-5, max_value=10**9)
parts = st.none() | counts


@pytest.mark.parametrize(
    ("asked", "answered", "sent"),
    [
        ("github_copilot/gpt-4o", "gpt-4o", "github_copilot/gpt-4o"),
        ("chatgpt/gpt-4o", "gpt-4o-2024-08-06", "chatgpt/gpt-4o"),
        ("gmi/anthropic/claude-opus-4.5", "anthropic/claude-opus-4.5", "gmi/anthropic/claude-opus-4.5"),
        ("my-alias", "gpt-4o", "gpt-4o"),
    ],
)
def test_what_has_no_cost_keeps_a_name_that_the_server_has_no_price_for(asked: str, answered: str, sent: str) -> None:
    draft = replace(drafts.LLM, request_model=asked, response_model=answered, cost=None)
    assert langfuse.attributes(draft, DEPLOYMENT)["langfuse.observation.model.name"] == sent


@given(st.builds(Usage, counts, counts, parts, parts, parts, parts, parts))
def test_buckets_are_disjoint_and_make_up_the_total(usage: Usage) -> None:
    details = usage_details(usage)
    total = details.pop("total")
    assert total == sum(details.values()) == max(usage.prompt_tokens, 0) + max(usage.completion_tokens, 0)
    assert all(type(count) is int and count >= 0 for count in details.values())
    assert sum(n for key, n in details.items() if key.startswith("input")) == max(usage.prompt_tokens, 0)

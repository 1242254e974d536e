"""Usage: whatever a provider reports, totals are whole numbers, parts fit into them, and buckets add up."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.draft import LLMDraft, draft_from_json, draft_to_json
from looopy_otel.core.identity import NOBODY
from looopy_otel.core.settings import Deployment
from looopy_otel.core.shapes.anthropic_messages import ANTHROPIC_MESSAGES
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.core.usage import Usage, usage_of
from looopy_otel.core.usage_parts import INPUT_PARTS, OUTPUT_PARTS, disjoint_parts
from looopy_otel.mapping import genai
from looopy_otel.mapping.langfuse import usage_details

ABSURD = (
    st.none()
    | st.integers()
    | st.integers(0, 10**6)
    | st.floats()
    | st.booleans()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
)
NAMES = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cached_tokens",
    "cache_creation_input_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "input_audio_tokens",
    "prompt_cache_hit_tokens",
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "inputTokens",
    "outputTokens",
    "cacheReadInputTokens",
    "cacheWriteInputTokens",
    "prompt_eval_count",
    "eval_count",
]
DETAILS = [
    "cached_tokens",
    "cache_read",
    "cache_creation",
    "cache_creation_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "audio",
    "image_tokens",
    "text_tokens",
    "reasoning_tokens",
    "reasoning",
    "accepted_prediction_tokens",
    "rejected_prediction_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
]
DETAILED = [
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
    "input_token_details",
    "output_token_details",
    "details",
    "cache_creation",
    "cacheDetails",
]
MODALITIES = st.lists(
    st.fixed_dictionaries({"modality": st.sampled_from(["TEXT", "AUDIO", "IMAGE", 7]), "tokenCount": ABSURD}),
    max_size=3,
)
TTLS = st.lists(st.fixed_dictionaries({"ttl": st.sampled_from(["5m", "1h", None]), "inputTokens": ABSURD}), max_size=3)
details = st.dictionaries(st.sampled_from(DETAILS), ABSURD) | TTLS | MODALITIES | ABSURD


def _report(counts: dict[str, Any], parts: dict[str, Any], modalities: dict[str, Any]) -> dict[str, Any]:
    return {**counts, **parts, **modalities}


reports = st.builds(
    _report,
    st.dictionaries(st.sampled_from(NAMES), ABSURD),
    st.dictionaries(st.sampled_from(DETAILED), details),
    st.dictionaries(st.sampled_from(["promptTokensDetails", "candidatesTokensDetails"]), MODALITIES | ABSURD),
)
whatever: st.SearchStrategy[Any] = ABSURD
made_by_hand = st.builds(Usage, **{field.name: whatever for field in fields(Usage)})

count = st.integers(0, 10**7)
part = st.none() | st.integers(0, 10**5)


@st.composite
def sound(draw: st.DrawFn) -> Usage:
    """A usage whose parts fit into their totals without overlapping."""
    parts: dict[str, Any] = {field.name: draw(part) for field in fields(Usage) if field.name.endswith("_tokens")}
    kept = [parts["cache_write_5m_tokens"], parts["cache_write_1h_tokens"]]
    parts["cache_write_tokens"] = None if kept == [None, None] else sum(one or 0 for one in kept)
    inputs = ("cache_read_tokens", "cache_write_tokens", "audio_input_tokens", "image_input_tokens")
    outputs = ("reasoning_tokens", "audio_output_tokens", "image_output_tokens")
    prompt = sum(parts[name] or 0 for name in (*inputs, "text_input_tokens"))
    predicted = ("accepted_prediction_tokens", "rejected_prediction_tokens", "text_output_tokens")
    completion = sum(parts[name] or 0 for name in (*outputs, *predicted))
    return Usage(**{**parts, "prompt_tokens": prompt + draw(count), "completion_tokens": completion + draw(count)})


def check_fits(usage: Usage) -> None:
    for name, value in asdict(usage).items():
        assert value is None or (type(value) is int and value >= 0), name
    for name in ("cache_read_tokens", "audio_input_tokens", "image_input_tokens", "text_input_tokens"):
        assert (getattr(usage, name) or 0) <= usage.prompt_tokens
    for name in ("reasoning_tokens", "audio_output_tokens", "image_output_tokens", "text_output_tokens"):
        assert (getattr(usage, name) or 0) <= usage.completion_tokens
    written = usage.cache_write_tokens or 0
    assert (usage.cache_read_tokens or 0) + written <= usage.prompt_tokens
    assert (usage.cache_write_5m_tokens or 0) + (usage.cache_write_1h_tokens or 0) <= written


@given(reports)
def test_any_report_gives_whole_totals_with_parts_that_fit(report: dict[str, Any]) -> None:
    usage = usage_of(report)
    if usage is not None:
        check_fits(usage)
        assert sum(disjoint_parts(usage).values()) == usage.total_tokens


@given(made_by_hand)
def test_a_usage_made_by_hand_is_cleaned(made: Usage) -> None:
    usage = usage_of(made)
    assert usage is not None
    check_fits(usage)
    assert usage_of(usage) is usage


@given(reports | made_by_hand)
def test_langfuse_buckets_are_disjoint_and_add_up(report: object) -> None:
    usage = usage_of(report)
    if usage is None:
        return
    buckets = usage_details(usage)
    total = buckets.pop("total")
    assert all(type(tokens) is int and tokens >= 0 for tokens in buckets.values())
    assert sum(buckets.values()) == total == usage.total_tokens
    assert sum(tokens for name, tokens in buckets.items() if "input" in name) == usage.prompt_tokens
    assert sum(tokens for name, tokens in buckets.items() if "output" in name) == usage.completion_tokens


@given(made_by_hand)
def test_buckets_add_up_even_where_nobody_cleaned_the_counts(made: Usage) -> None:
    said = asdict(made)
    totals = (said.pop("prompt_tokens"), said.pop("completion_tokens"))
    if all(type(one) is int for one in totals) and all(one is None or type(one) is int for one in said.values()):
        buckets = usage_details(made)
        total = buckets.pop("total")
        assert sum(buckets.values()) == total == max(made.prompt_tokens, 0) + max(made.completion_tokens, 0)


@given(sound())
def test_the_disjoint_parts_of_a_sound_usage_are_its_own(usage: Usage) -> None:
    parts = disjoint_parts(usage)
    assert set(parts) <= {*INPUT_PARTS, *OUTPUT_PARTS}
    assert parts.get("cache_read", 0) == (usage.cache_read_tokens or 0)
    assert parts.get("cache_write_5m", 0) == (usage.cache_write_5m_tokens or 0)
    assert parts.get("cache_write_1h", 0) == (usage.cache_write_1h_tokens or 0)
    assert parts.get("input_audio", 0) == (usage.audio_input_tokens or 0)
    assert parts.get("reasoning", 0) == (usage.reasoning_tokens or 0)


@given(sound())
def test_a_sound_usage_survives_the_round_trip_through_each_shape(usage: Usage) -> None:
    assert usage_of(as_openai(usage)) == usage
    assert usage_of(as_responses(usage)) == usage
    told = replace(NOTHING_OF_MODALITIES, **caches(usage))
    assert usage_of(ANTHROPIC_MESSAGES.answer(LLMResponse(Message("assistant", "x"), usage=told))) == told


@given(sound())
def test_a_usage_is_stored_as_it_is(usage: Usage) -> None:
    draft = LLMDraft(name="llm.call", start_time=1, end_time=2, identity=NOBODY, usage=usage)
    assert draft_from_json(draft_to_json(draft)) == draft


@given(sound())
def test_the_conventions_get_inclusive_counts(usage: Usage) -> None:
    draft = LLMDraft(name="llm.call", start_time=1, end_time=2, identity=NOBODY, usage=usage, request_model="m")
    sent = genai.attributes(draft, Deployment())
    assert sent["gen_ai.usage.input_tokens"] == usage.prompt_tokens
    assert sent["gen_ai.usage.output_tokens"] == usage.completion_tokens
    assert sent.get("gen_ai.usage.cache_read.input_tokens") == usage.cache_read_tokens
    assert sent.get("gen_ai.usage.cache_creation.input_tokens") == usage.cache_write_tokens
    assert sent.get("gen_ai.usage.reasoning.output_tokens") == usage.reasoning_tokens


@given(sound(), sound())
def test_a_sum_has_the_sum_of_all_parts(one: Usage, other: Usage) -> None:
    total = one + other
    check_fits(total)
    assert total.total_tokens == one.total_tokens + other.total_tokens


NOTHING_OF_MODALITIES = Usage(5 * 10**5, 7)


def caches(usage: Usage) -> dict[str, Any]:
    """What Anthropic's messages tell: a cache's counts are 0 where nothing is known of them."""
    told = usage.cache_write_5m_tokens is not None or usage.cache_write_1h_tokens is not None
    return {
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_5m_tokens": usage.cache_write_5m_tokens or 0 if told else None,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens or 0 if told else None,
    }


def as_openai(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": input_details(usage),
        "completion_tokens_details": output_details(usage),
        "cache_creation": kept(usage),
    }


def as_responses(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "input_tokens_details": {**input_details(usage), **kept(usage)},
        "output_tokens_details": output_details(usage),
    }


def input_details(usage: Usage) -> dict[str, Any]:
    return {
        "cached_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "audio_tokens": usage.audio_input_tokens,
        "image_tokens": usage.image_input_tokens,
        "text_tokens": usage.text_input_tokens,
    }


def output_details(usage: Usage) -> dict[str, Any]:
    return {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.audio_output_tokens,
        "image_tokens": usage.image_output_tokens,
        "text_tokens": usage.text_output_tokens,
        "accepted_prediction_tokens": usage.accepted_prediction_tokens,
        "rejected_prediction_tokens": usage.rejected_prediction_tokens,
    }


def kept(usage: Usage) -> dict[str, Any]:
    return {
        "ephemeral_5m_input_tokens": usage.cache_write_5m_tokens,
        "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
    }


@pytest.mark.parametrize(
    ("report", "usage"),
    [
        (
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "cache_creation_input_tokens": 9,
                "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
            },
            Usage(19, 5, cache_write_tokens=9, cache_write_5m_tokens=4, cache_write_1h_tokens=5),
        ),
        (
            {
                "prompt_tokens": 19,
                "completion_tokens": 5,
                "prompt_tokens_details": {
                    "cache_creation_tokens": 9,
                    "cache_creation_token_details": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
                },
            },
            Usage(19, 5, cache_write_tokens=9, cache_write_5m_tokens=4, cache_write_1h_tokens=5),
        ),
        (
            {
                "input_tokens": 19,
                "output_tokens": 5,
                "input_token_details": {"cache_creation": 0, "ephemeral_1h_input_tokens": 5, "cache_read": 2},
            },
            Usage(19, 5, cache_read_tokens=2, cache_write_tokens=5, cache_write_1h_tokens=5),
        ),
        (
            {
                "inputTokens": 10,
                "outputTokens": 5,
                "cacheWriteInputTokens": 9,
                "cacheDetails": [{"ttl": "5m", "inputTokens": 4}, {"ttl": "1h", "inputTokens": 5}],
            },
            Usage(19, 5, cache_write_tokens=9, cache_write_5m_tokens=4, cache_write_1h_tokens=5),
        ),
        (
            {
                "promptTokenCount": 30,
                "candidatesTokenCount": 5,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 10},
                    {"modality": "IMAGE", "tokenCount": 12},
                    {"modality": "AUDIO", "tokenCount": 8},
                ],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 5}],
            },
            Usage(30, 5, audio_input_tokens=8, image_input_tokens=12, text_input_tokens=10, image_output_tokens=5),
        ),
    ],
    ids=["anthropic", "litellm", "langchain", "bedrock", "gemini"],
)
def test_how_long_a_cache_keeps_and_what_kind_of_content_it_was(report: dict[str, Any], usage: Usage) -> None:
    assert usage_of(report) == usage

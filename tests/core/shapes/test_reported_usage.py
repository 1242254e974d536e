"""Token counts in the shapes of all vendors, as objects and as mappings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.usage import Usage, usage_of
from tests.core.shapes.forms import PLAIN, Form

REPORTS: dict[str, tuple[dict[str, Any], Usage]] = {
    "chat": (
        {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}},
        Usage(10, 5, cache_read_tokens=4),
    ),
    "litellm": (
        {"prompt_tokens": 10, "completion_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2},
        Usage(10, 5, cache_read_tokens=4, cache_write_tokens=2),
    ),
    "deepseek": ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 4}, Usage(10, 5, 4)),
    "responses": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
        Usage(10, 5, cache_read_tokens=4, cache_write_tokens=1, reasoning_tokens=3),
    ),
    "anthropic": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 2,
            "output_tokens_details": {"thinking_tokens": 3},
        },
        Usage(16, 5, cache_read_tokens=4, cache_write_tokens=2, reasoning_tokens=3),
    ),
    "gemini": (
        {
            "promptTokenCount": 10,
            "candidatesTokenCount": 5,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 4,
            "toolUsePromptTokenCount": 1,
        },
        Usage(11, 8, cache_read_tokens=4, reasoning_tokens=3),
    ),
    "gemini's SDK": (
        {"prompt_token_count": 10, "candidates_token_count": 5, "thoughts_token_count": 3},
        Usage(10, 8, reasoning_tokens=3),
    ),
    "bedrock": (
        {"inputTokens": 10, "outputTokens": 5, "cacheReadInputTokens": 4, "cacheWriteInputTokens": 2},
        Usage(16, 5, cache_read_tokens=4, cache_write_tokens=2),
    ),
    "langchain": (
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "input_token_details": {"cache_read": 4, "cache_creation": 2, "audio": 1},
            "output_token_details": {"reasoning": 3},
        },
        Usage(10, 5, cache_read_tokens=4, cache_write_tokens=2, audio_input_tokens=1, reasoning_tokens=3),
    ),
    "pydantic ai": (
        {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 4, "details": {"reasoning_tokens": 3}},
        Usage(10, 5, cache_read_tokens=4, reasoning_tokens=3),
    ),
    "ollama": ({"prompt_eval_count": 10, "eval_count": 5}, Usage(10, 5)),
    "nested": ({"usageMetadata": {"promptTokenCount": 10}}, Usage(10, 0)),
}


@pytest.mark.parametrize("form", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("vendor", REPORTS)
def test_reports(vendor: str, form: Form) -> None:
    report, usage = REPORTS[vendor]
    assert usage_of(form(report)) == usage
    assert usage_of(usage) is usage


NAMES = sorted({name for report, _ in REPORTS.values() for name in report} | {"usage", "total_tokens"})
PARTS = ["cached_tokens", "cache_write_tokens", "reasoning_tokens", "audio_tokens", "cache_read", "thinking_tokens"]
NUMBERS = (
    st.none() | st.integers(-5, 10**6) | st.integers() | st.floats() | st.text(max_size=2) | st.booleans()
    | st.sampled_from([2**53, 2**53 + 1, 2**63, 10**400])
)  # fmt: skip
COUNTS = NUMBERS | st.dictionaries(st.sampled_from(PARTS), NUMBERS, max_size=4) | st.lists(NUMBERS, max_size=1)


@given(st.dictionaries(st.sampled_from(NAMES), COUNTS, max_size=10), st.booleans())
def test_parts_never_exceed_their_whole(report: dict[str, Any], as_object: bool) -> None:
    usage = usage_of(PLAIN["attributes"](report) if as_object else report)
    if usage is None:
        return
    assert min(usage.prompt_tokens, usage.completion_tokens) >= 0
    assert (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.prompt_tokens
    assert (usage.audio_input_tokens or 0) <= usage.prompt_tokens
    assert max(usage.reasoning_tokens or 0, usage.audio_output_tokens or 0) <= usage.completion_tokens


@pytest.mark.parametrize("report", [None, "10", [], {}, object(), 5, {"input_tokens": "5"}, {"usage": {"usage": {}}}])
def test_no_counts_mean_no_usage(report: object) -> None:
    assert usage_of(report) is None

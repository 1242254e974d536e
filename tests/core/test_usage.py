"""Usage: inclusive totals with parts that never exceed them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.usage import Usage, usage_from_openai


def test_a_full_report() -> None:
    assert usage_from_openai(
        {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 30, "audio_tokens": 5},
            "completion_tokens_details": {"reasoning_tokens": 8, "audio_tokens": 2},
        }
    ) == Usage(100, 20, cache_read_tokens=30, audio_input_tokens=5, reasoning_tokens=8, audio_output_tokens=2)


@pytest.mark.parametrize("report", [None, "10", [], {}, {"prompt_tokens": None}, {"prompt_tokens": "7"}, 5, True])
def test_no_counts_mean_no_usage(report: object) -> None:
    assert usage_from_openai(report) is None


def test_missing_halves_come_from_the_total() -> None:
    assert usage_from_openai({"prompt_tokens": 10, "total_tokens": 15}) == Usage(10, 5)
    assert usage_from_openai({"completion_tokens": 5, "total_tokens": 15}) == Usage(10, 5)
    assert usage_from_openai({"prompt_tokens": 10}) == Usage(10, 0)


COUNTS = st.none() | st.integers(-5, 10**7) | st.floats() | st.text(max_size=2) | st.booleans()


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), COUNTS), COUNTS, COUNTS)
def test_parts_never_exceed_their_whole(report: dict[str, object], cached: object, reasoning: object) -> None:
    usage = usage_from_openai(
        {
            **report,
            "prompt_tokens_details": {"cached_tokens": cached, "cache_creation_tokens": reasoning},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }
    )
    if usage is None:
        return
    assert min(usage.prompt_tokens, usage.completion_tokens) >= 0
    assert (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0) <= usage.prompt_tokens
    assert (usage.reasoning_tokens or 0) <= usage.completion_tokens


def test_sums_keep_unknown_parts_unknown() -> None:
    total = Usage(1, 2, cache_read_tokens=1) + Usage(10, 20, reasoning_tokens=4)
    assert total == Usage(11, 22, cache_read_tokens=1, reasoning_tokens=4)
    assert total.total_tokens == 33

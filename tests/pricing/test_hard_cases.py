"""Prices under other names of a model, tiers without a price, and counts that providers report oddly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from looopy_otel.core.model_price import ModelPrice
from looopy_otel.core.usage import Usage, usage_of
from looopy_otel.pricing.cost import cost_of
from looopy_otel.pricing.price_list import PriceList

BEDROCK = "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0"


@pytest.mark.parametrize(
    ("key", "asked", "answered", "system"),
    [
        ("gpt-4o", "azure/my-deployment", "gpt-4o-2024-08-06", None),
        ("azure/gpt-4o", "azure/my-deployment", "gpt-4o-2024-08-06", None),
        ("azure/gpt-4o", "gpt-4o", "gpt-4o-2024-08-06", "azure.ai.openai"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929", None, "anthropic"),
        ("claude-3-5-sonnet-20241022", BEDROCK, None, None),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", BEDROCK, None, None),
    ],
)
def test_a_price_holds_for_other_forms_of_its_name(
    key: str, asked: str, answered: str | None, system: str | None
) -> None:
    prices = PriceList([ModelPrice(key, {"input": Decimal(77)})])
    cost = cost_of(Usage(1_000_000, 0), request_model=asked, response_model=answered, system=system, prices=prices)
    assert cost is not None
    assert (cost.total, cost.source) == (Decimal(77), "override")


def test_a_pattern_that_says_more_stands_above_a_shortened_name() -> None:
    prices = PriceList([ModelPrice(name, {}) for name in ("gpt-4o", "gpt-4o-2024-05-*", "*")])
    assert [
        found.model for name in ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "other") if (found := prices.find(name))
    ] == [
        "gpt-4o-2024-05-*",
        "gpt-4o",
        "*",
    ]


@pytest.mark.parametrize("tier", ["batch", "flex", "priority"])
def test_a_tier_without_a_price_is_unknown(tier: str) -> None:
    assert cost_of(Usage(10, 10), request_model="gpt-3.5-turbo-1106", response_model=None, service_tier="default")
    priced = cost_of(Usage(10, 10), request_model="groq/llama-3.1-8b-instant", response_model=None, service_tier=tier)
    assert priced is None


def test_a_fast_answer_without_a_price_of_its_own_is_unknown() -> None:
    for speed, known in ((None, True), ("standard", True), ("fast", False)):
        cost = cost_of(Usage(10, 10), request_model="claude-opus-4-6", response_model=None, speed=speed)
        assert (cost is not None) is known


@pytest.mark.parametrize(
    ("requested", "answered", "system"),
    [
        ("snowflake/deepseek-r1", None, None),
        ("gmi/anthropic/claude-opus-4.5", "anthropic/claude-opus-4.5", "gmi"),
        ("gmi/anthropic/claude-opus-4.5", "anthropic/claude-opus-4.5", "openai"),
        ("my-alias", "anthropic/claude-opus-4.5", "gmi"),
        ("chatgpt/gpt-4o", "gpt-4o-2024-08-06", "openai"),
        ("hosted_vllm/gpt-4o", "gpt-4o", "openai"),
        ("openai_like/gpt-4o", None, None),
    ],
)
def test_what_another_seller_asks_says_nothing(requested: str, answered: str | None, system: str | None) -> None:
    assert cost_of(Usage(10, 10), request_model=requested, response_model=answered, system=system) is None


@pytest.mark.parametrize(
    ("requested", "answered"),
    [("my-proxy-alias/gpt-4o", None), ("my-proxy-alias/gpt-4o", "gpt-4o"), ("snowflake/deepseek-r1", "gpt-4o")],
)
def test_an_alias_costs_what_its_name_says_and_a_fallback_what_answered(requested: str, answered: str | None) -> None:
    cost = cost_of(Usage(1_000_000, 0), request_model=requested, response_model=answered)
    assert cost is not None
    assert cost.total == Decimal("2.5")


def test_a_cost_that_no_call_has_is_unknown() -> None:
    assert cost_of(Usage(10, 2**52), request_model="gpt-4o", response_model=None) is None
    dear = PriceList([ModelPrice("house", {"input": Decimal(10) ** 9})])
    assert cost_of(Usage(1000, 0), request_model="house", response_model=None, prices=dear) is not None
    assert cost_of(Usage(1001, 0), request_model="house", response_model=None, prices=dear) is None


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            {"prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 133}
            | {"completion_tokens_details": {"reasoning_tokens": 92}},
            Usage(32, 101, reasoning_tokens=92),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 1030}, Usage(10, 1020)),
        ({"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 5}, Usage(10, 20)),
        (
            {"prompt_tokens": 1000, "completion_tokens": 20, "cached_tokens": 900},
            Usage(1000, 20, cache_read_tokens=900),
        ),
        ({"prompt_tokens": Decimal(5), "completion_tokens": Decimal("NaN")}, None),
        ({"prompt_tokens": Decimal(5), "completion_tokens": Decimal("NaN"), "total_tokens": 7}, Usage(5, 2)),
        ({"prompt_tokens": -5, "completion_tokens": 20}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 500}, None),
        (
            {"prompt_tokens": 6000, "completion_tokens": 100, "total_tokens": 9100}
            | {"prompt_tokens_details": {"cached_tokens": 2000}},
            Usage(6000, 3100, cache_read_tokens=2000),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 165}
            | {"cache_read_input_tokens": 100, "cache_creation_input_tokens": 50},
            Usage(10, 5, cache_read_tokens=10, cache_write_tokens=0),
        ),
        ({"prompt_tokens": 1000, "completion_tokens": -5, "total_tokens": 995}, None),
        ({"input_tokens": "10", "output_tokens": 5}, None),
        ({"input_tokens": -1, "output_tokens": 5, "total_tokens": 4}, None),
        ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": "100"}, None),
        ({"inputTokens": 10, "outputTokens": -5}, None),
        ({"promptTokenCount": "10", "candidatesTokenCount": 5}, None),
        ({"thoughtsTokenCount": 500, "totalTokenCount": 510}, Usage(10, 500, reasoning_tokens=500)),
        ({"candidatesTokenCount": 5, "totalTokenCount": 510}, Usage(505, 5)),
        ({"promptTokenCount": 10, "thoughtsTokenCount": 5, "totalTokenCount": 35}, Usage(10, 25, reasoning_tokens=5)),
        ({"promptTokenCount": 10, "responseTokenCount": 50, "totalTokenCount": 60}, Usage(10, 50)),
        *(
            (
                {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500}
                | {"input_token_details": {f"{tier}cache_read": 800, f"{tier}cache_creation": 50}}
                | {"output_token_details": {f"{tier}reasoning": 400}},
                Usage(1000, 500, cache_read_tokens=800, cache_write_tokens=50, reasoning_tokens=400),
            )
            for tier in ("", "flex_", "priority_")
        ),
    ],
)
def test_odd_counts(reported: dict[str, Any], usage: Usage | None) -> None:
    assert usage_of(reported) == usage

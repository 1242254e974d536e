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
        ({"prompt_tokens": Decimal(5), "completion_tokens": Decimal("NaN")}, Usage(5, 0)),
        ({"prompt_tokens": -5, "completion_tokens": 20}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 500}, None),
    ],
)
def test_odd_counts(reported: dict[str, Any], usage: Usage | None) -> None:
    assert usage_of(reported) == usage

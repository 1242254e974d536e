"""Cost: precedence of sources, names as people write them, exact amounts, and None for what is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

import pytest
from genai_prices.data_snapshot import DataSnapshot, get_snapshot, set_custom_snapshot
from genai_prices.types import ModelPrice
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.draft import Cost, LLMDraft
from looopy_otel.core.identity import NOBODY
from looopy_otel.core.usage import Usage
from looopy_otel.pricing.cost import FREE_TABLE, cost_of, is_free, priced
from looopy_otel.pricing.table import table_version

THOUSAND = Usage(1000, 100)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
FREE = Cost(Decimal(0), Decimal(0), Decimal(0), source="price-table", table=FREE_TABLE)

# The price of 1000 tokens in and 100 out, in USD; None is stated: the table has no price for that name.
SUPPORTED: list[tuple[str, str, str | None]] = [
    ("gpt-4", "openai", "0.036"),
    ("gpt-4-turbo-preview", "openai", "0.013"),
    ("gpt-4-32k", "openai", "0.072"),
    ("gpt-3.5-turbo", "openai", "0.00065"),
    ("gpt-3.5-turbo-16k", "openai", "0.0034"),
    ("claude-3-opus-20240229", "anthropic", "0.0225"),
    ("claude-3-sonnet-20240229", "anthropic", "0.0045"),
    ("claude-3-haiku-20240307", "anthropic", "0.000375"),
    ("claude-2.1", "anthropic", "0.0104"),
    ("claude-instant-1.2", "anthropic", None),
    ("gemini-pro", "google", "0.0001625"),
    ("gemini-pro-vision", "google", None),
    ("palm/chat-bison", "google", None),
    ("command-r-plus", "cohere", "0.0035"),
    ("command-r", "cohere", "0.00021"),
    ("command", "cohere", "0.0012"),
    ("command-light", "cohere", "0.00036"),
    ("ollama/llama2", "ollama", "0"),
    ("ollama/mistral", "ollama", "0"),
    ("ollama/codellama", "ollama", "0"),
    ("ollama/neural-chat", "ollama", "0"),
    ("azure/gpt-4", "azure", "0.036"),
    ("azure/gpt-35-turbo", "azure", "0.00065"),
    ("bedrock/claude-3-opus", "bedrock", "0.0225"),
    ("bedrock/titan-text-express", "bedrock", "0.00026"),
]


def test_there_are_twenty_five_supported_models() -> None:
    assert len({model for model, _, _ in SUPPORTED}) == 25


@pytest.mark.parametrize(("model", "system", "total"), SUPPORTED)
def test_supported_models_have_a_price_or_are_stated_unknown(model: str, system: str, total: str | None) -> None:
    cost = cost_of(THOUSAND, request_model=model, response_model=None, system=system, at=NOVEMBER)
    assert (None if cost is None else cost.total) == (None if total is None else Decimal(total))
    if cost is not None and cost != FREE:
        assert (cost.source, cost.table) == ("price-table", table_version())
        assert cost.input is not None
        assert cost.output is not None
        assert cost.input + cost.output == cost.total


@pytest.mark.parametrize(
    ("requested", "answered", "system", "total"),
    [
        ("my-alias", "gpt-4-0613", "litellm", "0.036"),
        ("my-alias", None, "litellm", None),
        ("my-team/gpt-4", None, None, "0.036"),
        ("openrouter/anthropic/claude-3-opus", None, "openrouter", "0.0225"),
        ("gemini/gemini-pro", "gemini-pro", "google", "0.0001625"),
        ("gpt-4", "claude-3-opus-20240229", "openai", "0.0225"),
        ("gpt-4", "something-new", "openai", "0.036"),
        ("azure/my-deployment", "gpt-4-0613", "azure", "0.036"),
        ("azure/my-deployment", None, "azure", None),
        ("bedrock/x", "anthropic.claude-3-opus-20240229-v1:0", "bedrock", "0.0225"),
        ("hosted_vllm/gpt-4", None, None, None),
        ("", None, None, None),
    ],
)
def test_names(requested: str, answered: str | None, system: str | None, total: str | None) -> None:
    cost = cost_of(THOUSAND, request_model=requested, response_model=answered, system=system)
    assert (None if cost is None else cost.total) == (None if total is None else Decimal(total))


@pytest.mark.parametrize(
    ("requested", "answered", "system", "free"),
    [
        ("ollama/llama2", None, "ollama", True),
        ("ollama_chat/llama2", "llama2:latest", "ollama", True),
        ("ollama/llama2", "ollama/llama2", "ollama", True),
        ("local-llama", "llama2", "ollama", True),
        ("local-llama", "ollama/llama2", "litellm", True),
        ("ollama/llama2", "gpt-4", "ollama", False),
        ("mistral", None, "mistral", False),
        ("gpt-4", None, None, False),
    ],
)
def test_what_is_free(requested: str, answered: str | None, system: str | None, free: bool) -> None:
    assert is_free(requested, answered, system) is free


def test_a_fallback_from_a_free_model_is_not_free() -> None:
    cost = cost_of(THOUSAND, request_model="ollama/llama2", response_model="gpt-4", system="ollama")
    assert cost is not None
    assert cost.total == Decimal("0.036")


@pytest.mark.parametrize(
    ("reported", "model", "expected"),
    [
        ("0.0068", "gpt-4", Cost(Decimal("0.0068"), source="provider")),
        ("0.0068", "unheard-of", Cost(Decimal("0.0068"), source="provider")),
        ("0", "unheard-of", None),
        ("-1", "unheard-of", None),
        ("NaN", "unheard-of", None),
        ("0", "ollama/llama2", Cost(Decimal(0), source="provider")),
        (None, "ollama/llama2", FREE),
    ],
)
def test_what_the_provider_reports_wins_and_its_zero_means_unknown(
    reported: str | None, model: str, expected: Cost | None
) -> None:
    amount = None if reported is None else Decimal(reported)
    assert cost_of(THOUSAND, request_model=model, response_model=None, reported=amount) == expected


def test_without_usage_only_a_reported_cost_is_known() -> None:
    assert cost_of(None, request_model="gpt-4", response_model=None) is None
    assert cost_of(None, request_model="gpt-4", response_model=None, reported=Decimal(1)) == Cost(
        Decimal(1), source="provider"
    )


def cost_of_gpt4o(usage: Usage, **options: Any) -> Decimal:
    cost = cost_of(usage, request_model="gpt-4o", response_model=None, system="openai", **options)
    assert cost is not None
    return cost.total


def test_cached_tokens_are_cheaper_and_counted_once() -> None:
    plain, cached = cost_of_gpt4o(Usage(1000, 0)), cost_of_gpt4o(Usage(1000, 0, cache_read_tokens=1000))
    half = cost_of_gpt4o(Usage(1000, 0, cache_read_tokens=500))
    assert cached < plain
    assert half == (plain + cached) / 2


def test_reasoning_is_a_part_of_the_output() -> None:
    assert cost_of_gpt4o(Usage(0, 100, reasoning_tokens=60)) == cost_of_gpt4o(Usage(0, 100))


@pytest.mark.parametrize(("tier", "share"), [("flex", "0.5"), ("batch", "0.5"), ("default", "1"), ("auto", "1")])
def test_a_service_tier_has_its_own_price(tier: str, share: str) -> None:
    plain = cost_of(THOUSAND, request_model="gpt-5", response_model=None, at=NOVEMBER)
    tiered = cost_of(THOUSAND, request_model="gpt-5", response_model=None, at=NOVEMBER, service_tier=tier)
    assert plain is not None
    assert tiered is not None
    assert tiered.total == plain.total * Decimal(share)


def test_speed_has_its_own_price() -> None:
    plain = cost_of(THOUSAND, request_model="claude-opus-4-8", response_model=None, at=NOVEMBER)
    fast = cost_of(THOUSAND, request_model="claude-opus-4-8", response_model=None, at=NOVEMBER, speed="fast")
    assert plain is not None
    assert fast is not None
    assert fast.total == plain.total * 2


counts = st.integers(0, 10**7)
parts = st.none() | counts


@given(st.builds(Usage, counts, counts, *[parts] * 13))
def test_any_usage_has_an_exact_price(usage: Usage) -> None:
    cost = cost_of(usage, request_model="gemini-2.5-pro", response_model=None)
    assert cost is not None
    assert cost.input is not None
    assert cost.output is not None
    assert Decimal(0) <= cost.total == cost.input + cost.output == sum(cost.parts.values())


names = st.text(max_size=30) | st.builds(
    "{}/{}".format,
    st.sampled_from(["azure", "bedrock", "openrouter", "ollama", "litellm_proxy", "litellm_proxy/litellm_proxy", ""]),
    st.sampled_from(["gpt-4o", "x/y", "", "/", "gpt-35-", "claude-3-opus", "a-2026-01-01", ":free"]),
)


@given(names, st.none() | names, st.none() | names, st.builds(Usage, counts, counts, *[parts] * 13))
def test_no_name_breaks_it_and_no_cost_is_negative(
    requested: str, answered: str | None, system: str | None, usage: Usage
) -> None:
    cost = cost_of(usage, request_model=requested, response_model=answered, system=system)
    assert cost is None or cost.total >= 0


def test_the_precision_that_an_application_sets_changes_no_cost() -> None:
    with localcontext(prec=2):
        cost = cost_of(Usage(123_457, 0), request_model="gpt-4o", response_model=None, system="openai")
    assert cost is not None
    assert cost.total == Decimal("0.3086425")


@pytest.fixture
def newer_table() -> Iterator[None]:
    bundled = get_snapshot()
    dearer = deepcopy(next(one for one in bundled.providers if one.id == "openai"))
    model = next(one for one in dearer.models if one.id == "gpt-4o")
    model.prices = ModelPrice(input_mtok=Decimal(1000), output_mtok=Decimal(0))
    set_custom_snapshot(DataSnapshot([dearer], from_auto_update=True, timestamp=datetime(2027, 1, 2)))
    yield
    set_custom_snapshot(None)


def test_a_table_that_the_application_updates_is_used_and_says_of_which_day_it_is(newer_table: None) -> None:
    cost = cost_of(THOUSAND, request_model="gpt-4o", response_model=None, system="openai")
    assert cost is not None
    assert cost.total == 1
    assert str(cost.table).endswith(" of 2027-01-02")


DRAFT = LLMDraft(
    name="llm.call",
    start_time=1_730_000_000_000_000_000,
    end_time=1_730_000_001_000_000_000,
    identity=NOBODY,
    request_model="gpt-4",
    system="openai",
    usage=THOUSAND,
)


def test_priced_fills_in_the_cost() -> None:
    cost = priced(DRAFT).cost
    assert cost is not None
    assert (cost.total, cost.source) == (Decimal("0.036"), "price-table")
    reported = priced(replace(DRAFT, reported_cost=Decimal("0.0068"))).cost
    assert reported == Cost(Decimal("0.0068"), source="provider")


def test_priced_leaves_a_cost_that_is_there_and_an_unknown_one() -> None:
    override = replace(DRAFT, cost=Cost(Decimal(1), source="override"))
    assert priced(override) is override
    unknown = replace(DRAFT, request_model="unheard-of")
    assert priced(unknown) is unknown


def test_a_price_is_that_of_the_day_of_the_call() -> None:
    def at(moment: datetime) -> Cost | None:
        return cost_of(THOUSAND, request_model="gpt-5", response_model=None, at=moment, service_tier="flex")

    assert at(datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert at(NOVEMBER) is not None


def test_priced_asks_for_the_tier_that_was_sent() -> None:
    call = replace(DRAFT, request_model="gpt-5", start_time=int(NOVEMBER.timestamp() * 1e9))
    plain, flex = priced(call).cost, priced(replace(call, parameters={"service_tier": "flex"})).cost
    assert plain is not None
    assert flex is not None
    assert flex.total < plain.total


def test_the_tier_that_served_the_call_stands_above_the_one_asked_for() -> None:
    call = replace(DRAFT, request_model="gpt-5", start_time=int(NOVEMBER.timestamp() * 1e9))
    asked = replace(call, parameters={"service_tier": "flex"})
    assert priced(replace(asked, service_tier="default")).cost == priced(call).cost


def test_the_table_says_which_it_is() -> None:
    assert table_version().startswith("genai-prices ")


def test_embeddings_have_a_price() -> None:
    call = replace(DRAFT, operation="embeddings", request_model="text-embedding-3-small", usage=Usage(1_000_000, 0))
    cost = priced(replace(call, system="openai", response_model=None)).cost
    assert cost is not None
    assert (cost.total, cost.source) == (Decimal("0.02"), "price-table")

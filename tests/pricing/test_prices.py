"""The user's own prices: where they come from, which of them counts, and what is wrong with wrong ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.agent import Budget
from looopy_otel.core.config import prices_of_environment, resolve
from looopy_otel.core.draft import Cost
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.settings import Options
from looopy_otel.core.usage import Usage
from looopy_otel.pricing.cost import cost_of
from looopy_otel.pricing.price_list import PriceList
from looopy_otel.providers import Reply, ScriptedProvider
from looopy_otel.testing import capture_spans

USAGE = Usage(1000, 100, cache_read_tokens=400, cache_write_tokens=200, cache_write_1h_tokens=50, reasoning_tokens=60)


def listed(prices: object) -> PriceList:
    return PriceList(resolve(Options(prices=prices), {}).prices)


def cost(prices: object, requested: str, answered: str | None = None, system: str | None = None) -> Cost | None:
    return cost_of(USAGE, request_model=requested, response_model=answered, system=system, prices=listed(prices))


def test_each_part_has_its_price_and_else_that_of_the_wider_part() -> None:
    own = cost(
        {"m": {"input": 2, "output": "10", "cache_read": Decimal("0.2"), "cache_write": 2.5, "cache_write_1h": 4}}, "m"
    )
    assert own is not None
    assert own.parts == {
        "input": Decimal("0.0008"),  # 400 at 2
        "cache_read": Decimal("0.00008"),  # 400 at 0.2
        "cache_write": Decimal("0.000375"),  # 150 at 2.5
        "cache_write_1h": Decimal("0.0002"),  # 50 at 4
        "output": Decimal("0.0004"),  # 40 at 10
        "reasoning": Decimal("0.0006"),  # 60 at 10
    }
    assert (own.total, own.source, own.table) == (Decimal("0.002455"), "override", None)
    wide = cost({"m": {"input": 2, "output": 10}}, "m")
    assert wide is not None
    assert wide.total == Decimal("0.003")


@pytest.mark.parametrize(
    ("names", "requested", "answered", "system", "input_price"),
    [
        (["gpt-4o"], "openai/gpt-4o", None, None, 0),
        (["openai/gpt-4o"], "gpt-4o", None, "openai", 0),
        (["azure/gpt-4o", "gpt-4o"], "gpt-4o", None, "azure", 0),
        (["azure/gpt-4o", "gpt-4o"], "gpt-4o", None, "openai", 1),
        (["My-Alias"], "my-alias", "gpt-4o-2024-08-06", "litellm", 0),
        (["my-alias", "gpt-4o-2024-08-06"], "my-alias", "gpt-4o-2024-08-06", None, 1),
        (["gpt-*", "my-alias"], "my-alias", "gpt-4o", None, 1),
        (["*", "gpt-4*", "gpt-*"], "gpt-4o", None, None, 1),
        (["team-?/*"], "team-a/anything", None, None, 0),
        (["*"], "whatever", None, None, 0),
    ],
)
def test_which_price_counts(
    names: list[str], requested: str, answered: str | None, system: str | None, input_price: int
) -> None:
    prices = {name: {"input": number + 1, "output": 0} for number, name in enumerate(names)}
    found = cost(prices, requested, answered, system)
    assert found is not None
    assert found.total == Decimal(1000 * (input_price + 1)) / 1_000_000


def test_what_is_reported_stands_above_an_override_and_an_override_above_the_table() -> None:
    both: dict[str, Any] = {
        "request_model": "gpt-4o",
        "response_model": None,
        "prices": listed({"gpt-4o": {"input": 100, "output": 100}}),
    }
    reported = cost_of(USAGE, reported=Decimal("0.5"), **both)
    assert reported == Cost(Decimal("0.5"), source="provider")
    zero = cost_of(USAGE, reported=Decimal(0), **both)
    assert zero is not None
    assert (zero.total, zero.source) == (Decimal("0.11"), "override")


def test_a_model_that_the_user_calls_free_is_free() -> None:
    prices = {"local/*": {"input": 0, "output": 0}}
    free = cost(prices, "local/llama")
    assert free is not None
    assert (free.total, free.source) == (0, "override")
    told = cost_of(None, request_model="local/llama", response_model=None, reported=Decimal(0), prices=listed(prices))
    assert told == Cost(Decimal(0), source="provider")


def test_a_price_for_what_was_not_used_is_not_needed_and_for_what_was_used_it_is() -> None:
    assert cost({"m": {"input": 1}}, "m") is None
    embedded = cost_of(Usage(10, 0), request_model="m", response_model=None, prices=listed({"m": {"input": 1}}))
    assert embedded is not None
    assert embedded.total == Decimal("0.00001")


def test_a_price_per_call() -> None:
    alone = cost_of(None, request_model="m", response_model=None, prices=listed({"m": {"request": "0.005"}}))
    assert alone is not None
    assert (alone.total, alone.parts) == (Decimal("0.005"), {"request": Decimal("0.005")})
    beside = cost({"m": {"input": 1, "output": 1, "request": "0.005"}}, "m")
    assert beside is not None
    assert beside.total == Decimal("0.0061")


JSON = '{"my-model": {"input": 0.1, "output": 0.3}}'
TOML = '["my-model"]\ninput = 0.1\noutput = 0.3\n'


@pytest.mark.parametrize(("name", "text"), [("prices.json", JSON), ("prices.toml", TOML)])
def test_prices_come_from_a_file(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    for prices in (
        resolve(Options(prices=path), {}).prices,
        resolve(Options(prices=str(path)), {}).prices,
        resolve(Options(), {"LOOOPY_OTEL_PRICES": str(path)}).prices,
        prices_of_environment({"LOOOPY_OTEL_PRICES": str(path)}),
    ):
        (price,) = prices
        assert price.model == "my-model"
        assert price.rates == {"input": Decimal("0.1"), "output": Decimal("0.3")}, "exact, not a binary fraction"


def test_an_argument_stands_above_the_environment() -> None:
    settings = resolve(Options(prices={"m": {"input": 1}}), {"LOOOPY_OTEL_PRICES": "/nowhere/prices.json"})
    assert [price.model for price in settings.prices] == ["m"]


def test_all_that_is_wrong_is_named_at_once() -> None:
    wrong: Mapping[str, Any] = {
        "a": {"inputt": 1, "output": -1},
        "b": {},
        "c": {"input": "cheap", "output": float("nan"), "request": True},
        " ": {"input": 1},
        "gpt-3": {"5-turbo": {"input": 1}},
    }
    with pytest.raises(ConfigurationError) as raised:
        resolve(Options(prices=wrong), {})
    text = str(raised.value)
    for part in (
        "prices['a']['inputt']: is unknown; prices are given for input, cache_read,",
        "prices['a']['output']: must be a number of USD per million tokens, 0 or more, not -1",
        "prices['b']: must say at least what 'input' costs",
        "prices['c']['input']: must be a number of USD per million tokens, 0 or more, not 'cheap'",
        "prices['c']['output']: must be",
        "prices['c']['request']: must be a number of USD per call",
        "' ' is not the name of a model",
        "prices['gpt-3']['5-turbo']: is a table, not a number; in TOML a model's name with a dot stands in quotes",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("none.json", None, "cannot be read: No such file or directory"),
        ("broken.json", "{", "is neither TOML (*.toml) nor JSON: "),
        ("broken.toml", "[", "is neither TOML (*.toml) nor JSON: "),
        ("list.json", "[1]", "must be a mapping"),
        ("wrong.json", '{"m": {"x": 1}}', "['m']['x']: is unknown"),
    ],
)
def test_a_wrong_file_is_named(name: str, text: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        prices_of_environment({"LOOOPY_OTEL_PRICES": str(path)})
    assert f"LOOOPY_OTEL_PRICES ({path})" in str(raised.value)
    assert problem in str(raised.value)


@pytest.mark.parametrize("said", [7, ["m"], {"m": 3}])
def test_prices_are_a_mapping_or_a_path(said: object) -> None:
    with pytest.raises(ConfigurationError, match="prices"):
        resolve(Options(prices=said), {})


def ask(model: str = "house-model", provider: ScriptedProvider | None = None) -> None:
    reply = Reply(text="Hello!", usage={"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100})
    (provider or ScriptedProvider([reply], model=model)).call_sync(messages=[{"role": "user", "content": "Hi"}])


def test_configured_prices_stand_on_the_span(tmp_path: Path) -> None:
    database = tmp_path / "traces.db"
    with lo.configure(exporters="local", database=database, prices={"house-*": {"input": 2, "output": 10}}) as running:
        ask()
        running.flush()
        assert running.stats().unpriced_calls == {}
    from looopy_otel.store.sqlite import Store

    with Store(database, read_only=True) as store:
        (summary,) = store.traces()
        (span,) = store.spans(summary.trace_id)
    assert summary.cost == Decimal("0.003")
    draft = span.draft
    assert draft is not None
    assert draft.kind == "llm"
    assert draft.cost is not None
    assert draft.cost.source == "override"


def test_an_unknown_model_is_counted_and_warned_of_once_with_the_cure(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "looopy_otel"), capture_spans() as captured:
        ask()
        ask()
        sent = [dict(span.attributes or {}) for span in captured.spans()]
        stats = captured.telemetry.stats()
    assert stats.unpriced_calls == {"house-model": 2}
    warnings = [record.getMessage() for record in caplog.records if "no price is known" in record.getMessage()]
    assert len(warnings) == 1
    assert "configure(prices={'house-model': {'input': …, 'output': …}})" in warnings[0]
    assert [attributes["llm.cost.source"] for attributes in sent] == ["unknown", "unknown"]
    assert not any("gen_ai.usage.cost" in attributes for attributes in sent)


async def test_a_budget_counts_by_the_prices_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"house-model": {"input": 1000, "output": 0}}')
    monkeypatch.setenv("LOOOPY_OTEL_PRICES", str(path))
    from looopy_otel.pricing import in_force

    monkeypatch.setattr(in_force, "_in_force", in_force.PricesInForce())
    reply = Reply(text="Hello!", usage={"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100})
    provider = ScriptedProvider([reply], model="house-model", middleware=[Budget(max_cost_usd=1)])
    await provider.call(messages=[{"role": "user", "content": "Hi"}])
    with pytest.raises(lo.LooopyError, match="max_cost_usd=1, used 1 in 1 LLM"):
        await provider.call(messages=[{"role": "user", "content": "Hi"}])

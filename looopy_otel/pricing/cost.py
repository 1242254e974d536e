"""What a call cost: as the provider reported it, else by the user's prices, else by the price table, else unknown.

Unknown is never 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import Final

from looopy_otel.core.draft import CallPart, Cost, LLMDraft
from looopy_otel.core.model_price import PER_REQUEST
from looopy_otel.core.money import NOTHING, plus, price_of_tokens, total_of
from looopy_otel.core.shapes.cost import is_believable
from looopy_otel.core.types import CostSource
from looopy_otel.core.usage import Usage
from looopy_otel.core.usage_parts import INPUT_PARTS, OUTPUT_PARTS, disjoint_parts
from looopy_otel.pricing.names import candidates, is_form_of, is_sold_at_prices_unknown, undated
from looopy_otel.pricing.price_list import NO_PRICES, PriceList
from looopy_otel.pricing.table import TablePrice, table_price, table_version

FREE_TABLE: Final = "free"
"""What `Cost.table` says of a model that costs nothing."""

_OLLAMA: Final = frozenset({"ollama", "ollama_chat"})
_FREE_SUFFIX: Final = ":free"
"""How OpenRouter marks what it serves for nothing."""

_WIDER: Final[Mapping[str, str]] = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_5m": "cache_write",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "input_image": "input",
    "reasoning": "output",
    "output_audio": "output",
    "output_image": "output",
}
"""What costs as much where a part has no price of its own."""


def cost_of(
    usage: Usage | None,
    *,
    request_model: str,
    response_model: str | None,
    system: str | None = None,
    reported: Decimal | None = None,
    at: datetime | None = None,
    service_tier: str | None = None,
    speed: str | None = None,
    prices: PriceList = NO_PRICES,
) -> Cost | None:
    """Says what a call cost.

    What the provider reported wins (source ``provider``). Otherwise the user's prices decide (``override``), then the
    price table (``price-table``): each by the model that answered, then by the one asked for. A prefix names the
    provider and is stripped. Models that Ollama serves, and those that OpenRouter calls ``:free``, cost nothing
    (``price-table``, table ``free``).

    Args:
        usage: Inclusive counts; None finds a reported cost, and a price per call, only.
        request_model: The model asked for.
        response_model: The model that answered, or None.
        system: ``gen_ai.system``: the provider where the model's name does not say it.
        reported: USD. 0 counts as unknown, as a proxy says 0 of what it has no price for, unless the model is free.
        at: When the call was made, with a time zone; now by default.
        service_tier: The tier that served the call, else the one asked for; it may have its own prices, as ``batch``.
        speed: Anthropic's ``speed``, which may have its own prices.
        prices: The user's prices.

    Returns:
        The cost, exact, or None when it is unknown; a computed one that no call costs (`DEAREST_CALL`) is unknown too.
    """
    override = prices.find(response_model, request_model, system=system)
    free = override.is_free if override is not None else is_free(request_model, response_model, system)
    if reported is not None and reported.is_finite() and (reported > 0 or (free and reported == 0)):
        return Cost(total=reported, source="provider")
    if override is not None:
        return _amount(usage, TablePrice(override.rates, override.per_request), "override")
    if free:
        return Cost(total=NOTHING, input=NOTHING, output=NOTHING, source="price-table", table=FREE_TABLE)
    if usage is None:
        return None
    circumstances = _circumstances(service_tier, speed)
    for name, provider in _names(request_model, response_model, system):
        found = table_price(name, provider, prompt_tokens=usage.prompt_tokens, at=at, circumstances=circumstances)
        cost = _by_table(usage, found)
        if cost is not None:
            return cost
    return None


def is_free(request_model: str, response_model: str | None = None, system: str | None = None) -> bool:
    """True for a model that is known to cost nothing: one that Ollama serves, or that OpenRouter gives away.

    Not so where another model answered in its place, as proxies arrange it when the first one fails.
    """
    prefix, slash, name = request_model.partition("/")
    if response_model is not None and (
        response_model.partition("/")[0] in _OLLAMA or response_model.endswith(_FREE_SUFFIX)
    ):
        return True
    if prefix in _OLLAMA:
        return response_model is None or _without_tag(response_model) == _without_tag(name)
    if request_model.endswith(_FREE_SUFFIX):
        return response_model is None or _last_name(response_model) == _last_name(request_model)
    return not slash and system in _OLLAMA


def priced(draft: LLMDraft, prices: PriceList = NO_PRICES) -> LLMDraft:
    """Gives the draft with its cost; one that has a cost already, or whose cost is unknown, comes back as it is.

    Args:
        draft: An LLM call.
        prices: The user's prices.
    """
    if draft.cost is not None:
        return draft
    whole = CallPart(
        request_model=draft.request_model,
        response_model=draft.response_model,
        system=draft.system,
        usage=draft.usage,
        reported_cost=draft.reported_cost,
        service_tier=draft.service_tier,
    )
    asked_tier = text_parameter(draft.parameters, "service_tier")
    parts = draft.parts if draft.reported_cost is None and draft.parts else (whole,)
    costs = [
        cost_of(
            part.usage,
            request_model=part.request_model,
            response_model=part.response_model,
            system=part.system,
            reported=part.reported_cost,
            at=datetime.fromtimestamp(draft.start_time / 1e9, UTC),
            service_tier=part.service_tier or asked_tier,
            speed=text_parameter(draft.parameters, "speed"),
            prices=prices,
        )
        for part in parts
    ]
    known = [cost for cost in costs if cost is not None]
    return replace(draft, cost=reduce(_sum, known)) if known and len(known) == len(costs) else draft


def _sum(one: Cost, other: Cost) -> Cost:
    """The cost of two calls together; its parts only where both tell theirs."""
    names = {**one.parts, **other.parts} if one.parts and other.parts else {}
    return Cost(
        total=plus(one.total, other.total),
        input=None if one.input is None or other.input is None else plus(one.input, other.input),
        output=None if one.output is None or other.output is None else plus(one.output, other.output),
        # Of two sources the less exact one: what is calculated is not what was charged.
        source=_SOURCES[max(_SOURCES.index(one.source), _SOURCES.index(other.source))],
        table=one.table or other.table,
        parts={name: plus(one.parts.get(name, NOTHING), other.parts.get(name, NOTHING)) for name in names},
    )


_SOURCES: Final[tuple[CostSource, ...]] = ("provider", "override", "price-table", "unknown")


def text_parameter(parameters: Mapping[str, object], name: str) -> str | None:
    """A parameter of a request, where it is a text."""
    value = parameters.get(name)
    return value if isinstance(value, str) else None


def _without_tag(model: str) -> str:
    return model.partition(":")[0]


def _last_name(model: str) -> str:
    return _without_tag(model.rpartition("/")[2])


def _names(request_model: str, response_model: str | None, system: str | None) -> Iterator[tuple[str, str | None]]:
    if response_model and is_sold_at_prices_unknown(request_model) and is_form_of(response_model, request_model):
        # Who answers without the prefix is the same seller as the one asked.
        return
    models = [model for model in dict.fromkeys((response_model, request_model)) if model]
    for model in models:
        yield from candidates(model, system)
    for model in filter(None, map(undated, models)):
        yield from candidates(model, system)


def _circumstances(service_tier: str | None, speed: str | None) -> dict[str, str]:
    said = {"processing": "batch"} if service_tier == "batch" else {"service_tier": service_tier}
    return {name: value for name, value in {**said, "speed": speed}.items() if value}


def _by_table(usage: Usage, found: TablePrice | None) -> Cost | None:
    return None if found is None else _amount(usage, found, "price-table", table_version())


def _amount(usage: Usage | None, price: TablePrice, source: CostSource, table: str | None = None) -> Cost | None:
    """The cost of a call at this price; None where something was used that it says nothing of, or that nobody pays."""
    per_request = price.per_request
    # A price per call alone says what a call costs, whatever it used.
    used = {} if per_request and not price.rates else None if usage is None else disjoint_parts(usage)
    if used is None:
        return None
    parts: dict[str, Decimal] = {PER_REQUEST: per_request} if per_request else {}
    for part, tokens in used.items():
        rate = _rate(price, part)
        if tokens and rate is None:
            return None
        if tokens and rate is not None:
            parts[part] = price_of_tokens(rate, tokens)
    total = total_of(parts.values())
    if not is_believable(total):
        return None
    return Cost(
        total=total,
        input=total_of(parts[part] for part in INPUT_PARTS if part in parts),
        output=total_of(parts[part] for part in OUTPUT_PARTS if part in parts),
        source=source,
        table=table,
        parts=parts,
    )


def _rate(price: TablePrice, part: str) -> Decimal | None:
    while part not in price.rates:
        wider = _WIDER.get(part)
        if wider is None or part in price.apart:
            return None
        part = wider
    return price.rates[part]

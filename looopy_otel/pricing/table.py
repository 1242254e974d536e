"""The price table: genai-prices, as installed, never from the network.

It is loaded at the first look-up (about a third of a second), so this belongs on a worker thread. Which model a name
stands for is cached; the prices of a model can depend on the time of the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from looopy_otel.core.money import price_of_one

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_KEYS: Final[Mapping[str, str]] = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_5m": "cache_write_5m_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "input_audio": "input_audio_mtok",
    "input_image": "input_image_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "output_audio": "output_audio_mtok",
    "output_image": "output_image_mtok",
}
"""The table's name for the price of each part of a usage."""

_TIERS: Final = ("service_tier", "processing")
_OTHER_PRICES: Final = frozenset({"batch", "flex", "priority"})
"""Tiers that have prices of their own wherever they are sold."""
_USUAL_SPEEDS: Final = (None, "standard")

# OpenAI asks many times as much for audio as for text, and the table leaves the price of it out for some models.
_AUDIO: Final = frozenset({"input_audio", "output_audio"})
_OPENAI_NAMES: Final = ("gpt-", "openai/")


@dataclass(frozen=True, slots=True)
class TablePrice:
    """What the table says of one model.

    Attributes:
        rates: USD per million tokens, by part; a part that the table has no price for is not there.
        per_request: USD per call, beside its tokens.
        apart: Parts that never cost what text costs, so that their price is unknown where it is not in `rates`.
    """

    rates: Mapping[str, Decimal]
    per_request: Decimal = Decimal(0)
    apart: frozenset[str] = frozenset()


def load_table() -> None:
    """Loads the table, which the first look-up does else."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def table_version() -> str:
    """Name and version of the table, such as ``genai-prices 0.2.3``; with its day where a newer one was put in place.

    That is what genai-prices' own ``UpdatePrices`` does, which nobody here starts.
    """
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    updated = f" of {snapshot.timestamp:%Y-%m-%d}" if snapshot.from_auto_update else ""
    return f"genai-prices {_installed_version()}{updated}"


@cache
def _installed_version() -> str:
    return version("genai-prices")


def table_price(
    model: str,
    provider: str | None,
    *,
    prompt_tokens: int = 0,
    at: datetime | None = None,
    circumstances: Mapping[str, str] | None = None,
) -> TablePrice | None:
    """Looks a model up.

    Args:
        model: Name of the model without a prefix of the provider.
        provider: The table's name of the provider; None lets the table find one by the model's name.
        prompt_tokens: Of the call: above a threshold a long prompt may make all tokens of its call dearer.
        at: When the call was made, with a time zone; now by default.
        circumstances: What else a price can depend on, in the table's words: ``service_tier``, ``processing``,
            ``speed``.

    Returns:
        The prices, or None when the table does not know the provider or the model, or has no price of it, or none for
        a tier or a speed that is never served at the usual price.
    """
    found = _find(model, provider)
    if found is None:
        return None
    owner, info = found
    said = circumstances or {}
    tier, speed = next((said[name] for name in _TIERS if name in said), None), said.get("speed")
    # A provider's own tiers say nothing of the prices that it takes over from the model's maker.
    if circumstances and not any(info is own for own in owner.models):
        circumstances = None
    moment = at or datetime.now(UTC)
    if tier in _OTHER_PRICES and not _has_price_for(info, circumstances or {}, _TIERS, moment):
        return None
    if speed not in _USUAL_SPEEDS and not _has_price_for(info, circumstances or {}, ("speed",), moment):
        return None
    prices = info.get_prices(moment, circumstances)
    rates = {part: rate for part, key in _KEYS.items() if (rate := _rate(prices, key, prompt_tokens)) is not None}
    per_request = _rate(prices, "requests_kcount", prompt_tokens) or Decimal(0)
    if not rates and not per_request:
        return None
    return TablePrice(rates, price_of_one(per_request), _AUDIO if info.id.startswith(_OPENAI_NAMES) else frozenset())


def provider_in_table(provider: str) -> str | None:
    """The table's own name of a provider; None when it has no prices of it."""
    return _provider(provider)


def _has_price_for(info: ModelInfo, circumstances: Mapping[str, str], kinds: tuple[str, ...], moment: datetime) -> bool:
    return any(
        any(name in kinds and circumstances.get(name) == value for name, value in variant.when.items())
        and (variant.constraint is None or variant.constraint.active(moment))
        for variant in info.price_variants or ()
    )


def _rate(prices: ModelPrice, key: str, prompt_tokens: int) -> Decimal | None:
    price = getattr(prices, key, None)
    if price is None or isinstance(price, Decimal):
        return price
    steps = [tier.price for tier in price.tiers if prompt_tokens > tier.start]
    return steps[-1] if steps else price.base


def _provider(provider: str) -> str | None:
    from genai_prices.data_snapshot import get_snapshot

    return _found_provider(provider, get_snapshot().timestamp)


def _find(model: str, provider: str | None) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    return _found(model, provider, get_snapshot().timestamp)


@lru_cache(maxsize=256)
def _found_provider(provider: str, _table: datetime) -> str | None:
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    found = find_provider_by_id(get_snapshot().providers, provider)
    return None if found is None else found.id


@lru_cache(maxsize=1024)
def _found(model: str, provider: str | None, _table: datetime) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None

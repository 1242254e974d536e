"""The price table: genai-prices, as installed, never from the network.

It is loaded at the first look-up (about a third of a second), so this belongs on a worker thread. Which model a name
stands for is cached; the prices of a model can depend on the time of the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from looopy_otel.core.usage import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider


@dataclass(frozen=True, slots=True)
class Price:
    """What an amount of tokens costs, in USD."""

    total: Decimal
    input: Decimal
    output: Decimal


@cache
def table_version() -> str:
    """Name and version of the table, such as ``genai-prices 0.2.3``."""
    return f"genai-prices {version('genai-prices')}"


def price_of(
    usage: Usage, model: str, provider: str | None, *, at: datetime | None = None, service_tier: str | None = None
) -> Price | None:
    """Looks a price up.

    Args:
        usage: Inclusive counts.
        model: Name of the model without a prefix of the provider.
        provider: The table's name of the provider; None lets the table find one by the model's name.
        at: When the call was made, with a time zone; now by default.
        service_tier: As sent; ``flex``, ``priority`` and the like have their own prices.

    Returns:
        The price, or None when the table does not know the provider or the model.
    """
    found = _find(model, provider)
    if found is None:
        return None
    owner, info = found
    context = {"service_tier": service_tier} if service_tier else None
    calculated = info.calc_price(_table_usage(usage), owner, genai_request_timestamp=at, price_context=context)
    return Price(total=calculated.total_price, input=calculated.input_price, output=calculated.output_price)


def knows_provider(provider: str) -> bool:
    """True when the table has prices of this provider."""
    return _knows(provider)


@lru_cache(maxsize=256)
def _knows(provider: str) -> bool:
    from genai_prices.data_snapshot import find_provider_by_id, get_snapshot

    return find_provider_by_id(get_snapshot().providers, provider) is not None


@lru_cache(maxsize=1024)
def _find(model: str, provider: str | None) -> tuple[Provider, ModelInfo] | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None


def _table_usage(usage: Usage) -> object:
    """The table refuses parts that exceed their whole; where reported parts overlap, the later one is cut."""
    from genai_prices.types import Usage as TableUsage

    prompt, completion = max(usage.prompt_tokens, 0), max(usage.completion_tokens, 0)
    read = _part(usage.cache_read_tokens, prompt)
    written = _part(usage.cache_write_tokens, prompt - read)
    reasoning = _part(usage.reasoning_tokens, completion)
    return TableUsage(
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=read or None,
        cache_write_tokens=written or None,
        input_audio_tokens=_part(usage.audio_input_tokens, prompt - read - written) or None,
        output_reasoning_tokens=reasoning or None,
        output_audio_tokens=_part(usage.audio_output_tokens, completion - reasoning) or None,
    )


def _part(count: int | None, whole: int) -> int:
    return min(max(count or 0, 0), whole)

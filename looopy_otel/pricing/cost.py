"""What a call cost: as the provider reported it, else by the price table, else unknown. Unknown is never 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from looopy_otel.core.draft import Cost, LLMDraft
from looopy_otel.core.usage import Usage
from looopy_otel.pricing.table import knows_provider, price_of, table_version

FREE_TABLE = "free"
"""What `Cost.table` says of a model that runs on the user's own machine."""

_FREE = frozenset({"ollama", "ollama_chat"})

# Servers that run any model under its name: what the model's maker asks for it says nothing of what they cost.
_SELF_HOSTED = frozenset(
    {
        "custom",
        "hosted_vllm",
        "huggingface",
        "llamafile",
        "lm_studio",
        "local",
        "oobabooga",
        "petals",
        "vllm",
        "xinference",
    }
)

_RESELLERS = frozenset({"aws", "azure"})

# LiteLLM's prefixes and `gen_ai.system` values that the table does not know by that name.
_TABLE_NAMES: Mapping[str, str] = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_ai": "azure",
    "azure_text": "azure",
    "codestral": "mistral",
    "fireworks_ai": "fireworks",
    "palm": "google",
    "x_ai": "x-ai",
}


def cost_of(
    usage: Usage | None,
    *,
    request_model: str,
    response_model: str | None,
    system: str | None = None,
    reported: Decimal | None = None,
    at: datetime | None = None,
    service_tier: str | None = None,
) -> Cost | None:
    """Says what a call cost.

    What the provider reported wins (source ``provider``). Otherwise the price table decides (``price-table``), by the
    model that answered, then by the one asked for; a provider's prefix names the provider and is stripped. Models
    served by Ollama cost nothing (``price-table``, table ``free``).

    Args:
        usage: Inclusive counts; None finds a reported cost only.
        request_model: The model asked for.
        response_model: The model that answered, or None.
        system: ``gen_ai.system``: the provider where the model's name does not say it.
        reported: USD. 0 counts as unknown, as a proxy says 0 of what it has no price for, unless the model is free.
        at: When the call was made, with a time zone; now by default.
        service_tier: The tier asked for, which may have its own prices.

    Returns:
        The cost, exact, or None when it is unknown.
    """
    free = is_free(request_model, response_model, system)
    if reported is not None and reported.is_finite() and (reported > 0 or (free and reported == 0)):
        return Cost(total=reported, source="provider")
    if free:
        return Cost(total=Decimal(0), input=Decimal(0), output=Decimal(0), source="price-table", table=FREE_TABLE)
    if usage is None:
        return None
    for model in filter(None, dict.fromkeys((response_model, request_model))):
        for name, provider in _candidates(model, system):
            price = price_of(usage, name, provider, at=at, service_tier=service_tier)
            if price is not None:
                return Cost(price.total, price.input, price.output, source="price-table", table=table_version())
    return None


def is_free(request_model: str, response_model: str | None = None, system: str | None = None) -> bool:
    """True for a model that is known to cost nothing: one that Ollama serves.

    Not so where another model answered in its place, as proxies arrange it when the first one fails.
    """
    prefix, slash, name = request_model.partition("/")
    if response_model is not None and response_model.partition("/")[0] in _FREE:
        return True
    if prefix in _FREE:
        return response_model is None or _without_tag(response_model) == _without_tag(name)
    return not slash and system in _FREE


def _without_tag(model: str) -> str:
    return model.partition(":")[0]


def priced(draft: LLMDraft) -> LLMDraft:
    """Gives the draft with its cost; one that has a cost already, or whose cost is unknown, comes back as it is."""
    if draft.cost is not None:
        return draft
    tier = draft.parameters.get("service_tier")
    cost = cost_of(
        draft.usage,
        request_model=draft.request_model,
        response_model=draft.response_model,
        system=draft.system,
        reported=draft.reported_cost,
        at=datetime.fromtimestamp(draft.start_time / 1e9, UTC),
        service_tier=tier if isinstance(tier, str) else None,
    )
    return draft if cost is None else replace(draft, cost=cost)


def _candidates(model: str, system: str | None) -> Iterator[tuple[str, str | None]]:
    """Names to look up, with the provider to look under.

    A provider named by the prefix is the only one asked: another one's price for the same model would be a guess. A
    model that its supposed maker does not have is another maker's, who answered in its place.
    """
    prefix, slash, rest = model.partition("/")
    if prefix in _SELF_HOSTED or system in _SELF_HOSTED:
        return
    provider = _provider(prefix) if slash else None
    if provider is not None:
        yield rest, provider
        return
    provider = _provider(system) if system else None
    yield model, provider
    if slash:
        yield model.rpartition("/")[2], provider
    if provider is not None and provider not in _RESELLERS:
        yield model, None


def _provider(name: str) -> str | None:
    known = _TABLE_NAMES.get(name, name)
    return known if knows_provider(known) else None

"""From the name of a model, as people and proxies write it, to the names that the price table may know it by."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from looopy_otel.core.vendors import UNKNOWN, vendor_named, vendor_of
from looopy_otel.pricing.table import provider_in_table

Candidate = tuple[str, str | None]
"""A model's name, and the table's name of its provider; None lets the table find one."""

# Servers that run any model under its name: what the model's maker asks for it says nothing of what they cost.
_SELF_HOSTED: Final = frozenset(
    {
        "custom",
        "custom_openai",
        "docker_model_runner",
        "hosted_vllm",
        "huggingface",
        "lemonade",
        "llamafile",
        "lm_studio",
        "local",
        "oobabooga",
        "openai_like",
        "petals",
        "triton",
        "vllm",
        "xinference",
    }
)

# They ask what the provider behind them asks, whose prefix follows theirs.
_PASSED_THROUGH: Final = frozenset({"litellm", "litellm_proxy", "vercel_ai_gateway"})

# What they serve is free; another model's answer came from elsewhere.
_FREE: Final = frozenset({"ollama", "ollama_chat"})

_RESELLERS: Final = frozenset({"aws", "azure"})

# LiteLLM's prefixes and `gen_ai.system` values that the table does not know by that name.
_TABLE_NAMES: Final[Mapping[str, str]] = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "azure_ai": "azure",
    "azure_text": "azure",
    "codestral": "mistral",
    "fireworks_ai": "fireworks",
    "meta_llama": "meta",
    "palm": "google",
    "text-completion-codestral": "mistral",
    "x_ai": "x-ai",
}

# What people call a model there that has one version only.
_SHORT_NAMES: Final[Mapping[Candidate, str]] = {
    ("claude-3-opus", "aws"): "claude-3-opus-20240229",
    ("claude-3-sonnet", "aws"): "claude-3-sonnet-20240229",
    ("claude-3-haiku", "aws"): "claude-3-haiku-20240307",
}

_DATE: Final = re.compile(r"[-@]20\d\d-?[01]\d-?[0-3]\d$")
_VERSION: Final = re.compile(
    r"([-@](20\d\d-?[01]\d-?[0-3]\d|latest|default)|-(0[1-9]|1[0-2])[0-3]\d|-00\d|-v\d+(:\d+)?|:latest)$"
)
_REGION: Final = re.compile(r"^(us-gov|us|eu|apac|au|jp|ca|global)\.(?=[a-z0-9]+\.)")
_MAKER: Final = re.compile(r"^(amazon|anthropic|meta|cohere|mistral|ai21|deepseek)\.")
_AZURE_GPT_35: Final = re.compile(r"^gpt-35-")
_BEDROCK_RESOURCE: Final = re.compile(r"^arn:aws[^:]*:bedrock:")


def candidates(model: str, system: str | None) -> Iterator[Candidate]:
    """The names to look up in the table, the best one first.

    A provider named by the prefix is the only one asked: another one's price for the same model would be a guess. A
    model that its supposed maker does not have is another maker's, who answered in its place.

    Args:
        model: An identifier: with a prefix, or without one.
        system: ``gen_ai.system``: the provider where the identifier does not say it.
    """
    model = model.strip().lower()
    for name, provider in _readings(model, system.strip().lower() if system else None):
        yield name, provider
        if short := _SHORT_NAMES.get((name, provider)):
            yield short, provider
        if provider == "azure" and _AZURE_GPT_35.match(name):
            yield _AZURE_GPT_35.sub("gpt-3.5-", name), provider


def is_sold_at_prices_unknown(model: str) -> bool:
    """True where the prefix names somebody who is known to serve models, and whose prices are not."""
    return "/" in model and next(candidates(model, None), None) is None


def is_form_of(model: str, other: str) -> bool:
    """True where a name is another one as its server calls it: without the prefix, or with a version at its end."""
    mine, others = (name.strip().lower().rpartition("/")[2] for name in (model, other))
    return bool({mine, *other_forms(mine)} & {others, *other_forms(others)})


def undated(model: str) -> str | None:
    """The name without the date at its end: that of the model whose newest version the table has; None without one."""
    name = _DATE.sub("", model.strip())
    return name if name and name != model.strip() else None


def other_forms(model: str) -> Iterator[str]:
    """What else people call a model: without its region, its provider, its date, its version, one after the other.

    Args:
        model: A name in lower case, without a prefix of the kind of ``azure/``.
    """
    for opening in (_REGION, _MAKER):
        if (shorter := opening.sub("", model)) != model:
            model = shorter
            yield model
    while (shorter := _VERSION.sub("", model)) not in ("", model):
        model = shorter
        yield model
    if _AZURE_GPT_35.match(model):
        yield _AZURE_GPT_35.sub("gpt-3.5-", model)


def provider_names(system: str) -> tuple[str, ...]:
    """A provider's name, and the one that it has as a prefix of models: ``azure`` for ``azure.ai.openai``."""
    return tuple(dict.fromkeys((system, _TABLE_NAMES.get(system, system), vendor_named(system).system)))


def _readings(model: str, system: str | None) -> Iterator[Candidate]:
    if _BEDROCK_RESOURCE.match(model):
        yield model.rpartition("/")[2], "aws"
        return
    prefix, slash, rest = model.partition("/")
    if prefix in _SELF_HOSTED or system in _SELF_HOSTED or (system and _sells_at_prices_unknown(system)):
        return
    if slash and prefix in _PASSED_THROUGH:
        yield from _readings(rest, None)
        return
    provider = _provider(prefix) if slash else None
    if provider is not None:
        yield rest, provider
        if "/" in rest and provider in _RESELLERS:
            # A region or a route stands between: bedrock/us-east-1/…, azure/eu/….
            yield rest.rpartition("/")[2], provider
        return
    if slash and vendor_of(model) is not UNKNOWN:
        # Somebody who is known to sell models, and whose prices are not.
        return
    yield from _without_prefix(model, system)


def _without_prefix(model: str, system: str | None) -> Iterator[Candidate]:
    if system is None or system in _PASSED_THROUGH:
        system = vendor_of(model).system
    provider = _provider(system)
    yield model, provider
    if "/" in model:
        yield model.rpartition("/")[2], provider
    if provider is not None and provider not in _RESELLERS:
        yield model, None


def _sells_at_prices_unknown(system: str) -> bool:
    known = vendor_of(f"{system}/") is not UNKNOWN and system not in _PASSED_THROUGH and system not in _FREE
    return known and _provider(system) is None


def _provider(name: str) -> str | None:
    known = _TABLE_NAMES.get(name, name)
    return None if known in _PASSED_THROUGH else provider_in_table(known)

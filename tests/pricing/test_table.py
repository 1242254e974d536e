"""Costs of real models and real shapes of usage, worked out by hand from the prices that their providers publish.

Each row's arithmetic is ``tokens part at USD per million tokens``; no price here was copied from the price table. Where
that differs from what a provider publishes, or leaves something out, the row says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from looopy_otel.core.usage import usage_of
from looopy_otel.mapping.langfuse import cost_details, usage_details
from looopy_otel.pricing.cost import FREE_TABLE, cost_of
from looopy_otel.pricing.table import table_version

AT = datetime(2026, 11, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes:
        model: As asked for.
        usage: As its provider reports it.
        arithmetic: ``1000 input @ 2.50 + 100 output @ 10``; empty for what is free or unknown.
        total: USD; None for unknown.
        answered: The response's model.
        system: ``gen_ai.system``, where the caller knows it.
        tier: The service tier.
        note: Where the price table differs from what is published.
    """

    model: str
    usage: Mapping[str, Any]
    arithmetic: str
    total: str | None
    answered: str | None = None
    system: str | None = None
    tier: str | None = None
    note: str = ""
    id: str = field(default="", compare=False)


def chat(prompt: int, completion: int, **details: int) -> dict[str, Any]:
    """OpenAI's chat completions: totals are inclusive."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": details.get("cached", 0),
            "audio_tokens": details.get("audio", 0),
        },
        "completion_tokens_details": {
            "reasoning_tokens": details.get("reasoning", 0),
            "audio_tokens": details.get("spoken", 0),
            "accepted_prediction_tokens": details.get("accepted", 0),
            "rejected_prediction_tokens": details.get("rejected", 0),
        },
    }


def responses(prompt: int, completion: int, cached: int, reasoning: int) -> dict[str, Any]:
    """OpenAI's responses."""
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens_details": {"reasoning_tokens": reasoning},
    }


def claude(prompt: int, completion: int, read: int = 0, five: int = 0, hour: int = 0) -> dict[str, Any]:
    """Anthropic's messages: the prompt leaves out what was read from or written to a cache."""
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": five + hour,
        "cache_creation": {"ephemeral_5m_input_tokens": five, "ephemeral_1h_input_tokens": hour},
        "service_tier": "standard",
    }


def gemini(prompt: int, answer: int, **details: int) -> dict[str, Any]:
    """Gemini: thoughts stand beside the answer, cached content inside the prompt."""
    return {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": details.get("thoughts", 0),
        "cachedContentTokenCount": details.get("cached", 0),
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": prompt - details.get("audio", 0)},
            {"modality": "AUDIO", "tokenCount": details.get("audio", 0)},
        ],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": details.get("pictures", 0)}],
    }


def converse(prompt: int, completion: int, read: int = 0, written: int = 0) -> dict[str, Any]:
    """Bedrock's converse: the prompt leaves out what was read from or written to a cache."""
    return {
        "inputTokens": prompt,
        "outputTokens": completion,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": written,
    }


THOUSAND = chat(1000, 100)

# The models that the LiteLLM provider has factories for, or names in its documentation.
SUPPORTED = [
    Row("gpt-4", THOUSAND, "1000 input @ 30 + 100 output @ 60", "0.036"),
    Row("gpt-4-turbo-preview", THOUSAND, "1000 input @ 10 + 100 output @ 30", "0.013"),
    Row("gpt-4-32k", THOUSAND, "1000 input @ 60 + 100 output @ 120", "0.072"),
    Row("gpt-3.5-turbo", THOUSAND, "1000 input @ 0.50 + 100 output @ 1.50", "0.00065"),
    Row("gpt-3.5-turbo-16k", THOUSAND, "1000 input @ 3 + 100 output @ 4", "0.0034"),
    Row("claude-3-opus-20240229", claude(1000, 100), "1000 input @ 15 + 100 output @ 75", "0.0225"),
    Row("claude-3-sonnet-20240229", claude(1000, 100), "1000 input @ 3 + 100 output @ 15", "0.0045"),
    Row("claude-3-haiku-20240307", claude(1000, 100), "1000 input @ 0.25 + 100 output @ 1.25", "0.000375"),
    Row("claude-2.1", claude(1000, 100), "1000 input @ 8 + 100 output @ 24", "0.0104"),
    Row(
        "claude-instant-1.2",
        claude(1000, 100),
        "",
        None,
        note="retired and not in the table; Anthropic asked 0.80 and 2.40, which would be 0.00104",
    ),
    Row(
        "gemini-pro",
        THOUSAND,
        "1000 input @ 0.125 + 100 output @ 0.375",
        "0.0001625",
        note="the table has Vertex AI's price per million characters; the Gemini API asked 0.50 and 1.50 per million "
        "tokens, which would be 0.00065",
    ),
    Row("gemini-pro-vision", THOUSAND, "", None, note="retired and not in the table; it cost what gemini-pro did"),
    Row("palm/chat-bison", THOUSAND, "", None, note="retired; was priced by characters, which no usage tells"),
    Row("command-r-plus", THOUSAND, "1000 input @ 2.50 + 100 output @ 10", "0.0035"),
    Row("command-r", THOUSAND, "1000 input @ 0.15 + 100 output @ 0.60", "0.00021"),
    Row("command", THOUSAND, "1000 input @ 1 + 100 output @ 2", "0.0012"),
    Row("command-light", THOUSAND, "1000 input @ 0.30 + 100 output @ 0.60", "0.00036"),
    Row("ollama/llama2", THOUSAND, "", "0"),
    Row("ollama/mistral", THOUSAND, "", "0"),
    Row("ollama/codellama", THOUSAND, "", "0"),
    Row("ollama/neural-chat", THOUSAND, "", "0"),
    Row("azure/gpt-4", THOUSAND, "1000 input @ 30 + 100 output @ 60", "0.036"),
    Row("azure/gpt-35-turbo", THOUSAND, "1000 input @ 0.50 + 100 output @ 1.50", "0.00065"),
    Row("bedrock/claude-3-opus", THOUSAND, "1000 input @ 15 + 100 output @ 75", "0.0225"),
    Row("bedrock/titan-text-express", THOUSAND, "1000 input @ 0.20 + 100 output @ 0.60", "0.00026"),
]

OPENAI = [
    Row(
        "gpt-4o",
        chat(1000, 100, cached=600),
        "400 input @ 2.50 + 600 cache_read @ 1.25 + 100 output @ 10",
        "0.00275",
    ),
    Row(
        "gpt-4o-mini",
        chat(12_345, 678, cached=11_264),
        "1081 input @ 0.15 + 11264 cache_read @ 0.075 + 678 output @ 0.60",
        "0.00141375",
        answered="gpt-4o-mini-2024-07-18",
    ),
    Row(
        "gpt-4o",
        chat(800, 400, accepted=120, rejected=80),
        "800 input @ 2.50 + 400 output @ 10",
        "0.006",
        id="gpt-4o with a predicted output: what is rejected is paid for",
    ),
    Row("gpt-4o-2024-05-13", THOUSAND, "1000 input @ 5 + 100 output @ 15", "0.0065"),
    Row(
        "gpt-4.1",
        chat(3000, 200, cached=1024),
        "1976 input @ 2 + 1024 cache_read @ 0.50 + 200 output @ 8",
        "0.006064",
    ),
    Row("gpt-4.1-mini-2025-04-14", THOUSAND, "1000 input @ 0.40 + 100 output @ 1.60", "0.00056"),
    Row("gpt-4.1-nano", THOUSAND, "1000 input @ 0.10 + 100 output @ 0.40", "0.00014"),
    Row(
        "o1",
        chat(500, 2100, reasoning=1984),
        "500 input @ 15 + 116 output @ 60 + 1984 reasoning @ 60",
        "0.1335",
    ),
    Row(
        "o3",
        responses(5000, 1500, cached=4096, reasoning=1216),
        "904 input @ 2 + 4096 cache_read @ 0.50 + 284 output @ 8 + 1216 reasoning @ 8",
        "0.015856",
    ),
    Row(
        "o3-mini",
        chat(1000, 900, cached=512, reasoning=640),
        "488 input @ 1.10 + 512 cache_read @ 0.55 + 260 output @ 4.40 + 640 reasoning @ 4.40",
        "0.0047784",
        answered="o3-mini-2025-01-31",
    ),
    Row(
        "o4-mini",
        chat(1000, 600, cached=400, reasoning=500),
        "600 input @ 0.55 + 400 cache_read @ 0.138 + 100 output @ 2.20 + 500 reasoning @ 2.20",
        "0.0017052",
        tier="flex",
    ),
    Row(
        "gpt-5",
        responses(10_000, 2000, cached=8192, reasoning=1500),
        "1808 input @ 1.25 + 8192 cache_read @ 0.125 + 500 output @ 10 + 1500 reasoning @ 10",
        "0.023284",
        answered="gpt-5-2025-08-07",
    ),
    Row("gpt-5", chat(10_000, 500), "10000 input @ 0.625 + 500 output @ 5", "0.00875", tier="flex"),
    Row(
        "gpt-5",
        chat(10_000, 500, cached=5000),
        "5000 input @ 2.50 + 5000 cache_read @ 0.25 + 500 output @ 20",
        "0.02375",
        tier="priority",
    ),
    Row("gpt-4.1", THOUSAND, "1000 input @ 1 + 100 output @ 4", "0.0014", tier="batch", id="gpt-4.1 in a batch"),
    Row("gpt-5-nano", chat(777, 33), "777 input @ 0.05 + 33 output @ 0.40", "0.00005205"),
    Row("ft:gpt-4o-mini-2024-07-18:acme:support:A1b2", THOUSAND, "1000 input @ 0.30 + 100 output @ 1.20", "0.00042"),
    Row("text-embedding-3-large", {"prompt_tokens": 8191, "total_tokens": 8191}, "8191 input @ 0.13", "0.00106483"),
    Row(
        "gpt-4o-realtime-preview",
        chat(900, 300, audio=700, spoken=250),
        "200 input @ 5 + 700 input_audio @ 40 + 50 output @ 20 + 250 output_audio @ 80",
        "0.05",
    ),
    Row(
        "gpt-4o-audio-preview",
        chat(900, 300, audio=700, spoken=250),
        "",
        None,
        note="the table has its text prices only; OpenAI asks 40 and 80 for audio, so that text prices would be wrong",
    ),
]

ANTHROPIC = [
    Row(
        "claude-3-5-sonnet-20241022",
        claude(50, 400, read=9000, five=1200),
        "50 input @ 3 + 9000 cache_read @ 0.30 + 1200 cache_write_5m @ 3.75 + 400 output @ 15",
        "0.01335",
    ),
    Row(
        "claude-sonnet-4-5",
        claude(100, 1000, read=0, five=2000, hour=3000),
        "100 input @ 3 + 2000 cache_write_5m @ 3.75 + 3000 cache_write_1h @ 6 + 1000 output @ 15",
        "0.0408",
        answered="claude-sonnet-4-5-20250929",
    ),
    Row(
        "claude-sonnet-4-5",
        claude(10_000, 1000, read=200_000, five=0),
        "10000 input @ 6 + 200000 cache_read @ 0.60 + 1000 output @ 22.50",
        "0.2025",
        id="claude-sonnet-4-5 with more than 200 000 tokens of prompt",
    ),
    Row(
        "claude-opus-4-1-20250805",
        claude(1000, 100, read=500, hour=400),
        "1000 input @ 15 + 500 cache_read @ 1.50 + 400 cache_write_1h @ 30 + 100 output @ 75",
        "0.03525",
    ),
    Row(
        "claude-haiku-4-5",
        claude(1000, 100, read=2000),
        "1000 input @ 0.50 + 2000 cache_read @ 0.05 + 100 output @ 2.50",
        "0.00085",
        tier="batch",
    ),
    Row(
        "claude-3-haiku-20240307",
        claude(7, 3, five=100),
        "7 input @ 0.25 + 100 cache_write_5m @ 0.30 + 3 output @ 1.25",
        "0.0000355",
    ),
    Row("vertex_ai/claude-3-5-sonnet@20240620", claude(1000, 100), "1000 input @ 3 + 100 output @ 15", "0.0045"),
]

GOOGLE = [
    Row(
        "gemini/gemini-2.5-flash",
        gemini(2000, 300, thoughts=700, cached=1024, audio=500),
        "476 input @ 0.30 + 1024 cache_read @ 0.03 + 500 input_audio @ 1 + 300 output @ 2.50 + 700 reasoning @ 2.50",
        "0.00317352",
    ),
    Row(
        "gemini-2.5-pro",
        gemini(250_000, 1000, thoughts=2000),
        "250000 input @ 2.50 + 1000 output @ 15 + 2000 reasoning @ 15",
        "0.67",
        id="gemini-2.5-pro with more than 200 000 tokens of prompt",
    ),
    Row("gemini-2.0-flash", gemini(1000, 100), "1000 input @ 0.10 + 100 output @ 0.40", "0.00014"),
    Row(
        "gemini-2.5-flash-image",
        gemini(100, 1300, pictures=1290),
        "100 input @ 0.30 + 10 output @ 2.50 + 1290 output_image @ 30",
        "0.038755",
    ),
    Row("vertex_ai/gemini-1.5-pro", gemini(1000, 100), "1000 input @ 1.25 + 100 output @ 5", "0.00175"),
]

RESELLERS = [
    Row(
        "azure/my-deployment",
        chat(1000, 100, cached=600),
        "400 input @ 2.50 + 600 cache_read @ 1.25 + 100 output @ 10",
        "0.00275",
        answered="gpt-4o-2024-08-06",
    ),
    Row("azure/gpt-35-turbo-16k", THOUSAND, "1000 input @ 3 + 100 output @ 4", "0.0034"),
    Row("azure/eu/gpt-4o-mini", THOUSAND, "1000 input @ 0.15 + 100 output @ 0.60", "0.00021"),
    Row(
        "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        converse(1000, 100, read=2000, written=400),
        "1000 input @ 3 + 2000 cache_read @ 0.30 + 400 cache_write @ 3.75 + 100 output @ 15",
        "0.0066",
    ),
    Row(
        "eu.anthropic.claude-3-haiku-20240307-v1:0",
        converse(1000, 100),
        "1000 input @ 0.25 + 100 output @ 1.25",
        "0.000375",
    ),
    Row(
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        converse(1000, 100),
        "1000 input @ 3.30 + 100 output @ 16.50",
        "0.00495",
        note="a regional profile: Amazon adds a tenth to the price of the global one",
    ),
    Row(
        "bedrock/converse/amazon.nova-pro-v1:0",
        converse(1000, 100),
        "1000 input @ 0.80 + 100 output @ 3.20",
        "0.00112",
    ),
    Row(
        "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-1-70b-instruct-v1:0",
        converse(1000, 100),
        "1000 input @ 0.72 + 100 output @ 0.72",
        "0.000792",
    ),
    Row("openrouter/anthropic/claude-3.5-sonnet", THOUSAND, "1000 input @ 3 + 100 output @ 15", "0.0045"),
    Row("openrouter/deepseek/deepseek-r1:free", THOUSAND, "", "0"),
]

OTHERS = [
    Row("mistral/mistral-large-2411", THOUSAND, "1000 input @ 2 + 100 output @ 6", "0.0026"),
    Row("groq/llama-3.3-70b-versatile", THOUSAND, "1000 input @ 0.59 + 100 output @ 0.79", "0.000669"),
    Row(
        "xai/grok-3",
        chat(1000, 100, cached=400),
        "600 input @ 3 + 400 cache_read @ 0.75 + 100 output @ 15",
        "0.0036",
    ),
    Row(
        "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
        THOUSAND,
        "1000 input @ 0.88 + 100 output @ 0.88",
        "0.000968",
    ),
    Row("command-a-03-2025", THOUSAND, "1000 input @ 2.50 + 100 output @ 10", "0.0035"),
    Row(
        "perplexity/sonar-pro",
        THOUSAND,
        "1000 input @ 3 + 100 output @ 15 + 1 request @ 14000",
        "0.0185",
        note="Perplexity asks 6, 10 or 14 per thousand requests by the size of the search context; the table knows 14",
    ),
    Row(
        "support-model",
        chat(1000, 100, cached=600),
        "400 input @ 2.50 + 600 cache_read @ 1.25 + 100 output @ 10",
        "0.00275",
        answered="gpt-4o-2024-11-20",
        system="litellm",
        id="an alias of a LiteLLM proxy, by the model that answered",
    ),
    Row("litellm_proxy/gpt-4o", THOUSAND, "1000 input @ 2.50 + 100 output @ 10", "0.0035"),
    Row("llama3.2", THOUSAND, "", "0", answered="llama3.2:latest", system="ollama"),
    Row("support-model", THOUSAND, "", None, system="litellm", id="an alias of a proxy that does not say who answered"),
    Row("our-own-finetune-7b", THOUSAND, "", None, id="an unknown model"),
    Row("hosted_vllm/meta-llama/Llama-3.3-70B-Instruct", THOUSAND, "", None, note="one's own machines: nobody's list"),
    Row("deepinfra/meta-llama/Llama-3.3-70B-Instruct", THOUSAND, "", None, note="the table has no prices of DeepInfra"),
]

ROWS = [*SUPPORTED, *OPENAI, *ANTHROPIC, *GOOGLE, *RESELLERS, *OTHERS]


def factors(row: Row) -> dict[str, tuple[int, Decimal]]:
    """The terms of a row's arithmetic: part -> tokens and USD per million."""
    terms = re.findall(r"(\d+) (\w+) @ ([\d.]+)", row.arithmetic)
    return {part: (int(tokens), Decimal(price)) for tokens, part, price in terms}


def test_there_are_enough_of_them() -> None:
    assert len({row.model for row in SUPPORTED}) == 25
    assert len({row.model for row in ROWS}) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id or f"{row.model} {row.tier or ''}".strip())
def test_a_call_costs_what_its_provider_asks(row: Row) -> None:
    terms = factors(row)
    by_hand = sum((tokens * price for tokens, price in terms.values()), Decimal(0)) / 1_000_000
    assert by_hand == Decimal(row.total or 0), "the arithmetic of the row itself"
    usage = usage_of(row.usage)
    assert usage is not None
    assert sum(tokens for part, (tokens, _) in terms.items() if part != "request") in (0, usage.total_tokens)
    cost = cost_of(
        usage,
        request_model=row.model,
        response_model=row.answered,
        system=row.system,
        at=AT,
        service_tier=row.tier,
    )
    if row.total is None or cost is None:
        assert cost is None
        assert row.total is None
        return
    assert cost.total == by_hand
    assert cost.source == "price-table"
    assert cost.table == (table_version() if terms else FREE_TABLE)
    assert cost.parts == {part: tokens * price / 1_000_000 for part, (tokens, price) in terms.items()}


@pytest.mark.parametrize("row", [row for row in ROWS if row.arithmetic], ids=lambda row: row.id or row.model)
def test_langfuse_gets_the_cost_of_each_bucket_and_their_sum(row: Row) -> None:
    usage = usage_of(row.usage)
    assert usage is not None
    cost = cost_of(
        usage, request_model=row.model, response_model=row.answered, system=row.system, at=AT, service_tier=row.tier
    )
    assert cost is not None
    details = {name: Decimal(str(amount)) for name, amount in cost_details(cost).items()}
    assert details.pop("total") == cost.total == sum(details.values())
    assert set(details) - {"request"} <= set(usage_details(usage))

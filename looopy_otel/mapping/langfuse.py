"""The `langfuse` dialect: what Langfuse's OTLP ingestion reads without guessing.

Content stands in ``langfuse.observation.input`` and ``.output`` alone, and both always come together: the server takes
them from one and the same source, so that a lone one would leave the other half blank, whatever else is on the span.
Left out is what makes the server rename, re-type or add up things: the GenAI tool name (it renames any span), the
GenAI tool definitions (offered tools stand in the input instead, as ``{"messages", "tools"}``, which is what the server
makes of them) and every other form of prompts and completions. No observation level is sent: it would mask the span's
status.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, cast

from looopy_otel.core.draft import Cost, Draft, LLMDraft
from looopy_otel.core.money import NOTHING, plus, total_of
from looopy_otel.core.semconv import (
    LANGFUSE_COMPLETION_START_TIME,
    LANGFUSE_COST_DETAILS,
    LANGFUSE_INPUT,
    LANGFUSE_METADATA,
    LANGFUSE_MODEL_NAME,
    LANGFUSE_MODEL_PARAMETERS,
    LANGFUSE_OUTPUT,
    LANGFUSE_USAGE_DETAILS,
)
from looopy_otel.core.settings import Deployment
from looopy_otel.core.usage import Usage
from looopy_otel.core.usage_parts import Part, disjoint_parts
from looopy_otel.mapping.attributes import AttributeValue, known
from looopy_otel.mapping.content import encode_json, is_conversation, only_choice, text_of
from looopy_otel.mapping.identity import metadata_facts
from looopy_otel.mapping.scalars import scalar_attributes


def attributes(draft: Draft, deployment: Deployment) -> dict[str, AttributeValue]:
    """Renders a draft for Langfuse.

    Args:
        draft: Redacted and priced.
        deployment: Environment, release and version of this process.
    """
    return {
        **scalar_attributes(draft, deployment),
        **(generation_attributes(draft) if isinstance(draft, LLMDraft) else {}),
        **_content(draft),
        **known(metadata_facts(LANGFUSE_METADATA, draft.metadata)),
    }


def generation_attributes(draft: LLMDraft) -> dict[str, AttributeValue]:
    """Model, parameters, disjoint usage, cost and time of the first chunk, in Langfuse's own names."""
    usage = usage_details(draft.usage) if draft.usage else _usage_of_failure(draft)
    parameters = {name: _parameter(value) for name, value in draft.parameters.items() if value is not None}
    return known(
        {
            LANGFUSE_MODEL_NAME: _model_name(draft),
            LANGFUSE_MODEL_PARAMETERS: encode_json(parameters) if parameters else None,
            LANGFUSE_USAGE_DETAILS: encode_json(usage) if usage else None,
            LANGFUSE_COST_DETAILS: encode_json(cost_details(draft.cost)) if draft.cost else None,
            LANGFUSE_COMPLETION_START_TIME: _first_chunk_time(draft),
        }
    )


def _model_name(draft: LLMDraft) -> str:
    """The name that the server's prices know; one that has a cost, or had no prefix.

    What is unknown here, such as ``github_copilot/gpt-4o``, keeps its whole name: under ``gpt-4o`` the server would put
    OpenAI's price on it.
    """
    if draft.cost is not None:
        return model_name(draft.response_model or draft.request_model)
    asked, answered = draft.request_model, draft.response_model or draft.request_model
    # The server's prices know dated names, too, and some with a prefix.
    return asked if "/" in asked and model_name(answered).startswith(model_name(asked)) else answered


def _usage_of_failure(draft: LLMDraft) -> dict[str, int] | None:
    """Zeros for a failed call that reported nothing: else the server counts its input itself and puts a cost on it."""
    failed = not draft.answered or draft.outcome in ("error", "truncated")
    return {"input": 0, "output": 0} if failed else None


_BUCKETS: Final[Mapping[Part, str]] = {
    "input": "input",
    "cache_read": "input_cached_tokens",
    "cache_write": "input_cache_creation",
    "cache_write_5m": "input_cache_creation_5m",
    "cache_write_1h": "input_cache_creation_1h",
    "input_audio": "input_audio_tokens",
    "input_image": "input",
    "output": "output",
    "reasoning": "output_reasoning_tokens",
    "output_audio": "output_audio_tokens",
    "output_image": "output",
}
"""Langfuse's names of the parts: those that its price table has prices for.

What it has no price for of its own stands with the rest: under a name without a price it would cost nothing there.
"""


def usage_details(usage: Usage) -> dict[str, int]:
    """Cuts inclusive counts into Langfuse's disjoint buckets, which its prices and sums are made for.

    Parts that are known and not zero get a bucket of their own where Langfuse has one; ``input`` and ``output`` are
    what remains. Where reported parts overlap (cached audio, for one), the later one is cut, so that the buckets' sum
    is always ``total``.
    """
    details: dict[str, int] = {}
    for part, tokens in disjoint_parts(usage).items():
        details[_BUCKETS[part]] = details.get(_BUCKETS[part], 0) + tokens
    return {**details, "total": sum(details.values())}


def model_name(model: str) -> str:
    """Strips what stands before the last slash: Langfuse's price table knows ``gpt-4``, not ``azure/gpt-4``."""
    return model.rpartition("/")[2] or model


def _parameter(value: Any) -> Any:
    """The legacy pipeline drops an observation whose parameters hold structures, so these become text."""
    return value if isinstance(value, str | bool | int | float) else encode_json(value)


def cost_details(cost: Cost) -> dict[str, float]:
    """The cost of each bucket of `usage_details`, and the total that they make up.

    Shares that do not make up the total, as of a cost that the provider reported, are left out.
    """
    shares: dict[str, Decimal] = {}
    for part, amount in cost.parts.items():
        bucket = _BUCKETS.get(cast("Part", part), part)
        shares[bucket] = plus(shares.get(bucket, NOTHING), amount)
    if not shares and cost.input is not None and cost.output is not None:
        shares = {"input": cost.input, "output": cost.output}
    if total_of(shares.values()) != cost.total:
        shares = {}
    return {bucket: float(amount) for bucket, amount in shares.items()} | {"total": float(cost.total)}


def _first_chunk_time(draft: LLMDraft) -> str | None:
    if draft.time_to_first_chunk is None:
        return None
    nanoseconds = draft.start_time + round(draft.time_to_first_chunk * 1e9)
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _content(draft: Draft) -> dict[str, AttributeValue]:
    content: object = draft.input
    result: object = draft.output
    if isinstance(draft, LLMDraft):
        content, result = _with_tools(draft), only_choice(draft.output)
    if content is None and result is None:
        return {}
    return {
        LANGFUSE_INPUT: "" if content is None else text_of(content),
        LANGFUSE_OUTPUT: "" if result is None else text_of(result),
    }


def _with_tools(draft: LLMDraft) -> Any:
    if not draft.tools:
        return draft.input
    name = "messages" if is_conversation(draft.input) else "input"
    return {**({} if draft.input is None else {name: draft.input}), "tools": draft.tools}

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
from typing import Any

from looopy_otel.core.draft import Cost, Draft, LLMDraft
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
from looopy_otel.mapping.attributes import AttributeValue, known
from looopy_otel.mapping.content import encode_json, only_choice, text_of
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
            LANGFUSE_MODEL_NAME: model_name(draft.response_model or draft.request_model),
            LANGFUSE_MODEL_PARAMETERS: encode_json(parameters) if parameters else None,
            LANGFUSE_USAGE_DETAILS: encode_json(usage) if usage else None,
            LANGFUSE_COST_DETAILS: encode_json(_cost_details(draft.cost)) if draft.cost else None,
            LANGFUSE_COMPLETION_START_TIME: _first_chunk_time(draft),
        }
    )


def _usage_of_failure(draft: LLMDraft) -> dict[str, int] | None:
    """Zeros for a failed call that reported nothing: else the server counts its input itself and puts a cost on it."""
    failed = not draft.answered or draft.outcome in ("error", "truncated")
    return {"input": 0, "output": 0} if failed else None


def usage_details(usage: Usage) -> dict[str, int]:
    """Cuts inclusive counts into Langfuse's disjoint buckets, which its prices and sums are made for.

    Parts that are known and not zero get a bucket of their own; ``input`` and ``output`` are what remains. Where
    reported parts overlap (cached audio, for one), the later one is cut, so that the buckets' sum is always ``total``.
    """
    inputs = {
        "input_cached_tokens": usage.cache_read_tokens,
        "input_cache_creation": usage.cache_write_tokens,
        "input_audio_tokens": usage.audio_input_tokens,
    }
    outputs = {"output_reasoning_tokens": usage.reasoning_tokens, "output_audio_tokens": usage.audio_output_tokens}
    details = {
        **_buckets("input", usage.prompt_tokens, inputs),
        **_buckets("output", usage.completion_tokens, outputs),
    }
    return {**details, "total": sum(details.values())}


def _buckets(rest: str, whole: int, parts: Mapping[str, int | None]) -> dict[str, int]:
    left = max(whole, 0)
    buckets: dict[str, int] = {}
    for name, part in parts.items():
        if taken := min(max(part or 0, 0), left):
            buckets[name] = taken
            left -= taken
    return {rest: left, **buckets}


def model_name(model: str) -> str:
    """Strips what stands before the last slash: Langfuse's price table knows ``gpt-4``, not ``azure/gpt-4``."""
    return model.rpartition("/")[2] or model


def _parameter(value: Any) -> Any:
    """The legacy pipeline drops an observation whose parameters hold structures, so these become text."""
    return value if isinstance(value, str | bool | int | float) else encode_json(value)


def _cost_details(cost: Cost) -> dict[str, float]:
    """The shares only where they make up the total: what a price asks per request belongs to neither."""
    if cost.input is None or cost.output is None or cost.input + cost.output != cost.total:
        return {"total": float(cost.total)}
    return {"input": float(cost.input), "output": float(cost.output), "total": float(cost.total)}


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
    messages = {} if draft.input is None else {"messages": draft.input}
    return {**messages, "tools": draft.tools}

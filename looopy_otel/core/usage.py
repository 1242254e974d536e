"""Token counts of one call: inclusive totals with exact parts, built from what providers report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from looopy_otel.core.shapes.fields import get
from looopy_otel.core.usage_details import cache_writes, count_of, either, first, is_no_count, modality, totals


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or several LLM calls.

    `prompt_tokens` and `completion_tokens` are inclusive, as the GenAI conventions want them: every other
    field is a part of one of them, and None where the provider does not tell.

    Attributes:
        prompt_tokens: All input tokens, cached ones included.
        completion_tokens: All output tokens, reasoning included.
        total_tokens: `prompt_tokens + completion_tokens`.
        cache_read_tokens: Input tokens read from a cache.
        cache_write_tokens: Input tokens written to a cache, for however long.
        audio_input_tokens: Input tokens of audio.
        reasoning_tokens: Output tokens of reasoning.
        audio_output_tokens: Output tokens of audio.
        cache_write_5m_tokens: Those of `cache_write_tokens` that are kept for five minutes.
        cache_write_1h_tokens: Those of `cache_write_tokens` that are kept for an hour.
        image_input_tokens: Input tokens of images.
        text_input_tokens: Input tokens of text.
        image_output_tokens: Output tokens of images.
        text_output_tokens: Output tokens of text.
        accepted_prediction_tokens: Output tokens that were predicted by the caller and came to pass.
        rejected_prediction_tokens: Output tokens that were predicted by the caller and did not; they are paid for.
    """

    prompt_tokens: int
    completion_tokens: int
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_output_tokens: int | None = None
    cache_write_5m_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    image_input_tokens: int | None = None
    text_input_tokens: int | None = None
    image_output_tokens: int | None = None
    text_output_tokens: int | None = None
    accepted_prediction_tokens: int | None = None
    rejected_prediction_tokens: int | None = None

    @property
    def total_tokens(self) -> int:
        """All tokens, input and output."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """Adds field by field; a part is None only where both are None."""
        sums: dict[str, Any] = {
            field.name: _sum(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)
        }
        return Usage(**sums)


def usage_of(reported: object) -> Usage | None:
    """Reads token counts in whatever shape they come, as an SDK's object or as decoded JSON.

    Known are `Usage`, OpenAI's chat completions and responses, Anthropic, Gemini, Bedrock, Ollama, LangChain and
    Pydantic AI, and an answer that carries one of these as ``usage``, ``usage_metadata`` or ``usageMetadata``.

    Returns:
        The usage, each part cut to the total it belongs to, or None when there are no counts in it.
    """
    if isinstance(reported, Usage):
        cleaned = _cleaned(reported)
        return reported if cleaned == reported else cleaned
    found = next((usage for read in _READERS if (usage := read(reported)) is not None), None)
    if found is not None:
        return found
    inner = first(reported, "usage", "usage_metadata", "usageMetadata")
    return next((usage for read in _READERS if (usage := read(inner)) is not None), None)


def usage_from_openai(reported: object) -> Usage | None:
    """Reads the ``usage`` object of an OpenAI-compatible chat completion.

    Args:
        reported: Decoded JSON or an SDK's object; anything without such token counts gives None.

    Returns:
        The usage, each part cut to the total it belongs to, or None when no count was reported.
    """
    total = count_of(get(reported, "total_tokens"))
    found = totals(get(reported, "prompt_tokens"), get(reported, "completion_tokens"), total)
    if found is None or (not any(found) and total):
        return None
    prompt, completion = found
    inputs, outputs = get(reported, "prompt_tokens_details"), get(reported, "completion_tokens_details")
    kept = first(inputs, "cache_creation_token_details") or get(reported, "cache_creation")
    read = either(first(inputs, "cached_tokens"), first(reported, "cache_read_input_tokens", *_CACHE_HITS))
    written = cache_writes(
        either(
            first(inputs, "cache_creation_tokens", "cache_write_tokens"),
            first(reported, "cache_creation_input_tokens"),
        ),
        kept,
    )
    cached = (count_of(read) or 0) + (count_of(written.get("cache_write_tokens")) or 0)
    reasoning = count_of(_named(outputs, _OUTPUT_DETAILS).get("reasoning_tokens")) or 0
    return _usage(
        prompt,
        completion + _beside(prompt, completion, total, reasoning, cached),
        cache_read_tokens=read,
        **written,
        **_named(inputs, _INPUT_DETAILS),
        **_named(outputs, _OUTPUT_DETAILS),
    )


_CACHE_HITS = ("prompt_cache_hit_tokens", "cached_tokens")
"""DeepSeek's and Moonshot's names of input tokens read from the cache."""


def _beside(prompt: int, completion: int, total: int | None, thought: int, cached: int) -> int:
    """Output tokens that the total has and `completion` leaves out: xAI's reasoning, and the thoughts of Gemini.

    A rest that neither the reasoning nor the lack of any parts explains is nobody's; so is one that is no more than
    what was read from or written to a cache, which some leave out of the prompt.
    """
    rest = 0 if total is None else total - prompt - completion
    if thought and rest != thought:
        return thought if thought > completion and (total is None or rest > thought) else 0
    return rest if thought or rest > cached else 0


_INPUT_DETAILS: Mapping[str, str] = {
    "audio_tokens": "audio_input_tokens",
    "audio": "audio_input_tokens",
    "image_tokens": "image_input_tokens",
    "image": "image_input_tokens",
    "text_tokens": "text_input_tokens",
    "text": "text_input_tokens",
}
_OUTPUT_DETAILS: Mapping[str, str] = {
    "reasoning_tokens": "reasoning_tokens",
    "thinking_tokens": "reasoning_tokens",
    "reasoning": "reasoning_tokens",
    "audio_tokens": "audio_output_tokens",
    "audio": "audio_output_tokens",
    "image_tokens": "image_output_tokens",
    "image": "image_output_tokens",
    "text_tokens": "text_output_tokens",
    "text": "text_output_tokens",
    "accepted_prediction_tokens": "accepted_prediction_tokens",
    "rejected_prediction_tokens": "rejected_prediction_tokens",
}
"""What OpenAI, LangChain and others call the parts."""
_TIERS = ("", "flex_", "priority_")
"""LangChain puts the service tier in front of the names of parts, where it is not the usual one."""


def _named(details: object, names: Mapping[str, str]) -> dict[str, object]:
    """The parts that are told, by their names here."""
    if details is None:
        return {}
    found: dict[str, object] = {}
    for name, here in names.items():
        if here not in found and (value := _tiered(details, name)) is not None:
            found[here] = value
    return found


def _tiered(details: object, *names: str) -> Any:
    """The first of the named parts that is there, whatever the service tier."""
    return first(details, *(f"{tier}{name}" for name in names for tier in _TIERS))


def _inputs_and_outputs(reported: object) -> Usage | None:
    """OpenAI's responses, Anthropic, LangChain and Pydantic AI, who all say ``input_tokens``.

    Anthropic's count alone leaves out what was read from or written to a cache.
    """
    beside_read, beside_written = get(reported, "cache_read_input_tokens"), get(reported, "cache_creation_input_tokens")
    found = totals(get(reported, "input_tokens"), get(reported, "output_tokens"), get(reported, "total_tokens"))
    if found is None or any(is_no_count(count) for count in (beside_read, beside_written)):
        return None
    inputs = first(reported, "input_tokens_details", "input_token_details")
    outputs = first(reported, "output_tokens_details", "output_token_details", "details")
    beside = cache_writes(beside_written, get(reported, "cache_creation"))
    within = cache_writes(
        either(_tiered(inputs, "cache_write_tokens", "cache_creation"), get(reported, "cache_write_tokens")), inputs
    )
    written = count_of(beside.get("cache_write_tokens"))
    parts = {
        "audio_input_tokens": get(reported, "input_audio_tokens"),
        "audio_output_tokens": get(reported, "output_audio_tokens"),
        **_named(inputs, _INPUT_DETAILS),
        **_named(outputs, _OUTPUT_DETAILS),
    }
    return _usage(
        found[0] + (count_of(beside_read) or 0) + (written or 0),
        found[1],
        cache_read_tokens=either(
            beside_read, either(_tiered(inputs, "cached_tokens", "cache_read"), get(reported, "cache_read_tokens"))
        ),
        **(within if written is None else beside),
        **parts,
    )


_GEMINI_ANSWERS = ("candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count")
_GEMINI_ANSWER_DETAILS = (
    "candidatesTokensDetails",
    "candidates_tokens_details",
    "responseTokensDetails",
    "response_tokens_details",
)


def _gemini(reported: object) -> Usage | None:
    """Gemini, whose prompt count includes the cached content, and whose candidates leave out the thoughts.

    The Live API says response where the other one says candidates.
    """
    answer = first(reported, *_GEMINI_ANSWERS)
    tools = count_of(first(reported, "toolUsePromptTokenCount", "tool_use_prompt_token_count")) or 0
    thoughts = count_of(first(reported, "thoughtsTokenCount", "thoughts_token_count"))
    total = count_of(first(reported, "totalTokenCount", "total_token_count"))
    prompt = first(reported, "promptTokenCount", "prompt_token_count")
    if prompt is None and answer is None and thoughts is not None:
        # All that was answered are thoughts, and the rest of the total is the prompt.
        answer = 0
    found = totals(prompt, answer, None if total is None else max(total - tools - (thoughts or 0), 0))
    if found is None:
        return None
    inputs = first(reported, "promptTokensDetails", "prompt_tokens_details")
    outputs = first(reported, *_GEMINI_ANSWER_DETAILS)
    return _usage(
        found[0] + tools,
        found[1] + (thoughts or 0),
        cache_read_tokens=first(reported, "cachedContentTokenCount", "cached_content_token_count"),
        audio_input_tokens=modality(inputs, "AUDIO"),
        image_input_tokens=modality(inputs, "IMAGE"),
        text_input_tokens=modality(inputs, "TEXT"),
        reasoning_tokens=thoughts,
        audio_output_tokens=modality(outputs, "AUDIO"),
        image_output_tokens=modality(outputs, "IMAGE"),
        text_output_tokens=modality(outputs, "TEXT"),
    )


def _bedrock(reported: object) -> Usage | None:
    """Bedrock's converse, whose input count leaves out what was read from or written to a cache."""
    found = totals(get(reported, "inputTokens"), get(reported, "outputTokens"))
    cache_read = first(reported, "cacheReadInputTokens", "cacheReadInputTokenCount")
    cache_write = first(reported, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    if found is None or any(is_no_count(count) for count in (cache_read, cache_write)):
        return None
    written = cache_writes(cache_write, get(reported, "cacheDetails"))
    beside = (count_of(cache_read) or 0) + (count_of(written.get("cache_write_tokens")) or 0)
    return _usage(found[0] + beside, found[1], cache_read_tokens=cache_read, **written)


def _ollama(reported: object) -> Usage | None:
    """Ollama, whose counts stand on the answer itself; what its cache held is not counted again."""
    found = totals(get(reported, "prompt_eval_count"), get(reported, "eval_count"))
    return None if found is None else _usage(*found)


_READERS: tuple[Callable[[object], Usage | None], ...] = (
    usage_from_openai,
    _inputs_and_outputs,
    _gemini,
    _bedrock,
    _ollama,
)

_CACHE_WRITES = ("cache_write_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
_OUTPUT_PARTS = frozenset(_OUTPUT_DETAILS.values())


def _usage(prompt: int, completion: int, **parts: object) -> Usage:
    """Cuts each part to the whole it belongs to."""
    cut: dict[str, Any] = {
        name: _part(count, completion if name in _OUTPUT_PARTS else prompt)
        for name, count in parts.items()
        if count is not None
    }
    left = prompt - (cut.get("cache_read_tokens") or 0)
    whole, five_minutes, hour = (cut.get(name) for name in _CACHE_WRITES)
    if whole is not None or five_minutes is not None or hour is not None:
        whole = _part(whole, left)
        five_minutes = _part(five_minutes, whole or 0)
        hour = _part(hour, (whole or 0) - (five_minutes or 0))
        cut.update(zip(_CACHE_WRITES, (whole, five_minutes, hour), strict=True))
    return Usage(prompt_tokens=prompt, completion_tokens=completion, **cut)


def _cleaned(usage: Usage) -> Usage:
    """A usage that somebody made, with nothing in it that cannot be."""
    said = {field.name: getattr(usage, field.name) for field in fields(usage)}
    prompt, completion = count_of(said.pop("prompt_tokens")), count_of(said.pop("completion_tokens"))
    return _usage(prompt or 0, completion or 0, **said)


def _part(value: object, whole: int) -> int | None:
    count = count_of(value)
    return None if count is None else min(count, whole)


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right

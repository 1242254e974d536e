"""Token counts of one call: inclusive totals with exact parts, built from what providers report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


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
        cache_write_tokens: Input tokens written to a cache.
        audio_input_tokens: Input tokens of audio.
        reasoning_tokens: Output tokens of reasoning.
        audio_output_tokens: Output tokens of audio.
    """

    prompt_tokens: int
    completion_tokens: int
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_input_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_output_tokens: int | None = None

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
    """Reads token counts in whatever shape they come: a `Usage`, or what a provider reports.

    Returns:
        The usage, or None when there are no counts in it.
    """
    return reported if isinstance(reported, Usage) else usage_from_openai(reported)


def usage_from_openai(reported: object) -> Usage | None:
    """Reads the ``usage`` object of an OpenAI-compatible chat completion.

    Args:
        reported: The decoded JSON value; anything else than an object with token counts gives None.

    Returns:
        The usage, each part cut to the total it belongs to, or None when no count was reported.
    """
    if not isinstance(reported, Mapping):
        return None
    counts: Mapping[str, Any] = reported  # pyright: ignore[reportUnknownVariableType]
    prompt, completion = _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens"))
    total = _count(counts.get("total_tokens"))
    if prompt is None and completion is None:
        return None
    if prompt is None:
        prompt = max((total or 0) - (completion or 0), 0)
    if completion is None:
        completion = max((total or 0) - prompt, 0)
    inputs, outputs = _details(counts, "prompt_tokens_details"), _details(counts, "completion_tokens_details")
    cache_read = _part(inputs.get("cached_tokens", counts.get("cache_read_input_tokens")), prompt)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cache_read_tokens=cache_read,
        cache_write_tokens=_part(
            inputs.get("cache_creation_tokens", counts.get("cache_creation_input_tokens")), prompt - (cache_read or 0)
        ),
        audio_input_tokens=_part(inputs.get("audio_tokens"), prompt),
        reasoning_tokens=_part(outputs.get("reasoning_tokens"), completion),
        audio_output_tokens=_part(outputs.get("audio_tokens"), completion),
    )


def _details(counts: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = counts.get(key)
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value in (float("inf"),):
        return None
    return int(value) if value >= 0 else None


def _part(value: object, whole: int) -> int | None:
    count = _count(value)
    return None if count is None else min(count, whole)


def _sum(left: int | None, right: int | None) -> int | None:
    return right if left is None else left if right is None else left + right

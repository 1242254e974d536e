"""Inclusive token counts cut into disjoint parts: what prices are made for, and what may be added up."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from looopy_otel.core.usage import Usage

InputPart: TypeAlias = Literal[
    "input", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "input_audio", "input_image"
]
OutputPart: TypeAlias = Literal["output", "reasoning", "output_audio", "output_image"]
Part: TypeAlias = Literal[InputPart, OutputPart]
"""A kind of tokens that may have a price of its own. ``input`` and ``output`` are what no other part holds."""

INPUT_PARTS: tuple[str, ...] = get_args(InputPart)
OUTPUT_PARTS: tuple[str, ...] = get_args(OutputPart)


def disjoint_parts(usage: Usage) -> dict[Part, int]:
    """Cuts inclusive counts into parts that do not overlap.

    ``input`` and ``output`` are always there, any other part where it is known and not zero. Where reported parts
    overlap (cached audio, for one), the later one is cut; so the sum is always `Usage.total_tokens`, for counts that
    are not negative. Text and predictions are no parts of their own: they cost what ``input`` and ``output`` cost.
    """
    written = max(usage.cache_write_tokens or 0, 0)
    five_minutes = min(max(usage.cache_write_5m_tokens or 0, 0), written)
    hour = min(max(usage.cache_write_1h_tokens or 0, 0), written - five_minutes)
    inputs: dict[Part, int | None] = {
        "cache_read": usage.cache_read_tokens,
        "cache_write_5m": five_minutes,
        "cache_write_1h": hour,
        "cache_write": written - five_minutes - hour,
        "input_audio": usage.audio_input_tokens,
        "input_image": usage.image_input_tokens,
    }
    outputs: dict[Part, int | None] = {
        "reasoning": usage.reasoning_tokens,
        "output_audio": usage.audio_output_tokens,
        "output_image": usage.image_output_tokens,
    }
    return _cut("input", usage.prompt_tokens, inputs) | _cut("output", usage.completion_tokens, outputs)


def _cut(rest: Part, whole: int, parts: dict[Part, int | None]) -> dict[Part, int]:
    left = max(whole, 0)
    cut: dict[Part, int] = {}
    for name, count in parts.items():
        if taken := min(max(count or 0, 0), left):
            cut[name] = taken
            left -= taken
    return {rest: left, **cut}

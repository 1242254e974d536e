"""What the user's code gives, read as a provider's answer where it is one; any other object is left alone."""

from __future__ import annotations

from collections.abc import Mapping

from looopy_otel.core.shapes.recognise import joiner_for, recognised
from looopy_otel.core.shapes.shape import Joiner
from looopy_otel.core.stored import stored
from looopy_otel.core.types import LLMResponse

_TOLD_BY = (
    "candidates", "choices", "content", "data", "embeddings", "message", "messages", "output", "role", "text", "type",
)  # fmt: skip
"""What answers and chunks of providers have something under."""


def answer_in(value: object) -> LLMResponse | None:
    """Reads a value as an answer; None for one that is none, whose attributes are then not asked for anything."""
    return recognised(value) if _may_be_read(value) else None


def joiner_of(chunk: object) -> Joiner | None:
    """Gives the joiner for a stream by its first chunk; None where the chunks are not a provider's."""
    return joiner_for(chunk) if _may_be_read(chunk) else None


def _may_be_read(value: object) -> bool:
    if isinstance(value, Mapping) or type(value).__module__ == LLMResponse.__module__:
        return True
    return any(stored(value, name) is not None for name in _TOLD_BY)

"""How the rules read a span: its type, its JSON texts."""

from __future__ import annotations

import json
from typing import Any

from tests.support.spans import Span

INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"
USAGE, COST = "langfuse.observation.usage_details", "langfuse.observation.cost_details"


def observation_type(span: Span) -> str:
    """The type of a span in Langfuse's lower-case words, or ``?``."""
    return str(span.attributes.get("langfuse.observation.type", "?"))


def is_generation(span: Span) -> bool:
    return observation_type(span) in ("generation", "embedding")


def decoded(text: object) -> Any:
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def json_object(text: object) -> dict[str, Any] | None:
    value = decoded(text)
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]

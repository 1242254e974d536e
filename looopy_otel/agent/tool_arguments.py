"""The arguments of a tool call: the JSON text that a model wrote, which may be anything."""

from __future__ import annotations

import json
from typing import Any

from looopy_otel.agent.errors import InvalidArgumentsError


def decode_arguments(arguments: str) -> dict[str, Any]:
    """Decodes a model's arguments; an empty text means none.

    Raises:
        InvalidArgumentsError: If the text is no JSON, nested deeper than Python can read, or no object.
    """
    try:
        decoded = json.loads(arguments.strip() or "{}")
    except ValueError as error:
        raise InvalidArgumentsError(f"the arguments are not JSON ({error}): {shortened(arguments)}") from None
    except RecursionError:
        raise InvalidArgumentsError(f"the arguments are nested too deeply: {shortened(arguments)}") from None
    if not isinstance(decoded, dict):
        raise InvalidArgumentsError(f"the arguments must be a JSON object, not {shortened(arguments)}")
    return decoded  # pyright: ignore[reportUnknownVariableType]


def shortened(text: str, limit: int = 200) -> str:
    """The text, or its beginning and its length."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"

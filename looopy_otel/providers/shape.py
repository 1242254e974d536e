"""Reading decoded JSON whose shape a foreign endpoint decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import orjson


def as_object(value: object) -> Mapping[str, Any]:
    """`value` where it is a JSON object, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def decoded_json(text: bytes) -> Any:
    """Decodes JSON, also where an escape stands for half of an emoji, as in a stream that was cut inside one.

    Raises:
        ValueError: If it is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if b"\\ud" not in text.lower():
            raise
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error

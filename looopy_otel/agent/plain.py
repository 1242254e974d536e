"""Makes any value one that JSON can say, and text for a model."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from looopy_otel.core.types import Json


def plain(value: Any) -> Json:
    """Gives what JSON can say of a value: models, dataclasses, enums, dates and sets have their usual form.

    What has none becomes its ``str``, bytes that are no text become base64, and NaN and infinity become text.

    Raises:
        Exception: What the value's own ``__str__`` raises; `ValueError` for a value that contains itself.
    """
    if value is None or isinstance(value, bool | int | str):
        return value if type(value) in (bool, int, str, type(None)) else from_json(_encoded(value))
    return from_json(_encoded(value))


def text_for_model(value: Any) -> str:
    """Text as it is, everything else as JSON."""
    return value if isinstance(value, str) else _encoded(value).decode()


def _encoded(value: Any) -> bytes:
    return to_json(value, fallback=str, inf_nan_mode="strings", bytes_mode=_bytes_mode(value))


def _bytes_mode(value: Any) -> Any:
    if not isinstance(value, bytes | bytearray):
        return "base64"
    try:
        value.decode()
    except UnicodeDecodeError:
        return "base64"
    return "utf8"

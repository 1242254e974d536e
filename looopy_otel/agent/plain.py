"""Makes any value one that JSON can say, and text for a model."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator
from pydantic_core import PydanticSerializationError, from_json, to_json

from looopy_otel.core.snapshot import snapshot
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import Json


def _valid(value: Any) -> Any:
    return valid_text(value) if isinstance(value, str) else value


def always_plain(value: Any) -> Json:
    """Gives what JSON can say of a value for those who are told of it; never raises, and cuts what is too much."""
    return well_formed(snapshot(value))


Text: TypeAlias = Annotated[str, BeforeValidator(_valid)]
"""A text of a pydantic model; lone surrogates, which JSON cannot carry, become U+FFFD."""

Facts: TypeAlias = Annotated[dict[str, Any], BeforeValidator(always_plain)]
"""A mapping of a pydantic model that takes any values; they become what JSON can say."""

Value: TypeAlias = Annotated[Any, BeforeValidator(always_plain)]
"""Any value of a pydantic model; it becomes what JSON can say."""


def plain(value: Any) -> Json:
    """Gives what JSON can say of a value: models, dataclasses, enums, dates and sets have their usual form.

    What has none becomes its ``str``, bytes that are no text become base64, NaN and infinity become text, and lone
    surrogates, which UTF-8 cannot say, become U+FFFD.

    Raises:
        Exception: What the value's own ``__str__`` raises; `ValueError` for a value that contains itself.
    """
    if type(value) is str:
        return valid_text(value)
    if value is None or type(value) in (bool, int):
        return value
    return from_json(_encoded(value))


def text_for_model(value: Any) -> str:
    """Text as it is, everything else as JSON."""
    return valid_text(value) if isinstance(value, str) else _encoded(value).decode()


def well_formed(value: Json) -> Json:
    """The value with every text in it as `valid_text` has it."""
    match value:
        case str():
            return valid_text(value)
        case dict():
            return {valid_text(key): well_formed(item) for key, item in value.items()}
        case list():
            return [well_formed(item) for item in value]
        case _:
            return value


def _encoded(value: Any) -> bytes:
    try:
        # Bytes that are text stay readable, for the model and for whoever looks for secrets in them.
        return _serialised(value, "utf8")
    except PydanticSerializationError as error:
        # It carries the cause in its text only.
        if "utf-8" in str(error) and UnicodeEncodeError.__name__ not in str(error):
            return _serialised(value, "base64")
        if UnicodeEncodeError.__name__ not in str(error):
            raise
        return _serialised(always_plain(value), "utf8")


def _serialised(value: Any, bytes_mode: Any) -> bytes:
    return to_json(value, fallback=str, inf_nan_mode="strings", bytes_mode=bytes_mode)

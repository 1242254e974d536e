"""Reading what a message or a delta says: a text, a list of parts, or a refusal in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from looopy_otel.core.shapes.fields import as_list, as_text, get, plain_object
from looopy_otel.core.text import valid_text

Part: TypeAlias = str | dict[str, Any]
"""A text, or a content part that is none, as the endpoint sent it."""


def content_of(message: object) -> str | list[dict[str, Any]] | None:
    """The content of a plain message: its parts stay as they were sent; a refusal stands in for none."""
    content = get(message, "content")
    if isinstance(content, str) and content:
        return valid_text(content)
    parts = [fields for fields in map(_whole_part, as_list(content)) if fields]
    return parts or as_text(get(message, "refusal")) or (content if isinstance(content, str) else None)


def parts_of(message: object) -> list[Part]:
    """The content of a delta, in order; what is empty is left out. A refusal stands in for none."""
    content = get(message, "content")
    if isinstance(content, str) and content:
        return [content]
    parts = [part for part in map(_part, as_list(content)) if part]
    return parts or [text for text in [as_text(get(message, "refusal"))] if text]


def joined(parts: Sequence[Part]) -> str | list[dict[str, Any]] | None:
    """The parts of all deltas as one content: a text, unless other parts are among them."""
    if all(isinstance(part, str) for part in parts):
        return valid_text("".join(map(str, parts))) or None
    return list(_merged(parts))


def text_part(text: str) -> dict[str, Any]:
    """A text as a content part."""
    return {"type": "text", "text": text}


def _whole_part(part: object) -> dict[str, Any]:
    return text_part(part) if isinstance(part, str) and part else plain_object(part)


def _part(part: object) -> Part:
    if isinstance(part, str):
        return part
    text = get(part, "text")
    if isinstance(text, str) and get(part, "type") in ("text", None):
        return text
    return plain_object(part)


def _merged(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    for is_text, group in groupby(parts, lambda part: isinstance(part, str)):
        if is_text:
            yield text_part(valid_text("".join(map(str, group))))
        else:
            yield from (part for part in group if isinstance(part, dict))

"""Reading what a message or a delta says: a text, a list of parts, or a refusal in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from looopy_otel.core.text import valid_text
from looopy_otel.providers.shape import as_list, as_object, as_text

Part: TypeAlias = str | dict[str, Any]
"""A text, or a content part that is none, as the endpoint sent it."""


def content_of(message: Mapping[str, Any]) -> str | list[dict[str, Any]] | None:
    """The content of a plain message: its parts stay as they were sent; a refusal stands in for none."""
    content = message.get("content")
    if isinstance(content, str) and content:
        return valid_text(content)
    parts = [dict(as_object(part)) for part in as_list(content) if as_object(part)]
    return parts or as_text(message.get("refusal")) or (content if isinstance(content, str) else None)


def parts_of(message: Mapping[str, Any]) -> list[Part]:
    """The content of a delta, in order; what is empty is left out. A refusal stands in for none."""
    content = message.get("content")
    parts = [content] if isinstance(content, str) else [_part(part) for part in as_list(content)]
    return [part for part in parts if part] or [text for text in [as_text(message.get("refusal"))] if text]


def joined(parts: Sequence[Part]) -> str | list[dict[str, Any]] | None:
    """The parts of all deltas as one content: a text, unless other parts are among them."""
    if all(isinstance(part, str) for part in parts):
        return valid_text("".join(map(str, parts))) or None
    return list(_merged(parts))


def _part(part: object) -> Part:
    if isinstance(part, str):
        return part
    fields = as_object(part)
    text = fields.get("text")
    return text if fields.get("type", "text") == "text" and isinstance(text, str) else dict(fields)


def _merged(parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    for is_text, group in groupby(parts, lambda part: isinstance(part, str)):
        if is_text:
            yield {"type": "text", "text": "".join(map(str, group))}
        else:
            yield from (dict(as_object(part)) for part in group)

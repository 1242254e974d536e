"""Anthropic's content blocks as messages of OpenAI's shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from looopy_otel.core.shapes.content import text_part
from looopy_otel.core.shapes.fields import as_list, as_text, get, plain_object
from looopy_otel.core.shapes.rewriting import Reading
from looopy_otel.core.shapes.tool_calls import call_entry, kept_calls
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import Message


def message_of(blocks: Sequence[object]) -> tuple[Message, int]:
    """Reads the assistant's content blocks.

    Returns:
        The message, and how many tool calls were left out for want of an id or a name. Its content is a text where
        all else is thinking and tool calls; else the blocks as they are.
    """
    fields = [plain_object(block) for block in blocks]
    calls, dropped = kept_calls([_call(block) for block in fields if block.get("type") == "tool_use"])
    thoughts = [valid_text(str(block.get("thinking"))) for block in fields if block.get("thinking")]
    return Message("assistant", content_of(fields), calls, reasoning="\n\n".join(thoughts) or None), dropped


def content_of(blocks: Sequence[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    """What blocks say beside thinking and tool calls: a text where they are text alone, else the blocks."""
    said = [block for block in blocks if block.get("type") not in ("tool_use", "thinking")]
    texts = [block.get("text") for block in said if block.get("type") == "text" and not block.get("citations")]
    if len(texts) == len(said) and len(said) < 2:
        return valid_text("".join(str(text or "") for text in texts)) or None
    return said


def system_readings(system: object) -> list[Reading]:
    """The system prompt as a message; none where there is none."""
    if isinstance(system, str):
        return [Reading((system,), ({"role": "system", "content": system},))]
    parts = [plain_object(part) for part in as_list(system)]
    return [Reading((system,), ({"role": "system", "content": parts},))] if parts else []


def conversation_readings(messages: object) -> list[Reading]:
    """The messages of a request, each with those that it becomes."""
    return [Reading((message,), tuple(_messages_of(message))) for message in as_list(messages)]


def _messages_of(message: object) -> list[dict[str, Any]]:
    role, content = as_text(get(message, "role")) or "user", get(message, "content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [text_part(block) if isinstance(block, str) else plain_object(block) for block in as_list(content)]
    if role == "assistant":
        return [_assistant(blocks)]
    result: list[dict[str, Any]] = []
    for is_result, group in groupby(blocks, lambda block: block.get("type") == "tool_result"):
        entries = list(group)
        result += map(_tool_message, entries) if is_result else [{"role": role, "content": entries}]
    return result or [{"role": role, "content": None}]


def _assistant(blocks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content_of(blocks)}
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    thoughts = [str(block["thinking"]) for block in blocks if block.get("thinking")]
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "\n\n".join(thoughts)
    return message


def _call(block: dict[str, Any]) -> dict[str, Any]:
    return call_entry(block.get("id"), block.get("name"), block.get("input"))


def _tool_message(block: dict[str, Any]) -> dict[str, Any]:
    content = block.get("content")
    parts = as_list(content)
    if parts:
        content = content_of([text_part(part) if isinstance(part, str) else plain_object(part) for part in parts])
    message = {"role": "tool", "tool_call_id": block.get("tool_use_id"), "content": content}
    return {**message, "is_error": True} if block.get("is_error") else message

"""Messages and tools, from what users hand in to the canonical form (OpenAI's chat completions) and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from looopy_otel.core.types import Message, MessageLike, ToolCall, ToolDefinition, ToolLike


def message_to_dict(message: MessageLike) -> dict[str, Any]:
    """Gives a message in OpenAI's shape; absent fields are left out. A mapping is copied one level deep.

    Raises:
        TypeError: If it is neither a `Message` nor a mapping.
        ValueError: If a mapping has no ``role``.
    """
    if isinstance(message, Message):
        return _from_message(message)
    if not isinstance(message, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"a message must be a Message or a mapping such as {{'role': 'user', 'content': '…'}}, "
            f"not {type(message).__name__}"
        )
    if not isinstance(message.get("role"), str):
        raise ValueError("a message needs a 'role': 'system', 'user', 'assistant' or 'tool'")
    return dict(message)


def _from_message(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        result["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    optional = {"tool_call_id": message.tool_call_id, "name": message.name, "reasoning_content": message.reasoning}
    result.update((key, value) for key, value in optional.items() if value is not None)
    return result


def tool_call_from_dict(call: Mapping[str, Any]) -> ToolCall | None:
    """Reads one entry of ``tool_calls``; None when it has no id or no name."""
    function = cast("Mapping[str, Any]", call.get("function") or {})
    identifier, name = call.get("id"), function.get("name")
    if not identifier or not name:
        return None
    return ToolCall(id=str(identifier), name=str(name), arguments=str(function.get("arguments") or "{}"))


def tool_to_dict(tool: ToolLike) -> dict[str, Any]:
    """Gives a tool in OpenAI's nested shape; the flat one is wrapped, the nested one never twice.

    Raises:
        TypeError: If it is neither a `ToolDefinition` nor a mapping.
        ValueError: If it has no name.
    """
    if isinstance(tool, ToolDefinition):
        tool = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if not isinstance(tool, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"a tool must be a ToolDefinition or a mapping, not {type(tool).__name__}")
    nested = tool.get("function")
    function = cast("Mapping[str, Any]", nested if isinstance(nested, Mapping) else tool)
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise ValueError("a tool needs a 'name'")
    if isinstance(nested, Mapping):
        return {"type": "function", **tool}
    return {"type": "function", "function": {key: value for key, value in function.items() if key != "type"}}

"""Messages and tools in every form that users write."""

from __future__ import annotations

from typing import Any, cast

import pytest

from looopy_otel.core.messages import message_from_dict, message_to_dict, tool_to_dict
from looopy_otel.core.types import Message, ToolCall, ToolDefinition

NESTED = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "tool",
    [
        NESTED,
        {"function": NESTED["function"]},
        NESTED["function"],
        {"type": "function", **cast("dict[str, Any]", NESTED["function"])},
        ToolDefinition("f", "d", {"type": "object"}),
    ],
)
def test_tools_are_wrapped_once(tool: Any) -> None:
    assert tool_to_dict(tool) == NESTED


@pytest.mark.parametrize("tool", [{}, {"function": {}}, {"name": ""}, {"name": 3}])
def test_a_tool_needs_a_name(tool: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        tool_to_dict(tool)


def test_what_is_no_tool_or_message() -> None:
    with pytest.raises(TypeError, match="ToolDefinition"):
        tool_to_dict(cast("Any", "f"))
    with pytest.raises(TypeError, match="'role': 'user'"):
        message_to_dict(cast("Any", "Hello!"))
    with pytest.raises(ValueError, match="role"):
        message_to_dict({"content": "Hello!"})


def test_messages_there_and_back() -> None:
    for message in (
        Message("user", "Hello!"),
        Message("assistant", None, (ToolCall("c", "f", '{"a": 1}'),), reasoning="hm"),
        Message("tool", "1", tool_call_id="c", name="f"),
    ):
        assert message_from_dict(message_to_dict(message)) == message


def test_tool_calls_without_id_or_name_are_left_out_and_empty_arguments_are_an_object() -> None:
    calls: list[dict[str, Any]] = [
        {"id": "a", "function": {"name": "f", "arguments": ""}},
        {"id": "", "function": {"name": "f"}},
        {"id": "b", "function": {}},
    ]
    message = message_from_dict({"role": "assistant", "content": None, "tool_calls": calls})
    assert message.tool_calls == (ToolCall("a", "f", "{}"),)

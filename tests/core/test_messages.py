"""Messages and tools in every form that users write."""

from __future__ import annotations

from typing import Any, cast

import pytest

from looopy_otel.core.messages import message_to_dict, tool_call_from_dict, tool_to_dict
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


def test_a_message_in_the_shape_of_openai() -> None:
    assert message_to_dict(Message("assistant", None, (ToolCall("c", "f", '{"a": 1}'),), reasoning="hm")) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        "reasoning_content": "hm",
    }
    assert message_to_dict(Message("tool", "1", tool_call_id="c", name="f")) == {
        "role": "tool",
        "content": "1",
        "tool_call_id": "c",
        "name": "f",
    }


@pytest.mark.parametrize(
    ("entry", "call"),
    [
        ({"id": "a", "function": {"name": "f", "arguments": ""}}, ToolCall("a", "f", "{}")),
        ({"id": "a", "function": {"name": "f", "arguments": '{"x": 1}'}}, ToolCall("a", "f", '{"x": 1}')),
        ({"id": "", "function": {"name": "f"}}, None),
        ({"id": "b", "function": {}}, None),
    ],
)
def test_tool_calls_need_an_id_and_a_name(entry: dict[str, Any], call: ToolCall | None) -> None:
    assert tool_call_from_dict(entry) == call

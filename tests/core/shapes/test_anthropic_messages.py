"""Anthropic's messages: requests, answers in every form, and what goes back into a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anthropic
import pytest

from looopy_otel.core.messages import tool_to_dict
from looopy_otel.core.shapes.anthropic_messages import ANTHROPIC_MESSAGES
from looopy_otel.core.types import LLMResponse, Message, ToolCall, ToolDefinition
from looopy_otel.core.usage import Usage
from tests.core.shapes.forms import PLAIN, Form, sdk

FORMS: dict[str, Form] = {**PLAIN, "anthropic": sdk("message")}
USE: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
THOUGHT: dict[str, Any] = {"type": "thinking", "thinking": "hm", "signature": "sig"}
CALL: dict[str, Any] = {"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def message(*blocks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 20, "output_tokens": 7}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": list(blocks)}
    return {**body, "stop_reason": "tool_use", "stop_sequence": None, "usage": usage, **fields}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_answer_in_every_form(form: Form) -> None:
    native = form(message(THOUGHT, {"type": "text", "text": "Adding."}, USE))
    response = ANTHROPIC_MESSAGES.response(native)
    assert response == LLMResponse(
        message=Message("assistant", "Adding.", (ToolCall("t1", "add", '{"a": 1}'),), reasoning="hm"),
        model="claude-x",
        usage=Usage(35, 7, cache_read_tokens=10, cache_write_tokens=20),
        usage_source="reported",
        finish_reason="tool_use",
        id="msg_1",
    )
    assert response is not None
    assert response.native is native


def test_blocks_that_are_more_than_one_text_stay_as_they_came() -> None:
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    cited = {"type": "text", "text": "a", "citations": [{"type": "char_location", "cited_text": "x"}]}
    hidden = {"type": "redacted_thinking", "data": "zzz"}
    contents: list[Any] = []
    for blocks in (texts, [cited], [hidden, texts[0]], []):
        response = ANTHROPIC_MESSAGES.response(message(*blocks))
        contents.append(response and response.message.content)
    assert contents == [texts, [cited], [hidden, texts[0]], None]


@pytest.mark.parametrize("answer", [None, "text", {}, {"content": []}, {"role": "assistant", "content": "x"}, object()])
def test_what_is_no_message(answer: object) -> None:
    assert ANTHROPIC_MESSAGES.response(answer) is None


TOOL: dict[str, Any] = {"name": "add", "description": "Adds.", "input_schema": {"type": "object"}}
SEARCH: dict[str, Any] = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
ARGUMENTS: dict[str, Any] = {
    "model": "claude-x",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "Adding."}, USE]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "2"}]},
                {"type": "tool_result", "tool_use_id": "t2", "content": "bad", "is_error": True},
                {"type": "text", "text": "Go on."},
            ],
        },
    ],
    "tools": [TOOL, SEARCH],
    "tool_choice": {"type": "auto"},
    "temperature": anthropic.NOT_GIVEN,
    "top_k": 5,
    "stop_sequences": ["END"],
    "metadata": {"user_id": "u"},
    "stream": True,
}


def test_a_request() -> None:
    call = ANTHROPIC_MESSAGES.call(ARGUMENTS)
    assert list(call.messages) == [
        {"role": "system", "content": ARGUMENTS["system"]},
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "Adding.", "tool_calls": [CALL], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "t1", "content": "2"},
        {"role": "tool", "tool_call_id": "t2", "content": "bad", "is_error": True},
        {"role": "user", "content": [{"type": "text", "text": "Go on."}]},
    ]
    assert [(tool["type"], tool["function"]["name"]) for tool in map(tool_to_dict, call.tools)] == [
        ("function", "add"),
        ("web_search_20250305", "web_search"),
    ]
    assert call.parameters == {"max_tokens": 100, "top_k": 5, "stop_sequences": ["END"]}
    assert (call.model, call.stream, call.metadata) == ("claude-x", True, {"user_id": "u"})
    assert ANTHROPIC_MESSAGES.asking_for_usage(ARGUMENTS) is None


def test_what_a_middleware_left_alone_goes_out_as_it_came() -> None:
    before = ANTHROPIC_MESSAGES.call(ARGUMENTS)
    more = [Message("assistant", None, (ToolCall("t3", "add", '{"a": 2}'),), reasoning="hm")]
    results = [Message("tool", "4", tool_call_id="t3"), Message("tool", "5", tool_call_id="t4")]
    after = replace(
        before,
        messages=[{"role": "system", "content": "Be long."}, *before.messages[1:], *more, *results],
        tools=[*before.tools, ToolDefinition("sub", "Subtracts.")],
    )
    changed = ANTHROPIC_MESSAGES.arguments(ARGUMENTS, before, after)
    assert changed["system"] == "Be long."
    assert [kept is sent for kept, sent in zip(changed["messages"], ARGUMENTS["messages"], strict=False)] == [True] * 3
    assert changed["messages"][3:] == [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t3", "name": "add", "input": {"a": 2}}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t3", "content": "4"},
                {"type": "tool_result", "tool_use_id": "t4", "content": "5"},
            ],
        },
    ]
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    assert changed["tools"] == [TOOL, SEARCH, {"name": "sub", "description": "Subtracts.", "input_schema": schema}]
    assert changed["top_k"] == 5


def test_system_prompts_come_and_go() -> None:
    before = ANTHROPIC_MESSAGES.call(ARGUMENTS)
    without = replace(before, messages=before.messages[1:])
    assert "system" not in ANTHROPIC_MESSAGES.arguments(ARGUMENTS, before, without)
    several = replace(before, messages=[*before.messages, {"role": "system", "content": "Now!"}])
    assert ANTHROPIC_MESSAGES.arguments(ARGUMENTS, before, several)["system"] == [
        *ARGUMENTS["system"],
        {"type": "text", "text": "Now!"},
    ]


@pytest.mark.parametrize("arguments", ["{broken", "[1]", "5"])
def test_arguments_that_are_no_object_become_one(arguments: str) -> None:
    made = LLMResponse(Message("assistant", None, (ToolCall("t", "add", arguments),)))
    assert isinstance(ANTHROPIC_MESSAGES.answer(made)["content"][0]["input"], dict)


def test_a_response_that_a_middleware_made_can_be_read_by_the_sdk() -> None:
    made = LLMResponse(
        Message("assistant", "2", (ToolCall("t1", "add", '{"a": 1}'),)),
        model="m",
        usage=Usage(30, 4, cache_read_tokens=10, cache_write_tokens=5),
    )
    native = sdk("message")(ANTHROPIC_MESSAGES.answer(made))
    read = ANTHROPIC_MESSAGES.response(native)
    assert native.usage.input_tokens == 15
    assert read is not None
    assert (read.message, read.usage, read.finish_reason) == (made.message, made.usage, "tool_use")

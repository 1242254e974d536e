"""OpenAI's responses: requests, answers in every form, and what goes back into a request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import openai
import pytest

from looopy_otel.core.messages import tool_to_dict
from looopy_otel.core.shapes.openai_responses import OPENAI_RESPONSES
from looopy_otel.core.types import LLMResponse, Message, ToolCall, ToolDefinition
from looopy_otel.core.usage import Usage
from tests.core.shapes.forms import PLAIN, Form, sdk

FORMS: dict[str, Form] = {**PLAIN, "openai": sdk("response")}
THOUGHT: dict[str, Any] = {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
SAID: dict[str, Any] = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "Adding.", "annotations": [], "logprobs": []}],
}
CALL: dict[str, Any] = {"id": "f", "type": "function_call", "call_id": "c1", "name": "add", "arguments": "{}"}
SEARCH: dict[str, Any] = {
    "id": "ws",
    "type": "web_search_call",
    "status": "completed",
    "action": {"type": "search", "query": "x"},
}


def body(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 12,
        "output_tokens": 7,
        "total_tokens": 19,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "output_tokens_details": {"reasoning_tokens": 3},
    }
    head = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "output": list(items)}
    rest: dict[str, Any] = {
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "status": "completed",
        "usage": usage,
    }
    return {**head, **rest, **fields}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_answer_in_every_form(form: Form) -> None:
    native = form(body(THOUGHT, SAID, CALL))
    response = OPENAI_RESPONSES.response(native)
    assert response == LLMResponse(
        message=Message("assistant", "Adding.", (ToolCall("c1", "add", "{}"),), reasoning="hm"),
        model="gpt-5",
        usage=Usage(12, 7, cache_read_tokens=4, cache_write_tokens=1, reasoning_tokens=3),
        usage_source="reported",
        finish_reason="completed",
        id="resp_1",
    )
    assert response is not None
    assert response.native is native


def test_refusals_custom_calls_and_what_openai_itself_did() -> None:
    refusal = {**SAID, "content": [{"type": "refusal", "refusal": "No."}]}
    custom = {"type": "custom_tool_call", "call_id": "c2", "name": "sql", "input": "select"}
    refused, searched = OPENAI_RESPONSES.response(body(refusal)), OPENAI_RESPONSES.response(body(SEARCH, SAID, custom))
    assert refused is not None
    assert searched is not None
    assert refused.message.content == "No."
    assert searched.message.content == [SEARCH, {"type": "text", "text": "Adding."}]
    assert searched.tool_calls == (ToolCall("c2", "sql", "select"),)


@pytest.mark.parametrize(
    ("fields", "finish_reason", "outcome"),
    [
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "max_output_tokens",
            "completed",
        ),
        ({"status": "failed", "error": {"code": "server_error", "message": "x"}}, "failed", "error"),
        ({"status": "cancelled"}, "cancelled", "cancelled"),
        ({"status": "queued", "usage": None}, None, "completed"),
    ],
)
def test_other_ends(fields: dict[str, Any], finish_reason: str | None, outcome: str) -> None:
    response = OPENAI_RESPONSES.response(sdk("response")(body(SAID, **fields)))
    assert response is not None
    assert (response.finish_reason, response.outcome) == (finish_reason, outcome)


@pytest.mark.parametrize("answer", [None, "text", {}, {"output": []}, {"object": "response"}, object()])
def test_what_is_no_response(answer: object) -> None:
    assert OPENAI_RESPONSES.response(answer) is None


OUTPUT: dict[str, Any] = {"type": "function_call_output", "call_id": "c1", "output": "2"}
PICTURE: dict[str, Any] = {"type": "input_image", "image_url": "https://x/y.png"}
TOOL: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
ARGUMENTS: dict[str, Any] = {
    "model": "gpt-5",
    "instructions": "Be short.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "What?"}, PICTURE]},
        THOUGHT,
        SAID,
        CALL,
        OUTPUT,
        {"type": "item_reference", "id": "msg_0"},
        {"role": "developer", "content": "Go on."},
    ],
    "tools": [TOOL, {"type": "file_search", "vector_store_ids": ["v"]}],
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "reasoning": {"effort": "low"},
    "temperature": openai.omit,
    "previous_response_id": "resp_0",
    "stream": True,
}


def test_a_request() -> None:
    call = OPENAI_RESPONSES.call(ARGUMENTS)
    arguments = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}]
    assert list(call.messages) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, PICTURE]},
        {"role": "assistant", "content": "Adding.", "tool_calls": arguments, "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "developer", "content": "Go on."},
    ]
    assert [tool_to_dict(tool)["function"]["name"] for tool in call.tools] == ["add", "file_search"]
    assert call.response_format == {"type": "json_object"}
    assert call.parameters == {"reasoning": {"effort": "low"}, "previous_response_id": "resp_0"}
    assert OPENAI_RESPONSES.asking_for_usage(ARGUMENTS) is None
    assert OPENAI_RESPONSES.call({"input": "hi"}).messages == ({"role": "user", "content": "hi"},)
    assert OPENAI_RESPONSES.call({"prompt": {"id": "p"}}).messages == ()


def test_what_a_middleware_left_alone_goes_out_as_it_came() -> None:
    before = OPENAI_RESPONSES.call(ARGUMENTS)
    more = [Message("assistant", "a", (ToolCall("c3", "add", "{}"),)), Message("tool", "4", tool_call_id="c3")]
    after = replace(
        before,
        messages=[{"role": "system", "content": "Be long."}, *before.messages[1:], *more],
        tools=[*before.tools, ToolDefinition("sub", "Subtracts.")],
        response_format=None,
    )
    changed = OPENAI_RESPONSES.arguments(ARGUMENTS, before, after)
    assert changed["instructions"] == "Be long."
    assert changed["input"][:7] == ARGUMENTS["input"]
    assert changed["input"][7:] == [
        {"role": "assistant", "content": "a"},
        {"type": "function_call", "call_id": "c3", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c3", "output": "4"},
    ]
    assert changed["tools"][:2] == ARGUMENTS["tools"]
    assert (changed["tools"][2]["type"], changed["tools"][2]["name"]) == ("function", "sub")
    assert changed["text"] == {"verbosity": "low"}
    dropped = replace(before, messages=before.messages[1:2])
    assert "instructions" not in OPENAI_RESPONSES.arguments(ARGUMENTS, before, dropped)


def test_a_text_as_input_becomes_a_list_where_something_is_added() -> None:
    arguments: dict[str, Any] = {"model": "m", "input": "hi"}
    before = OPENAI_RESPONSES.call(arguments)
    after = replace(before, messages=[{"role": "system", "content": [{"type": "text", "text": "s"}]}, *before.messages])
    assert OPENAI_RESPONSES.arguments(arguments, before, after)["input"] == [
        {"role": "system", "content": [{"type": "input_text", "text": "s"}]},
        {"role": "user", "content": "hi"},
    ]
    assert OPENAI_RESPONSES.arguments(arguments, before, before) == arguments


def test_a_response_that_a_middleware_made_can_be_read_by_the_sdk() -> None:
    made = LLMResponse(
        Message("assistant", "2", (ToolCall("c1", "add", "{}"),)),
        model="m",
        usage=Usage(3, 4, cache_read_tokens=1, cache_write_tokens=0, reasoning_tokens=2),
    )
    native = sdk("response")(OPENAI_RESPONSES.answer(made))
    read = OPENAI_RESPONSES.response(native)
    assert native.output_text == "2"
    assert read is not None
    assert (read.message, read.usage) == (made.message, made.usage)

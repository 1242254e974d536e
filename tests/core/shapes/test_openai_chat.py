"""OpenAI's chat completions: requests, answers in every form, and what goes back into a request."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import litellm
import openai
import pytest
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT, OPENAI_COMPLETIONS
from looopy_otel.core.types import LLMResponse, Message, ToolCall, ToolDefinition
from looopy_otel.core.usage import Usage
from tests.core.shapes.forms import PLAIN, Form, sdk

USAGE: dict[str, Any] = {
    "prompt_tokens": 12,
    "completion_tokens": 7,
    "total_tokens": 19,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def completion(*messages: dict[str, Any], finish_reason: str = "stop", **fields: Any) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", **message}, "finish_reason": finish_reason, "logprobs": None}
        for index, message in enumerate(messages)
    ]
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024", "choices": choices}
    return {**body, "usage": USAGE, **fields}


def call_of(name: str, identifier: str, arguments: str) -> dict[str, Any]:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


FORMS: dict[str, Form] = {**PLAIN, "openai": sdk("chat"), "litellm": lambda body: litellm.ModelResponse(**body)}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_an_answer_in_every_form(form: Form) -> None:
    native = form(completion({"content": "2"}))
    response = OPENAI_CHAT.response(native)
    assert response == LLMResponse(
        message=Message("assistant", "2"),
        model="gpt-4o-2024",
        usage=Usage(12, 7, cache_read_tokens=4, reasoning_tokens=3),
        usage_source="reported",
        finish_reason="stop",
        id="chatcmpl-1",
    )
    assert response is not None
    assert response.native is native


MESSAGES: dict[str, tuple[dict[str, Any], Message]] = {
    "reasoning": ({"content": "2", "reasoning_content": "hm"}, Message("assistant", "2", reasoning="hm")),
    "reasoning of other gateways": ({"content": "2", "reasoning": "hm"}, Message("assistant", "2", reasoning="hm")),
    "a refusal": ({"content": None, "refusal": "No."}, Message("assistant", "No.")),
    "a tool call": (
        {"content": None, "tool_calls": [call_of("add", "c1", '{"a": 1}')]},
        Message("assistant", tool_calls=(ToolCall("c1", "add", '{"a": 1}'),)),
    ),
    "a custom tool call": (
        {"content": None, "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select"}}]},
        Message("assistant", tool_calls=(ToolCall("c1", "sql", "select"),)),
    ),
    "the older function call": (
        {"content": None, "function_call": {"name": "add", "arguments": "{}"}},
        Message("assistant", tool_calls=(ToolCall("add", "add", "{}"),)),
    ),
    "spoken words": (
        {"content": None, "audio": {"id": "a1", "data": "AAA=", "transcript": "Two.", "expires_at": 5}},
        Message(
            "assistant",
            [{"type": "audio", "audio": {"id": "a1", "data": "AAA=", "transcript": "Two.", "expires_at": 5}}],
        ),
    ),
}


@pytest.mark.parametrize("form", ["json", "attributes", "openai"])
@pytest.mark.parametrize("case", MESSAGES)
def test_messages(case: str, form: str) -> None:
    sent, expected = MESSAGES[case]
    response = OPENAI_CHAT.response(FORMS[form](completion(sent)))
    assert response is not None
    assert response.message == expected


def test_content_parts_and_pictures_stay_as_they_came() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    response = OPENAI_CHAT.response(completion({"content": [thinking, "see"], "images": [picture]}))
    assert response is not None
    assert response.message.content == [thinking, {"type": "text", "text": "see"}, picture]


def test_several_choices() -> None:
    response = OPENAI_CHAT.response(completion({"content": "a"}, {"content": "b"}, {"content": "c"}))
    assert response is not None
    assert [message.content for message in (response.message, *response.others)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (0.25, Decimal("0.25")),
        (0, None),
        ("x", None),
        (-1, None),
        ({"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.0061}, Decimal("0.0061")),
        ({"request_cost": 0.005}, None),
    ],
)
def test_a_cost_that_the_gateway_reports(cost: object, expected: Decimal | None) -> None:
    response = OPENAI_CHAT.response(completion({"content": "a"}, usage={**USAGE, "cost": cost}))
    assert response is not None
    assert (response.cost, response.cost_source) == (expected, "provider" if expected else "unknown")


@pytest.mark.parametrize(
    "answer",
    [None, "text", 5, [], {}, {"choices": []}, {"choices": None}, {"choices": [None]}, {"choices": ["x"]},
     {"choices": [{"message": "x"}]}, {"error": {"message": "no"}}, object(), BaseModel],
    ids=lambda value: type(value).__name__ + str(value)[:40].split(" at 0x")[0],
)  # fmt: skip
def test_what_is_no_completion(answer: object) -> None:
    assert OPENAI_CHAT.response(answer) is None


def test_a_request() -> None:
    call = OPENAI_CHAT.call(
        {
            "model": "gpt-4o",
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [TOOL],
            "tool_choice": "auto",
            "response_format": {"type": "json_object"},
            "temperature": 0.5,
            "max_tokens": openai.NOT_GIVEN,
            "seed": openai.omit,
            "top_p": None,
            "metadata": {"run": "7"},
            "stream": True,
            "api_key": "sk-secret",
            "extra_headers": {"authorization": "secret"},
            "prediction": {"type": "content", "content": "long"},
        }
    )
    assert call.messages == ({"role": "user", "content": "hi"},)
    assert call.tools == (TOOL,)
    assert (call.model, call.tool_choice, call.response_format) == ("gpt-4o", "auto", {"type": "json_object"})
    assert call.parameters == {"temperature": 0.5}
    assert (call.stream, call.operation, call.metadata) == (True, "chat", {"run": "7"})


def test_a_request_with_objects_and_with_nothing() -> None:
    answered = ChatCompletionMessage.model_validate({"role": "assistant", "tool_calls": [call_of("add", "c", "{}")]})

    class Sum(BaseModel):
        total: int

    call = OPENAI_CHAT.call({"messages": [answered], "response_format": Sum, "functions": [TOOL["function"]]})
    assert call.messages == ({"role": "assistant", "tool_calls": [call_of("add", "c", "{}")]},)
    assert call.response_format == {"type": "json_schema", "json_schema": {"name": "Sum"}}
    assert call.tools == (TOOL,)
    empty = OPENAI_CHAT.call({"model": openai.omit, "messages": iter([{"role": "user"}]), "stream": openai.omit})
    assert (empty.messages, empty.model, empty.tools, empty.stream) == ((), "", (), False)


def test_what_a_middleware_changed_goes_back_and_all_else_stays() -> None:
    first = ChatCompletionMessage.model_validate({"role": "assistant", "content": "x"})
    arguments: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [first, {"role": "user", "content": "hi"}],
        "tools": [TOOL],
        "temperature": 1,
        "top_p": 0.5,
        "api_key": "sk-1",
    }
    before = OPENAI_CHAT.call(arguments)
    assert OPENAI_CHAT.arguments(arguments, before, before) == arguments
    after = replace(
        before,
        model="gpt-4o-mini",
        messages=[*before.messages, Message("assistant", "a", reasoning="r"), {"role": "user", "content": "more"}],
        tools=[*before.tools, ToolDefinition("sub", "Subtracts.")],
        parameters={"temperature": 0, "seed": 5},
        response_format={"type": "json_object"},
    )
    changed = OPENAI_CHAT.arguments(arguments, before, after)
    assert changed["messages"][0] is first
    assert changed["messages"][2:] == [{"role": "assistant", "content": "a"}, {"role": "user", "content": "more"}]
    assert [tool["function"]["name"] for tool in changed["tools"]] == ["add", "sub"]
    assert {name: changed.get(name) for name in ("model", "temperature", "seed", "top_p", "api_key")} == {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "seed": 5,
        "top_p": None,
        "api_key": "sk-1",
    }
    assert changed["response_format"] == {"type": "json_object"}
    assert arguments["model"] == "gpt-4o"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": openai.NOT_GIVEN}, {"include_usage": True}),
        ({"stream_options": {"include_obfuscation": False}}, {"include_obfuscation": False, "include_usage": True}),
        ({"stream_options": {"include_usage": True}}, None),
        ({"stream_options": {"include_usage": False}}, None),
        ({"stream": False}, None),
        ({"stream": openai.omit}, None),
    ],
)
def test_asking_for_usage(options: dict[str, Any], asked: object) -> None:
    fields = OPENAI_CHAT.asking_for_usage({"model": "m", "stream": True, **options})
    assert (fields["stream_options"] if fields else None) == asked


def test_a_response_that_a_middleware_made_can_be_read_by_the_sdk() -> None:
    made = LLMResponse(
        Message("assistant", "2", (ToolCall("c1", "add", "{}"),)),
        model="m",
        usage=Usage(3, 4, cache_read_tokens=1, reasoning_tokens=2),
        others=(Message("assistant", "3"),),
    )
    body = OPENAI_CHAT.answer(made)
    native = sdk("chat")(body)
    assert native.choices[0].message.tool_calls[0].function.name == "add"
    read = OPENAI_CHAT.response(native)
    assert read is not None
    assert (read.message, read.others, read.usage, read.finish_reason) == (
        made.message, made.others, made.usage, "tool_calls",
    )  # fmt: skip


def test_text_completions() -> None:
    arguments: dict[str, Any] = {"model": "davinci-002", "prompt": "Once", "max_tokens": 5}
    call = OPENAI_COMPLETIONS.call(arguments)
    assert (call.operation, call.messages, call.input) == (
        "text_completion",
        ({"role": "user", "content": "Once"},),
        None,
    )
    assert OPENAI_COMPLETIONS.call({"model": "m", "prompt": ["a", "b"]}).input == ["a", "b"]
    after = replace(call, messages=[{"role": "user", "content": "Twice"}])
    assert OPENAI_COMPLETIONS.arguments(arguments, call, after)["prompt"] == "Twice"
    choice = {"index": 0, "text": " upon", "finish_reason": "length", "logprobs": None}
    body = {"id": "1", "object": "text_completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    for form in (*PLAIN.values(), sdk("completion")):
        response = OPENAI_COMPLETIONS.response(form(body))
        assert response is not None
        assert (response.message.content, response.finish_reason) == (" upon", "length")
        assert sdk("completion")(OPENAI_COMPLETIONS.answer(response)).choices[0].text == " upon"

"""Answers and streams that nobody named, told by their structure."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from openai.types.chat import ChatCompletionMessage

from looopy_otel.core.shapes.recognise import joiner_for, recognised
from looopy_otel.core.types import (
    ContentComplete,
    ContentDelta,
    LLMResponse,
    LLMUsage,
    Message,
    ThoughtStream,
    ToolCall,
    ToolCallEvent,
)
from looopy_otel.core.usage import Usage
from tests.core.shapes.forms import PLAIN, Form

ANSWERS: dict[str, tuple[dict[str, Any], Message, Usage | None, str | None]] = {
    "openai": (
        {"choices": [{"message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]},
        Message("assistant", "a"),
        None,
        "stop",
    ),
    "anthropic": (
        {"role": "assistant", "content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"},
        Message("assistant", "a"),
        None,
        "end_turn",
    ),
    "responses": (
        {"object": "response", "status": "completed", "output": []},
        Message("assistant"),
        None,
        "completed",
    ),
    "embeddings": (
        {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 3}},
        Message("assistant"),
        Usage(3, 0),
        None,
    ),
    "gemini": (
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "a"},
                            {"functionCall": {"name": "add", "args": {"a": 1}}},
                        ],
                    },
                    "finishReason": "STOP",
                }
            ],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 4},
        },
        Message("assistant", "a", (ToolCall("add", "add", '{"a": 1}'),), reasoning="hm"),
        Usage(5, 6, reasoning_tokens=4),
        "STOP",
    ),
    "bedrock": (
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm"}}},
                        {"text": "a"},
                        {"toolUse": {"toolUseId": "t", "name": "add", "input": {}}},
                    ],
                }
            },
            "stopReason": "tool_use",
            "usage": {"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 3, "totalTokens": 10},
        },
        Message("assistant", "a", (ToolCall("t", "add", "{}"),), reasoning="hm"),
        Usage(8, 2, cache_read_tokens=3),
        "tool_use",
    ),
    "ollama": (
        {
            "model": "llama3",
            "message": {"role": "assistant", "content": "a", "thinking": "hm"},
            "done_reason": "stop",
            "prompt_eval_count": 5,
            "eval_count": 2,
        },
        Message("assistant", "a", reasoning="hm"),
        Usage(5, 2),
        "stop",
    ),
    "cohere": (
        {
            "message": {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
            "finish_reason": "COMPLETE",
            "usage": {"tokens": {"input_tokens": 5, "output_tokens": 2}},
        },
        Message("assistant", [{"type": "text", "text": "a"}]),
        Usage(5, 2),
        "COMPLETE",
    ),
    "a message": ({"role": "assistant", "content": "a"}, Message("assistant", "a"), None, None),
}


@pytest.mark.parametrize("form", PLAIN.values(), ids=PLAIN)
@pytest.mark.parametrize("vendor", ANSWERS)
def test_answers(vendor: str, form: Form) -> None:
    body, message, usage, finish_reason = ANSWERS[vendor]
    native = form(body)
    response = recognised(native)
    assert response is not None
    assert (response.message, response.usage, response.finish_reason) == (message, usage, finish_reason)
    assert response.usage_source == ("reported" if usage else "missing")
    assert response.native is native


def test_our_own_and_an_sdk_message() -> None:
    response = LLMResponse(Message("assistant", "a"))
    assert recognised(response) is response
    assert recognised(response.message) == response
    assert recognised(ChatCompletionMessage(role="assistant", content="a")) == response


@pytest.mark.parametrize(
    "value",
    [None, "text", b"x", 5, 2.5, True, [], {}, {"a": 1}, {"role": "user", "content": "x"}, {"output": []},
     {"data": [1]}, {"candidates": []}, object(), MagicMock(), MagicMock, LLMResponse],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_answer(value: object) -> None:
    assert recognised(value) is None


@pytest.mark.parametrize(
    "chunk", [None, 5, b"x", {}, {"type": "x"}, {"type": 5}, {"choices": 1}, object(), MagicMock()]
)
def test_what_is_no_chunk(chunk: object) -> None:
    assert joiner_for(chunk) is None


def test_a_stream_of_strings() -> None:
    joiner = joiner_for("a")
    assert joiner is not None
    assert joiner.response() is None
    assert [joiner.add(piece).delta for piece in ("a", "", "b", None)] == [True, False, True, False]
    response = joiner.response("abandoned")
    assert response is not None
    assert (response.message.content, response.outcome, joiner.finished) == ("ab", "abandoned", False)


def test_a_stream_of_our_own_events() -> None:
    call = ToolCall("c", "add", "{}")
    events = [ThoughtStream("hm"), ContentDelta("a"), ContentDelta("b"), ToolCallEvent(call), LLMUsage(Usage(1, 2))]
    joiner = joiner_for(events[0])
    assert joiner is not None
    assert [joiner.add(event).delta for event in events] == [True, True, True, True, False]
    response = joiner.response()
    assert response is not None
    assert (response.message, response.usage) == (Message("assistant", "ab", (call,), reasoning="hm"), Usage(1, 2))
    assert not joiner.finished
    joiner.add(ContentComplete(response))
    assert joiner.finished
    assert joiner.response() is response

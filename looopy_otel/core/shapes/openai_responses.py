"""OpenAI's responses.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from looopy_otel.core.messages import message_to_dict, tool_to_dict
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.fields import as_list, as_text, chosen, get, given, is_list, plain, plain_object
from looopy_otel.core.shapes.openai_responses_joining import ResponseJoiner
from looopy_otel.core.shapes.openai_responses_reading import input_readings, instructions_readings, response_of
from looopy_otel.core.shapes.request import (
    canonical,
    changed_fields,
    metadata_of,
    put,
    tool_readings,
    tools_of,
    with_parameters,
)
from looopy_otel.core.shapes.rewriting import rewritten
from looopy_otel.core.shapes.shape import Joiner, WireFormat
from looopy_otel.core.types import LLMResponse, MessageLike
from looopy_otel.core.usage import Usage

_PARAMETERS = (
    "background", "conversation", "include", "max_output_tokens", "max_tool_calls", "parallel_tool_calls",
    "previous_response_id", "prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier",
    "service_tier", "store", "temperature", "top_logprobs", "top_p", "truncation", "user", "verbosity",
)  # fmt: skip


class _ResponsesFormat:
    """``POST /responses``."""

    def call(self, arguments: Mapping[str, Any]) -> LLMCall:
        """Reads a request; the instructions become the first message, each turn's items one message."""
        fields = given(arguments)
        return LLMCall(
            messages=canonical(
                [*instructions_readings(fields.get("instructions")), *input_readings(fields.get("input"))]
            ),
            model=as_text(fields.get("model")) or "",
            tools=tools_of(fields.get("tools")),
            tool_choice=plain(fields.get("tool_choice")),
            response_format=plain(get(fields.get("text"), "format")),
            parameters=chosen(fields, _PARAMETERS),
            stream=fields.get("stream") is True,
            metadata=metadata_of(fields),
        )

    def arguments(self, arguments: Mapping[str, Any], before: LLMCall, after: LLMCall) -> dict[str, Any]:
        """The request's fields with what a middleware changed in it."""
        fields = dict(arguments)
        changes = changed_fields(before, after, ("messages", "tools", "model", "tool_choice", "metadata"))
        if "messages" in changes:
            del changes["messages"]
            instructions, others = _parted(arguments, after.messages)
            put(fields, "instructions", instructions)
            fields["input"] = rewritten(input_readings(get(arguments, "input")), others, _written_items)
        if "tools" in changes:
            changes["tools"] = rewritten(tool_readings(get(arguments, "tools")), after.tools, _written_tools)
        if changed_fields(before, after, ("response_format",)):
            text = given({**plain_object(get(arguments, "text")), "format": after.response_format})
            put(fields, "text", text)
        for name, value in changes.items():
            put(fields, name, value)
        with_parameters(fields, before, after)
        return fields

    def asking_for_usage(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """None: every stream tells its usage."""

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads a ``response``."""
        items = get(answer, "output")
        if get(answer, "object") != "response" or not is_list(items):
            return None
        return replace(response_of(answer, as_list(items)), native=answer)

    def joiner(self) -> Joiner:
        """Makes the joiner of one stream."""
        return ResponseJoiner()

    def answer(self, response: LLMResponse) -> dict[str, Any]:
        """Writes a ``response``."""
        return {
            "id": response.id or "",
            "object": "response",
            "created_at": time.time(),
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "temperature": None,
            "top_p": None,
            "model": response.model or "",
            "output": _written_output(message_to_dict(response.message)),
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": _written_usage(response.usage) if response.usage else None,
        }


OPENAI_RESPONSES: WireFormat = _ResponsesFormat()
"""OpenAI's responses."""


def _parted(arguments: Mapping[str, Any], messages: Sequence[MessageLike]) -> tuple[Any, list[MessageLike]]:
    """What of the messages goes back into the instructions, where the request had some, and what into the input."""
    first = messages[0] if messages else None
    if not instructions_readings(get(arguments, "instructions")) or get(first, "role") != "system":
        return None, list(messages)
    content = get(first, "content")
    texts = [content] if isinstance(content, str) else [get(part, "text") for part in as_list(content)]
    return "\n".join(text for text in texts if isinstance(text, str)), list(messages[1:])


def _written_items(messages: Sequence[MessageLike]) -> list[Any]:
    return [item for message in map(message_to_dict, messages) for item in _items(message)]


def _items(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content")
    if message["role"] == "tool":
        output = content if isinstance(content, str) else _written_parts(content, "input_text")
        return [{"type": "function_call_output", "call_id": message.get("tool_call_id"), "output": output}]
    items: list[dict[str, Any]] = []
    if content:
        kind = "output_text" if message["role"] == "assistant" else "input_text"
        parts = content if isinstance(content, str) else _written_parts(content, kind)
        items.append({"role": message["role"], "content": parts})
    return items + [_written_call(call) for call in as_list(message.get("tool_calls"))]


def _written_parts(content: object, kind: str) -> list[dict[str, Any]]:
    parts = [plain_object(part) for part in as_list(content)]
    return [{**part, "type": kind} if part.get("type") == "text" else part for part in parts]


def _written_call(call: object) -> dict[str, Any]:
    function = get(call, "function")
    named = {"name": get(function, "name"), "arguments": get(function, "arguments")}
    return {"type": "function_call", "call_id": get(call, "id"), **named}


def _written_output(message: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer's message as output items."""
    content = message.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else as_list(content)
    texts = [str(part["text"]) for part in parts if get(part, "type") == "text"]
    said: list[dict[str, Any]] = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    item: dict[str, Any] = {"id": "", "type": "message", "role": "assistant", "status": "completed", "content": said}
    calls = [_written_call(call) for call in as_list(message.get("tool_calls"))]
    return [*([item] if said else []), *calls]


def _written_tools(tools: Sequence[Any]) -> list[Any]:
    written = map(tool_to_dict, tools)
    return [{"type": tool.get("type", "function"), **tool["function"]} for tool in written]


def _written_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }

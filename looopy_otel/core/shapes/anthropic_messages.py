"""Anthropic's messages.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from looopy_otel.core.messages import message_to_dict, tool_to_dict
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.anthropic_joining import MessageJoiner
from looopy_otel.core.shapes.anthropic_reading import conversation_readings, message_of, system_readings
from looopy_otel.core.shapes.content import text_part
from looopy_otel.core.shapes.cost import cost_fields
from looopy_otel.core.shapes.counted import counted
from looopy_otel.core.shapes.fields import as_list, as_text, chosen, get, given, is_list, is_object, plain, plain_object
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
    "container", "context_management", "inference_geo", "max_tokens", "output_config", "service_tier", "speed",
    "stop_sequences", "temperature", "thinking", "top_k", "top_p",
)  # fmt: skip

_SYSTEM_ROLES = ("system", "developer")


class _MessagesFormat:
    """``POST /v1/messages``."""

    def call(self, arguments: Mapping[str, Any]) -> LLMCall:
        """Reads a request; the system prompt becomes the first message, each tool result a message of its own."""
        fields = given(arguments)
        readings = [*system_readings(fields.get("system")), *conversation_readings(fields.get("messages"))]
        return LLMCall(
            messages=canonical(readings),
            model=as_text(fields.get("model")) or "",
            tools=tools_of(fields.get("tools")),
            tool_choice=plain(fields.get("tool_choice")),
            response_format=plain(fields.get("output_format")),
            parameters=chosen(fields, _PARAMETERS),
            stream=fields.get("stream") is True,
            metadata=metadata_of(fields),
        )

    def arguments(self, arguments: Mapping[str, Any], before: LLMCall, after: LLMCall) -> dict[str, Any]:
        """The request's fields with what a middleware changed in it."""
        fields = dict(arguments)
        changes = changed_fields(
            before, after, ("messages", "tools", "model", "tool_choice", "response_format", "metadata")
        )
        if "messages" in changes:
            del changes["messages"]
            system = [message for message in after.messages if _is_system(message)]
            others = [message for message in after.messages if not _is_system(message)]
            prompts = rewritten(system_readings(get(arguments, "system")), system, _written_system)
            put(fields, "system", prompts[0] if len(prompts) == 1 else _joined_prompts(prompts))
            fields["messages"] = rewritten(conversation_readings(get(arguments, "messages")), others, _written_messages)
        if "tools" in changes:
            changes["tools"] = rewritten(tool_readings(get(arguments, "tools")), after.tools, _written_tools)
        if "response_format" in changes:
            changes["output_format"] = changes.pop("response_format")
        for name, value in changes.items():
            put(fields, name, value)
        with_parameters(fields, before, after)
        return fields

    def asking_for_usage(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """None: every stream tells its usage."""

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads a ``message``."""
        blocks = get(answer, "content")
        if get(answer, "role") != "assistant" or not is_list(blocks):
            return None
        message, dropped = message_of(as_list(blocks))
        usage = counted(get(answer, "usage"), message)
        return LLMResponse(
            message=message,
            model=as_text(get(answer, "model")),
            usage=usage,
            usage_source="missing" if usage is None else "reported",
            **cost_fields(get(answer, "usage"), as_text(get(answer, "model"))),
            finish_reason=as_text(get(answer, "stop_reason")),
            id=as_text(get(answer, "id")),
            dropped_tool_calls=dropped,
            service_tier=as_text(get(get(answer, "usage"), "service_tier")),
            native=answer,
        )

    def joiner(self) -> Joiner:
        """Makes the joiner of one stream."""
        return MessageJoiner()

    def answer(self, response: LLMResponse) -> dict[str, Any]:
        """Writes a ``message``."""
        usage = response.usage or Usage(0, 0)
        read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        return {
            "id": response.id or "",
            "type": "message",
            "role": "assistant",
            "model": response.model or "",
            "content": _blocks(message_to_dict(response.message)),
            "stop_reason": response.finish_reason or ("tool_use" if response.tool_calls else "end_turn"),
            "stop_sequence": None,
            "usage": {
                "input_tokens": usage.prompt_tokens - read - written,
                "output_tokens": usage.completion_tokens,
                "cache_read_input_tokens": usage.cache_read_tokens,
                "cache_creation_input_tokens": usage.cache_write_tokens,
                **_kept(usage),
            },
        }


ANTHROPIC_MESSAGES: WireFormat = _MessagesFormat()
"""Anthropic's messages."""


def _kept(usage: Usage) -> dict[str, Any]:
    """How long the cache keeps what was written to it, where that is known."""
    five_minutes, hour = usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    if five_minutes is None and hour is None:
        return {}
    kept = {"ephemeral_5m_input_tokens": five_minutes or 0, "ephemeral_1h_input_tokens": hour or 0}
    return {"cache_creation": kept}


def _is_system(message: MessageLike) -> bool:
    return get(message, "role") in _SYSTEM_ROLES


def _written_system(messages: Sequence[MessageLike]) -> list[Any]:
    return [message_to_dict(message).get("content") for message in messages]


def _joined_prompts(prompts: Sequence[Any]) -> list[dict[str, Any]]:
    """Several system prompts as one, which is all that the API takes."""
    parts = [[text_part(prompt)] if isinstance(prompt, str) else as_list(prompt) for prompt in prompts]
    return [plain_object(part) for prompt in parts for part in prompt]


def _written_messages(messages: Sequence[MessageLike]) -> list[Any]:
    """New messages of a request; tool results that follow each other are one message of the user."""
    result: list[dict[str, Any]] = []
    for message in map(message_to_dict, messages):
        if message["role"] != "tool":
            role = "assistant" if message["role"] == "assistant" else "user"
            content = message.get("content")
            plain_text = isinstance(content, str) and not message.get("tool_calls")
            result.append({"role": role, "content": content if plain_text else _blocks(message)})
            continue
        block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": message.get("content")}
        if message.get("is_error"):
            block["is_error"] = True
        if result and _holds_results(result[-1]):
            result[-1]["content"].append(block)
        else:
            result.append({"role": "user", "content": [block]})
    return result


def _holds_results(message: dict[str, Any]) -> bool:
    blocks = as_list(message.get("content"))
    return bool(blocks) and all(get(block, "type") == "tool_result" for block in blocks)


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's content and tool calls as blocks; thinking is left out, as it would need its signature."""
    content = message.get("content")
    blocks = [text_part(content)] if isinstance(content, str) and content else list(map(plain_object, as_list(content)))
    for call in as_list(message.get("tool_calls")):
        function = get(call, "function")
        arguments = _decoded(get(function, "arguments"))
        blocks.append({"type": "tool_use", "id": get(call, "id"), "name": get(function, "name"), "input": arguments})
    return blocks


def _decoded(arguments: object) -> Any:
    """A tool call's arguments as the object that the API demands."""
    if not isinstance(arguments, str):
        return arguments or {}
    try:
        decoded: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return {"arguments": arguments}
    return decoded if is_object(decoded) else {"arguments": decoded}


def _written_tools(tools: Sequence[Any]) -> list[Any]:
    return [_written_tool(tool_to_dict(tool)) for tool in tools]


def _written_tool(tool: dict[str, Any]) -> dict[str, Any]:
    function = dict(tool["function"])
    schema = function.pop("parameters", None)
    kind = tool.get("type", "function")
    named = {**function} if kind == "function" else {"type": kind, **function}
    return named if schema is None else {**named, "input_schema": schema}

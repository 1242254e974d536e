"""Pydantic AI's messages, requests and answers in the terms of this library; by duck typing, nothing is imported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import urlsplit

from looopy_otel.core.identity import Identity
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse, Message, MessageLike, ToolCall, ToolDefinition
from looopy_otel.core.usage import usage_of
from looopy_otel.core.vendors import UNKNOWN, vendor_of

# What Pydantic AI calls a system, and what LiteLLM does.
_PREFIXES: Final = {
    "google": "gemini",
    "google-gla": "gemini",
    "google-vertex": "vertex_ai",
    "azure": "azure",
    "huggingface": "huggingface",
    "mistral": "mistral",
    "bedrock": "bedrock",
}
_OPENAI_STREAM: Final = "OpenAIStreamedResponse"
_NO_PARAMETERS: Final = frozenset({"extra_headers", "extra_body", "timeout"})


def call_of(
    model: Any, messages: Sequence[Any], settings: Any, request: Any, *, stream: bool, identity: Identity
) -> LLMCall:
    """The call that a model is about to make.

    Args:
        model: The model.
        messages: What it is given.
        settings: The model settings, or None.
        request: The request's parameters: tools, output and instructions.
        stream: True for a streamed call.
        identity: Whose it is.
    """
    name, system = str(model.model_name), str(model.system)
    known = vendor_of(f"{_PREFIXES.get(system, system)}/{name}")
    address, port = _server(getattr(model, "base_url", None))
    tools = (*(getattr(request, "function_tools", None) or ()), *(getattr(request, "output_tools", None) or ()))
    parameters: Mapping[str, Any] = settings or {}
    return LLMCall(
        messages=conversation(messages),
        model=name,
        system=known.system if known is not UNKNOWN else system,
        provider_name=known.provider_name if known is not UNKNOWN else system,
        tools=[_tool(tool) for tool in tools],
        parameters={key: value for key, value in parameters.items() if key not in _NO_PARAMETERS and value is not None},
        stream=stream,
        server_address=address,
        server_port=port,
        identity=identity,
    )


def _server(url: object) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(str(url or ""))
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None


def _tool(tool: Any) -> ToolDefinition:
    return ToolDefinition(str(tool.name), str(tool.description or ""), tool.parameters_json_schema)


def conversation(messages: Iterable[Any]) -> list[MessageLike]:
    """A history in the shape of OpenAI's messages, the instructions of its last request in front."""
    history = list(messages)
    told: list[MessageLike] = [message for one in history for message in _messages(one)]
    instructions = next((text for one in reversed(history) if (text := getattr(one, "instructions", None))), None)
    return [Message("system", str(instructions)), *told] if instructions else told


def _messages(message: Any) -> Iterable[Message]:
    if message.kind == "response":
        yield answer_message(message.parts)
        return
    for part in message.parts:
        match part.part_kind:
            case "system-prompt":
                yield Message("system", part.content)
            case "user-prompt":
                yield Message("user", user_content(part.content))
            case "tool-return":
                yield Message("tool", text_of(part.content), tool_call_id=part.tool_call_id, name=part.tool_name)
            case "retry-prompt":
                yield _retry(part)
            case _:
                pass


def _retry(part: Any) -> Message:
    text = part.model_response()
    return (
        Message("tool", text, tool_call_id=part.tool_call_id, name=part.tool_name)
        if part.tool_name
        else Message("user", text)
    )


def user_content(content: Any) -> str | list[dict[str, Any]]:
    """What a user says: a text, or parts; of media the address or the size stays."""
    if isinstance(content, str):
        return content
    return [_user_part(part) for part in cast("Iterable[Any]", content)]


def _user_part(part: Any) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url, data = getattr(part, "url", None), getattr(part, "data", None)
    kind = str(getattr(part, "kind", type(part).__name__))
    if isinstance(url, str):
        return {"type": kind, "url": url}
    if isinstance(data, bytes):
        return {"type": kind, "media_type": getattr(part, "media_type", None), "size": len(data)}
    return {"type": "text", "text": str(getattr(part, "content", part))}


def answer_message(parts: Iterable[Any]) -> Message:
    """What a model said, as one message."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[ToolCall] = []
    for part in parts:
        match part.part_kind:
            case "text":
                texts.append(part.content)
            case "thinking":
                thoughts.append(part.content)
            case "tool-call":
                calls.append(ToolCall(str(part.tool_call_id), str(part.tool_name), part.args_as_json_str()))
            case _:
                pass
    return Message(
        "assistant",
        "".join(texts) or None,
        tool_calls=tuple(calls),
        reasoning="".join(thoughts) or None,
    )


def response_of(answer: Any, source: Any) -> LLMResponse:
    """A model's answer; the usage of one that told none is missing, not zero, and so is a reason that nobody sent.

    Args:
        answer: The answer.
        source: The model, or the stream, that it came from. Those of OpenAI keep the reason as it was sent, and put
            ``stop`` where none was: a stream without one was cut off.
    """
    usage = usage_of(answer.usage) if _counts_anything(answer.usage) else None
    details = answer.provider_details
    raw = cast("Mapping[str, Any]", details).get("finish_reason") if isinstance(details, Mapping) else None
    kinds = {kind.__name__ for kind in type(source).__mro__}
    invented = not raw and answer.finish_reason == "stop" and bool(kinds & {"OpenAIChatModel", _OPENAI_STREAM})
    finish_reason = None if invented else raw or answer.finish_reason
    cut_off = not finish_reason and _OPENAI_STREAM in kinds
    return LLMResponse(
        message=answer_message(answer.parts),
        outcome="truncated" if cut_off else "completed",
        model=answer.model_name,
        usage=usage,
        usage_source="reported" if usage else "missing",
        finish_reason=str(finish_reason) if finish_reason else None,
        id=getattr(answer, "provider_response_id", None),
    )


def _counts_anything(usage: Any) -> bool:
    return any(
        isinstance(getattr(usage, name, None), int) and getattr(usage, name)
        for name in ("input_tokens", "output_tokens")
    )


def text_of(value: Any) -> str:
    """A tool's result as the text that stands in a conversation."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)

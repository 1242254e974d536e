"""LangChain's messages, requests and answers in the terms of this library; by duck typing, nothing is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

from looopy_otel.core.types import LLMResponse, Message, MessageLike, ToolCall
from looopy_otel.core.usage import usage_of
from looopy_otel.core.vendors import UNKNOWN, ModelVendor, vendor_of

_ROLES: Final = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool", "function": "tool"}
# How `ls_provider` calls them, and how `vendor_of` does.
_PREFIXES: Final = {
    "google_genai": "gemini",
    "google_vertexai": "vertex_ai",
    "amazon_bedrock": "bedrock",
    "bedrock_converse": "bedrock",
    "mistralai": "mistral",
    "fireworks": "fireworks_ai",
    "together": "together_ai",
}
_NO_PARAMETERS: Final = frozenset(
    {"model", "model_name", "stream", "tools", "functions", "tool_choice", "response_format", "_type", "messages",
     "stream_options", "ls_structured_output_format"}
)  # fmt: skip
_SAID_FINISHED: Final = ("openai", "anthropic", "azure")


@dataclass(frozen=True, slots=True)
class Request:
    """What a chat model is asked.

    Attributes:
        model: The model asked for.
        vendor: Who serves it; None where nobody can tell.
        parameters: What else steers the model.
        tools: The tools offered.
        tool_choice: As sent, or None.
        response_format: As sent, or None.
        stream: True where the request says so.
        server_address: Host of the endpoint, where the model tells it.
        server_port: Port of the endpoint, likewise.
    """

    model: str
    vendor: ModelVendor | None
    parameters: Mapping[str, Any]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = None
    response_format: Any = None
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None


def request_of(
    serialized: Mapping[str, Any] | None, invocation: Mapping[str, Any] | None, metadata: Mapping[str, Any] | None
) -> Request:
    """Reads what a model start tells.

    Args:
        serialized: The model, as LangChain writes it.
        invocation: The ``invocation_params``.
        metadata: The run's metadata, with LangChain's ``ls_…`` facts.
    """
    asked, facts = invocation or {}, metadata or {}
    stored = cast("Mapping[str, Any]", (serialized or {}).get("kwargs") or {})
    model = str(
        asked.get("model")
        or asked.get("model_name")
        or facts.get("ls_model_name")
        or stored.get("model_name")
        or stored.get("model")
        or "unknown"
    )
    parameters = {key: value for key, value in asked.items() if key not in _NO_PARAMETERS and value is not None}
    for name, fact in (("temperature", "ls_temperature"), ("max_tokens", "ls_max_tokens"), ("stop", "ls_stop")):
        if facts.get(fact) is not None:
            parameters.setdefault(name, facts[fact])
    tools = asked.get("tools") or asked.get("functions")
    address, port = _server(stored)
    return Request(
        model=model,
        vendor=_vendor(model, facts.get("ls_provider")),
        parameters=parameters,
        tools=[tool for tool in cast("list[Any]", tools) if _is_tool(tool)] if isinstance(tools, list) else (),
        tool_choice=asked.get("tool_choice"),
        response_format=asked.get("response_format"),
        stream=bool(asked.get("stream")),
        server_address=address,
        server_port=port,
    )


def _is_tool(tool: object) -> bool:
    if not isinstance(tool, Mapping):
        return False
    fields = cast("Mapping[str, Any]", tool)
    function = fields.get("function", fields)
    return isinstance(function, Mapping) and bool(cast("Mapping[str, Any]", function).get("name"))


def _server(stored: Mapping[str, Any]) -> tuple[str | None, int | None]:
    for name in ("openai_api_base", "base_url", "azure_endpoint", "anthropic_api_url", "endpoint_url"):
        url = stored.get(name)
        if isinstance(url, str) and "://" in url:
            try:
                parts = urlsplit(url)
                return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
            except ValueError:
                return None, None
    return None, None


def _vendor(model: str, provider: object) -> ModelVendor | None:
    if isinstance(provider, str) and provider:
        known = vendor_of(f"{_PREFIXES.get(provider, provider)}/{model}")
        return known if known is not UNKNOWN else ModelVendor(provider, provider)
    known = vendor_of(model)
    return known if known is not UNKNOWN else None


def is_message(value: object) -> bool:
    """True for a message of LangChain."""
    return hasattr(value, "content") and isinstance(getattr(value, "type", None), str)


def messages_of(values: object) -> list[MessageLike]:
    """The messages in a list (of messages, mappings, pairs or texts), in the shape of OpenAI; others are left out."""
    items: Sequence[Any] = cast("Sequence[Any]", values) if isinstance(values, list | tuple) else [values]
    if len(items) == 2 and isinstance(items[0], str) and isinstance(items[1], str):
        items = [items]
    found = [_message_like(item) for item in items]
    return [message for message in found if message is not None]


def _message_like(item: Any) -> MessageLike | None:
    if isinstance(item, str):
        return Message("user", item)
    if is_message(item):
        return message_of(item)
    if isinstance(item, Mapping):
        fields = cast("Mapping[str, Any]", item)
        role = fields.get("role") or fields.get("type")
        return {**fields, "role": _ROLES.get(role, role)} if isinstance(role, str) else None
    if isinstance(item, tuple) and len(cast("tuple[Any, ...]", item)) == 2:
        role, content = cast("tuple[Any, Any]", item)
        return Message(_ROLES.get(str(role), str(role)), content)
    return None


def message_of(message: Any) -> Message:
    """A message of LangChain in the shape of OpenAI's."""
    kind = str(message.type).removesuffix("MessageChunk").lower()
    role = _ROLES.get(kind) or str(getattr(message, "role", None) or kind)
    extra = _mapping(getattr(message, "additional_kwargs", None))
    return Message(
        role=str(extra.get("__openai_role__") or role),
        content=message.content or (None if role == "assistant" else ""),
        tool_calls=tuple(tool_calls_of(message)) if role == "assistant" else (),
        tool_call_id=getattr(message, "tool_call_id", None) if role == "tool" else None,
        name=getattr(message, "name", None) or None,
        reasoning=_text(extra.get("reasoning_content")),
    )


def tool_calls_of(message: Any) -> list[ToolCall]:
    """What an assistant's message asks for, calls with arguments that are no JSON included."""
    calls: list[ToolCall] = []
    for call in (*(getattr(message, "tool_calls", None) or ()), *(getattr(message, "invalid_tool_calls", None) or ())):
        fields = _mapping(call)
        arguments = fields.get("args")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, default=str, ensure_ascii=False)
        calls.append(ToolCall(id=str(fields.get("id") or ""), name=str(fields.get("name") or ""), arguments=text))
    return calls


def response_of(result: Any, *, streamed: bool, provider: str | None) -> LLMResponse | None:
    """Reads an ``LLMResult`` of one prompt.

    Args:
        result: The result; with a failure the partial one.
        streamed: True when its text came in pieces.
        provider: LangChain's name of the provider: the ones that always say why they stopped are told apart.

    Returns:
        The response, or None where nothing came.
    """
    choices = [choice for group in (getattr(result, "generations", None) or ())[:1] for choice in group]
    if not choices:
        return None
    messages = [_choice(choice) for choice in choices]
    first, totals = choices[0], _mapping(getattr(result, "llm_output", None))
    message = getattr(first, "message", None)
    facts = {
        **_mapping(getattr(first, "generation_info", None)),
        **_mapping(getattr(message, "response_metadata", None)),
    }
    usage = usage_of(getattr(message, "usage_metadata", None)) or usage_of(
        facts.get("token_usage") or facts.get("usage") or totals.get("token_usage")
    )
    finish = _text(facts.get("finish_reason") or facts.get("stop_reason") or facts.get("done_reason"))
    cut_off = streamed and finish is None and provider in _SAID_FINISHED and facts.get("status") != "completed"
    return LLMResponse(
        message=messages[0],
        others=tuple(messages[1:]),
        model=_text(facts.get("model_name") or facts.get("model") or totals.get("model_name")),
        usage=usage,
        usage_source="reported" if usage else "missing",
        finish_reason=finish or _text(facts.get("status")),
        id=_text(facts.get("id") or totals.get("id") or _provider_id(message)),
        outcome="truncated" if cut_off else "completed",
        service_tier=_text(facts.get("service_tier")),
    )


def _choice(choice: Any) -> Message:
    message = getattr(choice, "message", None)
    return message_of(message) if message is not None else Message("assistant", _text(getattr(choice, "text", None)))


def _provider_id(message: Any) -> str | None:
    """The message's id, unless LangChain made it up."""
    identifier = getattr(message, "id", None)
    return identifier if isinstance(identifier, str) and not identifier.startswith(("run-", "lc_")) else None


def plain(value: Any) -> Any:
    """A state or a result, with its messages in the shape of OpenAI's; what else is in it stays as it is."""
    if is_message(value):
        return message_of(value)
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    return value


def state_messages(state: Any) -> list[MessageLike]:
    """The conversation in a graph's state; none where it has none."""
    fields = _mapping(state)
    return messages_of(fields["messages"]) if fields.get("messages") else []


def state_output(state: Any) -> Any:
    """What a graph's final state says: its structured response, or its last message's text, or all of it."""
    fields = _mapping(state)
    if fields.get("structured_response") is not None:
        return fields["structured_response"]
    messages = fields.get("messages")
    last: Any = cast("list[Any]", messages)[-1] if isinstance(messages, list) and messages else None
    if is_message(last):
        return last.content
    return plain(state)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None

"""What the spans of the OpenAI Agents SDK say of a model's call; by duck typing, nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from looopy_otel.core.identity import Identity
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT
from looopy_otel.core.shapes.openai_responses import OPENAI_RESPONSES
from looopy_otel.core.types import LLMResponse
from looopy_otel.core.usage import Usage, usage_of
from looopy_otel.core.vendors import UNKNOWN, vendor_of

_OPENAI: Final = "openai"
_TOLD_BY_RESPONSE: Final = (
    "instructions", "tools", "tool_choice", "temperature", "top_p", "max_output_tokens", "parallel_tool_calls",
    "reasoning", "text", "truncation", "previous_response_id",
)  # fmt: skip
_NO_PARAMETERS: Final = frozenset({"base_url", "model_impl", "metadata", "tool_choice", "extra_args", "extra_headers"})


def call_of(data: Any, identity: Identity) -> LLMCall:
    """The call that a generation or response span is about, as far as it is told by now.

    Args:
        data: The span's data.
        identity: Whose call it is.
    """
    call = _response_call(data) if data.type == "response" else _generation_call(data)
    model = call.model or "unknown"
    vendor = vendor_of(model)
    known = data.type == "response" or vendor is not UNKNOWN
    return replace(
        call,
        identity=identity,
        model=model,
        system=(_OPENAI if data.type == "response" else vendor.system) if known else None,
        provider_name=(_OPENAI if data.type == "response" else vendor.provider_name) if known else None,
    )


def _response_call(data: Any) -> LLMCall:
    response = data.response
    fields = {name: getattr(response, name, None) for name in _TOLD_BY_RESPONSE} if response is not None else {}
    model = getattr(response, "model", None)
    return OPENAI_RESPONSES.call({"model": model, "input": data.input or [], **fields})


def _generation_call(data: Any) -> LLMCall:
    config: Mapping[str, Any] = data.model_config or {}
    parameters = {name: value for name, value in config.items() if value is not None and name not in _NO_PARAMETERS}
    address, port = _server(config.get("base_url"))
    # The chat adapter tells messages of the chat completions; it is asked for nothing that only responses have.
    call = OPENAI_CHAT.call({"model": data.model, "messages": list(data.input or [])})
    return replace(
        call,
        parameters=parameters,
        tool_choice=config.get("tool_choice"),
        server_address=address,
        server_port=port,
    )


def _server(url: object) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(str(url or ""))
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None


def answer_of(data: Any) -> LLMResponse | None:
    """The answer that a generation or response span holds; None where there is none, or content is not told."""
    response = None
    if data.type == "response":
        response = OPENAI_RESPONSES.response(data.response) if data.response is not None else None
    elif data.output:
        response = _generation_answer(cast("Sequence[Mapping[str, Any]]", data.output), data.model)
    usage = _told(usage_of(getattr(data, "usage", None)))
    if response is not None and _told(response.usage) is None:
        response = replace(response, usage=None, usage_source="missing")
    if response is None and usage is None:
        return None
    response = response or OPENAI_CHAT.response({"choices": [{"message": {"role": "assistant"}}]})
    if response is not None and response.usage is None and usage is not None:
        response = replace(response, usage=usage, usage_source="reported")
    return response


def _told(usage: Usage | None) -> Usage | None:
    """A usage that somebody counted: the SDK fills in zeros where the model's endpoint tells nothing."""
    return usage if usage is not None and usage.total_tokens else None


def _generation_answer(output: Sequence[Mapping[str, Any]], model: str | None) -> LLMResponse | None:
    first = output[0]
    if "output" in first:
        # A stream's pieces are put together as a response; its id is one that the SDK made up.
        joined = OPENAI_RESPONSES.response(first)
        return replace(joined, id=None, model=None, finish_reason=None) if joined is not None else None
    choices = [{"index": index, "message": message} for index, message in enumerate(output)]
    return OPENAI_CHAT.response({"object": "chat.completion", "choices": choices})

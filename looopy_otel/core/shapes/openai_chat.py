"""OpenAI's chat completions and the older text completions, as OpenAI, Azure, LiteLLM and many others speak them.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from looopy_otel.core.messages import message_to_dict, tool_to_dict
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.fields import as_text, chosen, get, given, plain, plain_object
from looopy_otel.core.shapes.openai_chat_joining import ChatJoiner
from looopy_otel.core.shapes.openai_chat_reading import answer_of
from looopy_otel.core.shapes.request import (
    as_messages,
    changed_fields,
    message_readings,
    metadata_of,
    put,
    schema_of,
    tool_readings,
    tools_of,
    with_parameters,
)
from looopy_otel.core.shapes.rewriting import rewritten
from looopy_otel.core.shapes.shape import Joiner, WireFormat
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.core.usage import Usage

# Content (a prediction, say) and what concerns the connection (a LiteLLM call carries keys) is not among them.
_PARAMETERS = (
    "audio", "best_of", "echo", "frequency_penalty", "function_call", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "min_p", "modalities", "n", "parallel_tool_calls", "presence_penalty", "prompt_cache_key",
    "prompt_cache_retention", "reasoning", "reasoning_effort", "repetition_penalty", "safety_identifier", "seed",
    "service_tier", "stop", "store", "temperature", "thinking", "top_k", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options",
)  # fmt: skip


class _ChatFormat:
    """``POST /chat/completions``."""

    def call(self, arguments: Mapping[str, Any]) -> LLMCall:
        """Reads a request."""
        fields = given(arguments)
        return LLMCall(
            messages=as_messages(fields.get("messages")),
            model=as_text(fields.get("model")) or "",
            tools=tools_of(fields.get("tools") or fields.get("functions")),
            tool_choice=plain(fields.get("tool_choice")),
            response_format=schema_of(fields.get("response_format")),
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
            readings = message_readings(get(arguments, "messages"))
            changes["messages"] = rewritten(readings, after.messages, _written_messages)
        if "tools" in changes:
            key = "functions" if given(arguments).get("functions") and not given(arguments).get("tools") else "tools"
            readings = tool_readings(get(arguments, key))
            tools = rewritten(readings, after.tools, lambda new: [tool_to_dict(tool) for tool in new])
            changes.pop("tools")
            put(fields, key, tools if key == "tools" else [tool.get("function", tool) for tool in tools])
        for name, value in changes.items():
            put(fields, name, value)
        with_parameters(fields, before, after)
        return fields

    def asking_for_usage(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """The fields of a streamed request that asks for its usage; None where the caller has decided on it."""
        fields = given(arguments)
        options = plain_object(fields.get("stream_options"))
        if fields.get("stream") is not True or options.get("include_usage") is not None:
            return None
        return {**arguments, "stream_options": {**options, "include_usage": True}}

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads a ``chat.completion``."""
        read = answer_of(answer)
        return read.response(native=answer) if read else None

    def joiner(self) -> Joiner:
        """Makes the joiner of one stream."""
        return ChatJoiner()

    def answer(self, response: LLMResponse) -> dict[str, Any]:
        """Writes a ``chat.completion``."""
        messages = (response.message, *response.others)
        choices = [
            {
                "index": index,
                "message": _written(message),
                "finish_reason": response.finish_reason or ("tool_calls" if message.tool_calls else "stop"),
                "logprobs": None,
            }
            for index, message in enumerate(messages)
        ]
        return _completion(response, "chat.completion", choices)


class _TextFormat(_ChatFormat):
    """``POST /completions``."""

    def call(self, arguments: Mapping[str, Any]) -> LLMCall:
        """Reads a request; a prompt that is one text is a message, any other stands in `LLMCall.input`."""
        fields = given(arguments)
        prompt = fields.get("prompt")
        text = prompt if isinstance(prompt, str) else None
        return LLMCall(
            operation="text_completion",
            messages=() if text is None else ({"role": "user", "content": text},),
            input=None if text is not None else prompt,
            model=as_text(fields.get("model")) or "",
            parameters=chosen(fields, _PARAMETERS),
            stream=fields.get("stream") is True,
        )

    def arguments(self, arguments: Mapping[str, Any], before: LLMCall, after: LLMCall) -> dict[str, Any]:
        """The request's fields with what a middleware changed in it."""
        fields = dict(arguments)
        changes = changed_fields(before, after, ("messages", "model", "input"))
        if "messages" in changes:
            contents = [message_to_dict(message).get("content") for message in after.messages]
            fields["prompt"] = "\n".join(content for content in contents if isinstance(content, str))
        if "input" in changes:
            put(fields, "prompt", after.input)
        if "model" in changes:
            fields["model"] = after.model
        with_parameters(fields, before, after)
        return fields

    def answer(self, response: LLMResponse) -> dict[str, Any]:
        """Writes a ``text_completion``."""
        choices = [
            {
                "index": index,
                "text": message.content if isinstance(message.content, str) else "",
                "finish_reason": response.finish_reason or "stop",
                "logprobs": None,
            }
            for index, message in enumerate((response.message, *response.others))
        ]
        return _completion(response, "text_completion", choices)


OPENAI_CHAT: WireFormat = _ChatFormat()
"""OpenAI's chat completions."""

OPENAI_COMPLETIONS: WireFormat = _TextFormat()
"""OpenAI's older text completions."""


def _written_messages(messages: Any) -> list[Any]:
    """New messages of a request; their reasoning, which the API does not take, is left out."""
    return [_without_reasoning(message_to_dict(message)) for message in messages]


def _without_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "reasoning_content"}


def _written(message: Message) -> dict[str, Any]:
    return {"refusal": None, **message_to_dict(message)}


def _completion(response: LLMResponse, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    completion: dict[str, Any] = {
        "id": response.id or "",
        "object": kind,
        "created": int(time.time()),
        "model": response.model or "",
        "choices": choices,
    }
    return {**completion, "usage": _written_usage(response.usage)} if response.usage else completion


def _written_usage(usage: Usage) -> dict[str, Any]:
    inputs = {"cached_tokens": usage.cache_read_tokens, "audio_tokens": usage.audio_input_tokens}
    outputs = {"reasoning_tokens": usage.reasoning_tokens, "audio_tokens": usage.audio_output_tokens}
    written: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    if given(inputs):
        written["prompt_tokens_details"] = given(inputs)
    if given(outputs):
        written["completion_tokens_details"] = given(outputs)
    return written

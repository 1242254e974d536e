"""Telling by its structure what an answer or a stream is, where nobody says which API it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from looopy_otel.core.shapes.anthropic_joining import MessageJoiner
from looopy_otel.core.shapes.anthropic_messages import ANTHROPIC_MESSAGES
from looopy_otel.core.shapes.content import content_of
from looopy_otel.core.shapes.counted import counted
from looopy_otel.core.shapes.fields import as_list, as_text, get, is_list, plain_object
from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT
from looopy_otel.core.shapes.openai_chat_joining import ChatJoiner
from looopy_otel.core.shapes.openai_chat_reading import reasoning_of
from looopy_otel.core.shapes.openai_embeddings import OPENAI_EMBEDDINGS
from looopy_otel.core.shapes.openai_responses import OPENAI_RESPONSES
from looopy_otel.core.shapes.openai_responses_joining import ResponseJoiner
from looopy_otel.core.shapes.plain_joining import EventJoiner, TextJoiner
from looopy_otel.core.shapes.shape import Joiner
from looopy_otel.core.shapes.tool_calls import call_entry, kept_calls, tool_calls_of
from looopy_otel.core.types import (
    ContentComplete,
    ContentDelta,
    LLMResponse,
    LLMUsage,
    Message,
    ThoughtStream,
    ToolCallEvent,
)
from looopy_otel.core.usage import usage_of

_EVENTS = (ContentDelta, ThoughtStream, ToolCallEvent, LLMUsage, ContentComplete)
_ANTHROPIC_EVENTS = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta", "ping"})


def recognised(answer: object) -> LLMResponse | None:
    """Reads an answer of any known shape, an SDK's object or decoded JSON.

    Known are `LLMResponse` and `Message`, OpenAI's chat completions, text completions, responses and embeddings,
    Anthropic's messages, Gemini's candidates, Bedrock's converse, and answers around one ``message`` (Ollama, Cohere)
    or that are one.

    Returns:
        The response with the answer as its ``native``, or None for anything else, a text included.
    """
    if isinstance(answer, LLMResponse):
        return answer
    if isinstance(answer, Message):
        return LLMResponse(answer)
    if answer is None or isinstance(answer, str | bytes | int | float | list | tuple | set):
        return None
    return next((response for read in _READERS if (response := read(answer)) is not None), None)


def joiner_for(first_chunk: object) -> Joiner | None:
    """Gives the joiner for a stream, told by its first chunk; None where nobody can join such chunks.

    A stream of strings never says that it is complete: its end does.
    """
    if isinstance(first_chunk, str):
        return TextJoiner()
    if isinstance(first_chunk, _EVENTS):
        return EventJoiner()
    kind = as_text(get(first_chunk, "type")) or ""
    if kind in _ANTHROPIC_EVENTS:
        return MessageJoiner()
    if kind.startswith("response."):
        return ResponseJoiner()
    return ChatJoiner() if is_list(get(first_chunk, "choices")) else None


def _gemini(answer: object) -> LLMResponse | None:
    """``candidates`` of ``parts``: https://ai.google.dev/api/generate-content."""
    candidates = as_list(get(answer, "candidates"))
    if not candidates or get(candidates[0], "content") is None:
        return None
    parts = as_list(get(get(candidates[0], "content"), "parts"))
    thoughts = [text for part in parts if get(part, "thought") and (text := as_text(get(part, "text")))]
    said = [plain_object(part) for part in parts if not get(part, "thought") and not _function_of(part)]
    functions = [function for part in parts if (function := _function_of(part)) is not None]
    calls, dropped = kept_calls(
        [call_entry(_id(call), get(call, "name"), get(call, "args") or {}) for call in functions]
    )
    message = Message("assistant", _texts(said), calls, reasoning="".join(thoughts) or None)
    return _response(
        answer,
        message,
        dropped,
        model=as_text(get(answer, "modelVersion")) or as_text(get(answer, "model_version")),
        finish_reason=_word(get(candidates[0], "finishReason")) or _word(get(candidates[0], "finish_reason")),
        usage=answer,
        identifier=as_text(get(answer, "responseId")) or as_text(get(answer, "response_id")),
    )


def _bedrock(answer: object) -> LLMResponse | None:
    """``output.message`` of converse: https://docs.aws.amazon.com/bedrock/latest/APIReference/."""
    message = get(get(answer, "output"), "message")
    blocks = as_list(get(message, "content"))
    if get(message, "role") != "assistant":
        return None
    uses = [use for block in blocks if (use := get(block, "toolUse")) is not None]
    thoughts = [_reasoning_text(block) for block in blocks]
    said = [plain_object(block) for block in blocks if not plain_object(block).keys() & {"toolUse", "reasoningContent"}]
    calls, dropped = kept_calls(
        [call_entry(get(use, "toolUseId"), get(use, "name"), get(use, "input") or {}) for use in uses]
    )
    told = Message("assistant", _texts(said), calls, reasoning="".join(thoughts) or None)
    return _response(
        answer, told, dropped, finish_reason=as_text(get(answer, "stopReason")), usage=get(answer, "usage")
    )


def _around_message(answer: object) -> LLMResponse | None:
    """Ollama and Cohere, whose answers hold one message; and a message by itself."""
    inner = get(answer, "message")
    message = answer if inner is None else inner
    if get(message, "role") != "assistant":
        return None
    calls, dropped = tool_calls_of(get(message, "tool_calls"))
    reasoning = reasoning_of(message) or as_text(get(message, "thinking"))
    told = Message("assistant", content_of(message), calls, reasoning=reasoning)
    if inner is None:
        return _response(answer, told, dropped)
    return _response(
        answer,
        told,
        dropped,
        model=as_text(get(answer, "model")),
        finish_reason=as_text(get(answer, "done_reason")) or as_text(get(answer, "finish_reason")),
        usage=usage_of(answer) or get(get(answer, "usage"), "tokens"),
        identifier=as_text(get(answer, "id")),
    )


def _response(
    answer: object,
    message: Message,
    dropped: int,
    *,
    model: str | None = None,
    finish_reason: str | None = None,
    usage: object = None,
    identifier: str | None = None,
) -> LLMResponse:
    told = counted(usage, message)
    return LLMResponse(
        message=message,
        model=model,
        finish_reason=finish_reason,
        usage=told,
        usage_source="missing" if told is None else "reported",
        id=identifier,
        dropped_tool_calls=dropped,
        native=answer,
    )


def _texts(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    """The texts of parts that are nothing else, as one text; otherwise the parts."""
    if all(part.keys() == {"text"} for part in parts):
        return "".join(str(part["text"]) for part in parts) or None
    return parts


def _function_of(part: object) -> object:
    call = get(part, "functionCall")
    return get(part, "function_call") if call is None else call


def _id(call: object) -> str | None:
    """Gemini's calls have an id rarely; their results refer to the function's name."""
    return as_text(get(call, "id")) or as_text(get(call, "name"))


def _reasoning_text(block: object) -> str:
    return as_text(get(get(get(block, "reasoningContent"), "reasoningText"), "text")) or ""


def _word(reason: object) -> str | None:
    """A finish reason, which Gemini's SDK gives as an enumeration's member."""
    return as_text(reason) or as_text(get(reason, "value"))


_READERS: tuple[Callable[[object], LLMResponse | None], ...] = (
    OPENAI_CHAT.response,
    OPENAI_RESPONSES.response,
    ANTHROPIC_MESSAGES.response,
    OPENAI_EMBEDDINGS.response,
    _gemini,
    _bedrock,
    _around_message,
)

"""From what an endpoint sends to an `LLMResponse`, or to the error that it means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from looopy_otel.core.messages import tool_call_from_dict
from looopy_otel.core.semconv import (
    LITELLM_COST_HEADER,
    LITELLM_MODEL_NAME_HEADER,
)
from looopy_otel.core.types import CallOutcome, LLMResponse, Message, ToolCall
from looopy_otel.core.usage import usage_from_openai
from looopy_otel.core.vendors import is_free, vendor_behind, without_prefix
from looopy_otel.providers.content import content_of
from looopy_otel.providers.failures import error_of, excerpt, unusable
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.shape import as_json, as_list, as_object, as_text, decoded_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a body said, plain or joined from a stream.

    Attributes:
        message: The assistant's message.
        model: The body's ``model``.
        usage: The body's ``usage`` object.
        finish_reason: The first choice's finish reason.
        id: The body's id.
        dropped_tool_calls: Tool calls without an id or a name.
    """

    message: Message
    model: str | None = None
    usage: object = None
    finish_reason: str | None = None
    id: str | None = None
    dropped_tool_calls: int = 0


def response_of(
    answer: Answer, head: ResponseHead, requested: str, outcome: CallOutcome = "completed", stream: bool = False
) -> LLMResponse:
    """Builds the response.

    Args:
        answer: What the body said.
        head: Status and headers.
        requested: The model that was asked for.
        outcome: How the call ended.
        stream: True for a streamed reply, whose headers were sent before the cost was known.
    """
    served_by = as_text(head.headers.get(LITELLM_MODEL_NAME_HEADER))
    vendor = vendor_behind(requested, served_by)
    usage = usage_from_openai(answer.usage)
    reported = [None if stream else head.headers.get(LITELLM_COST_HEADER), as_object(answer.usage).get("cost")]
    free = is_free(requested) or is_free(served_by)
    cost = next((cost for cost in (_cost(value, free=free) for value in reported) if cost is not None), None)
    return LLMResponse(
        message=answer.message,
        model=_answering_model(answer.model, requested, served_by),
        usage=usage,
        finish_reason=answer.finish_reason,
        id=answer.id,
        cost=cost,
        cost_source="unknown" if cost is None else "provider",
        usage_source="missing" if usage is None else "reported",
        request_id=head.request_id,
        headers=head.kept,
        outcome=outcome,
        dropped_tool_calls=answer.dropped_tool_calls,
        system=vendor.system,
        provider_name=vendor.provider_name,
    )


def answer_of(body: bytes, head: ResponseHead) -> Answer:
    """Reads a plain completion.

    Raises:
        LiteLLMAPIError: If it is not one: no JSON, an error object, no choice, or a choice without a message.
    """
    try:
        completion = as_object(decoded_json(body))
    except ValueError:
        raise unusable(f"the reply is not JSON: {excerpt(body)}", head) from None
    if completion.get("error"):
        raise error_of(body, head)
    choices = as_list(completion.get("choices"))
    if not choices:
        raise unusable(f"the reply has no choices: {excerpt(body)}", head)
    choice = as_object(choices[0])
    if not isinstance(choice.get("message"), Mapping):
        raise unusable(f"the first choice of the reply has no message: {excerpt(body)}", head)
    message, dropped = _message(as_object(choice["message"]))
    return Answer(
        message=message,
        model=as_text(completion.get("model")),
        usage=completion.get("usage"),
        finish_reason=as_text(choice.get("finish_reason")),
        id=as_text(completion.get("id")),
        dropped_tool_calls=dropped,
    )


def tool_calls_of(entries: object) -> tuple[tuple[ToolCall, ...], int]:
    """Reads ``tool_calls``; also counts those that were dropped, for want of an id or a name."""
    all_entries = [_with_text_arguments(as_object(entry)) for entry in as_list(entries)]
    calls = tuple(call for call in map(tool_call_from_dict, all_entries) if call is not None)
    return calls, len(all_entries) - len(calls)


def _message(message: Mapping[str, Any]) -> tuple[Message, int]:
    calls, dropped = tool_calls_of(message.get("tool_calls"))
    return (
        Message(
            role=as_text(message.get("role")) or "assistant",
            content=content_of(message),
            tool_calls=calls,
            reasoning=as_text(message.get("reasoning_content")) or as_text(message.get("reasoning")),
        ),
        dropped,
    )


def _with_text_arguments(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    function = as_object(entry.get("function"))
    arguments = function.get("arguments")
    if isinstance(arguments, str) or arguments is None:
        return {**entry, "function": function}
    return {**entry, "function": {**function, "arguments": as_json(arguments)}}


def _answering_model(named: str | None, requested: str, served_by: str | None) -> str:
    if named and named != requested:
        return named
    return without_prefix(served_by) if served_by else requested


def _cost(reported: object, *, free: bool) -> Decimal | None:
    if isinstance(reported, bool) or not isinstance(reported, str | int | float):
        return None
    try:
        cost = Decimal(str(reported).strip())
    except InvalidOperation:
        return None
    if not math.isfinite(float(cost)) or cost < 0 or (cost == 0 and not free):
        return None
    return cost

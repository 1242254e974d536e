"""Items of OpenAI's responses as messages of chat completions' shape."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.shapes.content import text_part
from looopy_otel.core.shapes.cost import cost_fields
from looopy_otel.core.shapes.counted import counted
from looopy_otel.core.shapes.fields import as_list, as_text, get, plain_object
from looopy_otel.core.shapes.rewriting import Reading
from looopy_otel.core.shapes.tool_calls import call_entry, kept_calls
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import CallOutcome, LLMResponse, Message

_TEXTS = ("input_text", "output_text", "text", "summary_text")
_CALLS = ("function_call", "custom_tool_call")
_OUTPUTS = ("function_call_output", "custom_tool_call_output")
_OUTCOMES: dict[object, CallOutcome] = {"failed": "error", "cancelled": "cancelled"}


def response_of(answer: object, items: Sequence[object], outcome: CallOutcome = "completed") -> LLMResponse:
    """Reads a response.

    Args:
        answer: The ``response`` object, whole or as it stood at some event of its stream.
        items: Its output.
        outcome: How the call ended, as far as the answer says nothing worse.
    """
    message, dropped = message_of(items)
    usage = counted(get(answer, "usage"), message)
    status = as_text(get(answer, "status"))
    return LLMResponse(
        message=message,
        model=as_text(get(answer, "model")),
        usage=usage,
        usage_source="missing" if usage is None else "reported",
        **cost_fields(get(answer, "usage"), as_text(get(answer, "model"))),
        finish_reason=_finish_reason(answer, status),
        id=as_text(get(answer, "id")),
        outcome=_OUTCOMES.get(status, outcome) if outcome == "completed" else outcome,
        dropped_tool_calls=dropped,
        service_tier=as_text(get(answer, "service_tier")),
    )


def _finish_reason(answer: object, status: str | None) -> str | None:
    """Why an answer is incomplete, else its status; None for one that is still being made."""
    if status in (None, "in_progress", "queued"):
        return None
    return as_text(get(get(answer, "incomplete_details"), "reason")) or status


def message_of(items: Sequence[object]) -> tuple[Message, int]:
    """Reads the items of one turn of the assistant.

    Returns:
        The message, and how many tool calls were left out for want of an id or a name. What tools of OpenAI itself
        did (searches, pictures) stands in its content, as it came.
    """
    fields = [plain_object(item) for item in items]
    calls, dropped = kept_calls([_call(item) for item in fields if item.get("type") in _CALLS])
    thoughts = [thought for item in fields if item.get("type") == "reasoning" for thought in _thoughts(item)]
    parts = [part for item in fields for part in _said(item)]
    return Message("assistant", content_of(parts), calls, reasoning="\n\n".join(thoughts) or None), dropped


def content_of(parts: Sequence[dict[str, Any]]) -> str | list[dict[str, Any]] | None:
    """Content parts as content: a lone text as a text."""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        return str(parts[0]["text"]) or None
    return list(parts) or None


def instructions_readings(instructions: object) -> list[Reading]:
    """The instructions as a message; none where there are none."""
    if isinstance(instructions, str):
        return [Reading((instructions,), ({"role": "system", "content": instructions},))]
    return []


def input_readings(given: object) -> list[Reading]:
    """The input items, those of one turn of the assistant together, with the messages that they become."""
    if isinstance(given, str):
        return [Reading(({"role": "user", "content": given},), ({"role": "user", "content": given},))]
    readings: list[Reading] = []
    for of_assistant, group in groupby(as_list(given), _is_of_assistant):
        items = list(group)
        if of_assistant:
            readings.append(Reading(tuple(items), (message_to_dict(message_of(items)[0]),)))
        else:
            readings += [Reading((item,), tuple(_messages_of(plain_object(item)))) for item in items]
    return readings


def _is_of_assistant(item: object) -> bool:
    kind, role = get(item, "type"), get(item, "role")
    if kind in (None, "message"):
        return role == "assistant"
    return not str(kind).endswith("_output") and kind not in ("item_reference", "compaction", "configuration_update")


def _messages_of(item: dict[str, Any]) -> list[dict[str, Any]]:
    if item.get("type") in _OUTPUTS:
        return [{"role": "tool", "tool_call_id": item.get("call_id"), "content": _content(item.get("output"))}]
    if isinstance(item.get("role"), str):
        return [{"role": item["role"], "content": _content(item.get("content"))}]
    return []


def _content(content: object) -> Any:
    """Content with its texts as chat completions write them; all other parts stay."""
    if isinstance(content, str):
        return content
    return content_of([_part(part) for part in as_list(content)])


def _part(part: object) -> dict[str, Any]:
    fields = {"type": "text", "text": part} if isinstance(part, str) else plain_object(part)
    text = fields.get("text")
    if fields.get("type") not in _TEXTS or not isinstance(text, str):
        return fields
    annotations = fields.get("annotations")
    return {**text_part(valid_text(text)), **({"annotations": annotations} if annotations else {})}


def _said(item: dict[str, Any]) -> list[dict[str, Any]]:
    kind = item.get("type")
    if kind in (None, "message"):
        content = item.get("content")
        parts = [text_part(content)] if isinstance(content, str) and content else map(_part, as_list(content))
        return [text_part(part["refusal"]) if part.get("type") == "refusal" else part for part in parts if part]
    return [] if kind in (*_CALLS, "reasoning") else [item]


def _thoughts(item: dict[str, Any]) -> list[str]:
    texts = [get(part, "text") for part in (*as_list(item.get("summary")), *as_list(item.get("content")))]
    return [valid_text(text) for text in texts if isinstance(text, str) and text]


def _call(item: dict[str, Any]) -> dict[str, Any]:
    arguments = item.get("arguments") if item.get("type") == "function_call" else item.get("input")
    return call_entry(item.get("call_id"), item.get("name"), arguments)

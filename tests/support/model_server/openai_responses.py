"""OpenAI's responses, as a server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count, zip_longest
from typing import Any

from tests.support.model_server.answer import Answer, Event, Recorded


def plain(answer: Answer, request: Recorded) -> Mapping[str, Any]:
    """The body of an answer that is not streamed."""
    return _response(answer, request, "completed", _items(answer), usage=_usage(answer))


def events(answer: Answer, request: Recorded) -> Iterator[Event]:
    """The events of a streamed answer."""
    numbers = count()

    def event(kind: str, **fields: Any) -> Event:
        return kind, {"type": kind, "sequence_number": next(numbers), **fields}

    items = _items(answer)
    yield event("response.created", response=_response(answer, request, "in_progress", []))
    yield event("response.in_progress", response=_response(answer, request, "in_progress", []))
    calls: list[tuple[int, Mapping[str, Any]]] = []
    for index, item in enumerate(items):
        if item["type"] == "function_call":
            calls.append((index, item))
        else:
            yield from _spoken(event, index, item, answer)
    for index, item in calls:
        opened = {**item, "arguments": "", "status": "in_progress"}
        yield event("response.output_item.added", output_index=index, item=opened)
    for pieces in zip_longest(*(answer.pieces(item["arguments"]) for _, item in calls)):
        for (index, item), piece in zip(calls, pieces, strict=True):
            if piece is not None:
                fields = {"output_index": index, "item_id": item["id"], "delta": piece}
                yield event("response.function_call_arguments.delta", **fields)
    for index, item in calls:
        fields = {"output_index": index, "item_id": item["id"], "arguments": item["arguments"], "name": item["name"]}
        yield event("response.function_call_arguments.done", **fields)
        yield event("response.output_item.done", output_index=index, item=item)
    if answer.finish is not None:
        status = "completed" if answer.finish == "auto" else answer.finish
        body = _response(answer, request, status, items, usage=_usage(answer))
        yield event(f"response.{status}", response=body)


def error(message: str) -> Event:
    """The error that a stream may end with."""
    return "error", {"type": "error", "code": "server_error", "message": message, "param": None, "sequence_number": 99}


def _spoken(event: Any, index: int, item: Mapping[str, Any], answer: Answer) -> Iterator[Event]:
    at = {"output_index": index, "item_id": item["id"]}
    if item["type"] == "reasoning":
        yield event("response.output_item.added", output_index=index, item={**item, "summary": []})
        text = item["summary"][0]["text"]
        part = {"type": "summary_text", "text": ""}
        yield event("response.reasoning_summary_part.added", summary_index=0, part=part, **at)
        for piece in answer.pieces(text):
            yield event("response.reasoning_summary_text.delta", summary_index=0, delta=piece, **at)
        yield event("response.reasoning_summary_text.done", summary_index=0, text=text, **at)
    else:
        yield event("response.output_item.added", output_index=index, item={**item, "content": []})
        text = item["content"][0]["text"]
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": []}
        yield event("response.content_part.added", content_index=0, part=part, **at)
        for piece in answer.pieces(text):
            yield event("response.output_text.delta", content_index=0, delta=piece, logprobs=[], **at)
        yield event("response.output_text.done", content_index=0, text=text, logprobs=[], **at)
        yield event("response.content_part.done", content_index=0, part={**part, "text": text}, **at)
    yield event("response.output_item.done", output_index=index, item=item)


def _items(answer: Answer) -> list[Mapping[str, Any]]:
    items: list[Mapping[str, Any]] = []
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        items.append({"type": "reasoning", "id": "rs_1", "summary": summary})
    if answer.text:
        content: list[Any] = [{"type": "output_text", "text": answer.text, "annotations": []}]
        message: dict[str, Any] = {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }
        items.append(message)
    for n, (name, arguments) in enumerate(answer.tool_calls):
        call = {"type": "function_call", "id": f"fc_{n}", "call_id": f"call_{n}", "name": name, "status": "completed"}
        items.append({**call, "arguments": json.dumps(arguments)})
    return items


def _response(
    answer: Answer,
    request: Recorded,
    status: str,
    items: list[Mapping[str, Any]],
    usage: Mapping[str, Any] | None = None,
) -> Mapping[str, Any]:
    incomplete = {"reason": "max_output_tokens"} if status == "incomplete" else None
    failed = {"code": "server_error", "message": "The model failed."} if status == "failed" else None
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": answer.model or request.json.get("model"),
        "status": status,
        "output": items,
        "usage": usage,
        "error": failed,
        "incomplete_details": incomplete,
        "instructions": request.json.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": request.json.get("tools") or [],
        "top_p": 1.0,
    }


def _usage(answer: Answer) -> Mapping[str, Any] | None:
    if answer.usage is None:
        return None
    inputs, outputs = answer.usage
    return {
        "input_tokens": inputs,
        "input_tokens_details": {"cached_tokens": answer.cached},
        "output_tokens": outputs,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": inputs + outputs,
    }

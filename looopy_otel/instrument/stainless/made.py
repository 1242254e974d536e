"""An answer that a middleware made itself, given to the caller through the SDK's own parsing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from looopy_otel.instrument.stainless.request import Route, SdkRequest, SentEvent


def made_response(request: SdkRequest, options: Any, route: Route, answer: Mapping[str, Any]) -> Any:
    """What the SDK makes of an answer: its object, stream or raw response; to be awaited for an async client.

    Args:
        request: The request that it answers.
        options: The SDK's options of that request.
        route: The API.
        answer: The body, as JSON.
    """
    client = request.client
    # Nobody reads the body of a request that is not sent; its URL may depend on the model.
    unsent = options.model_copy(update={"json_data": {"model": request.arguments.get("model")}, "extra_json": None})
    if request.stream and route.events is not None:
        kind, content = "text/event-stream", b"".join(_encoded(route.events(answer)))
    else:
        kind, content = "application/json", json.dumps(answer).encode()
    response = _response_class(client)(
        200, headers={"content-type": kind}, content=content, request=client._build_request(unsent)
    )
    return client._process_response(
        cast_to=request.cast_to,
        options=options,
        response=response,
        stream=request.stream,
        stream_cls=request.stream_cls,
    )


def _response_class(client: Any) -> Any:
    """``Response`` of the HTTP library that the client uses."""
    for cls in type(client._client).__mro__:
        package = cls.__module__.partition(".")[0]
        if package.startswith("httpx"):
            return sys.modules[package].Response
    raise TypeError(f"no HTTP library of {type(client._client).__name__} is known")


def _encoded(events: Iterator[SentEvent]) -> Iterator[bytes]:
    for name, data in events:
        yield (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def chat_events(answer: Mapping[str, Any]) -> Iterator[SentEvent]:
    """A chat completion as chunks."""
    frame = {name: value for name, value in answer.items() if name not in ("choices", "usage", "object")}
    frame["object"] = "chat.completion.chunk"
    for choice in answer["choices"]:
        delta = dict(choice["message"])
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        yield None, {**frame, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]}
        end: dict[str, Any] = {
            "index": choice["index"],
            "delta": {},
            "finish_reason": choice.get("finish_reason") or "stop",
        }
        yield None, {**frame, "choices": [end]}
    if answer.get("usage"):
        yield None, {**frame, "choices": [], "usage": answer["usage"]}


def message_events(answer: Mapping[str, Any]) -> Iterator[SentEvent]:
    """An Anthropic message as events."""
    usage: Mapping[str, Any] = answer.get("usage") or {"input_tokens": 0, "output_tokens": 0}
    start: dict[str, Any] = {**answer, "content": [], "stop_reason": None, "usage": usage}
    yield "message_start", {"type": "message_start", "message": start}
    for index, block in enumerate(answer["content"]):
        empty, delta = _block_delta(block)
        at = {"index": index}
        yield "content_block_start", {"type": "content_block_start", **at, "content_block": {**block, **empty}}
        if delta:
            yield "content_block_delta", {"type": "content_block_delta", **at, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", **at}
    ending = {"stop_reason": answer.get("stop_reason") or "end_turn", "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": ending, "usage": usage}
    yield "message_stop", {"type": "message_stop"}


def _block_delta(block: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a content block begins with, and what is then added to it."""
    match block.get("type"):
        case "text":
            return {"text": ""}, {"type": "text_delta", "text": block["text"]}
        case "thinking":
            return {"thinking": ""}, {"type": "thinking_delta", "thinking": block["thinking"]}
        case "tool_use":
            return {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        case _:
            return {}, {}


def response_events(answer: Mapping[str, Any]) -> Iterator[SentEvent]:
    """A response of OpenAI's Responses API as events."""
    output: list[dict[str, Any]] = [
        {**item, "id": item.get("id") or f"item_{index}"} for index, item in enumerate(answer["output"])
    ]
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**answer, "status": "in_progress", "output": []}}
    ]
    for index, item in enumerate(output):
        at: dict[str, Any] = {"output_index": index, "item_id": item["id"]}
        empty: dict[str, Any] = {
            name: [] if name == "content" else "" for name in ("content", "arguments") if name in item
        }
        events.append({"type": "response.output_item.added", "output_index": index, "item": {**item, **empty}})
        for number, part in enumerate(item.get("content") or () if item.get("type") == "message" else ()):
            where, text = {**at, "content_index": number}, part.get("text", "")
            events.append({"type": "response.content_part.added", "part": {**part, "text": ""}, **where})
            events.append({"type": "response.output_text.delta", "delta": text, "logprobs": [], **where})
            events.append({"type": "response.output_text.done", "text": text, "logprobs": [], **where})
            events.append({"type": "response.content_part.done", "part": part, **where})
        if item.get("type") == "function_call":
            events.append({"type": "response.function_call_arguments.delta", "delta": item["arguments"], **at})
            events.append({"type": "response.function_call_arguments.done", "arguments": item["arguments"], **at})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": "response.completed", "response": {**answer, "output": output}})
    for number, event in enumerate(events):
        yield event["type"], {"sequence_number": number, **event}

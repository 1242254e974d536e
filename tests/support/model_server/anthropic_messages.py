"""Anthropic's messages, as a server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from tests.support.model_server.answer import Answer, Event, Recorded


def plain(answer: Answer, request: Recorded) -> Mapping[str, Any]:
    """The body of an answer that is not streamed."""
    inputs, outputs = _tokens(answer)
    return _message(answer, request, _blocks(answer), _finish(answer), inputs | outputs)


def events(answer: Answer, request: Recorded) -> Iterator[Event]:
    """The events of a streamed answer; the input tokens are told at its begin, those of the output at its end."""

    def event(kind: str, **fields: Any) -> Event:
        return kind, {"type": kind, **fields}

    inputs, outputs = _tokens(answer)
    usage = inputs | {"output_tokens": 1} if answer.usage else inputs | outputs
    yield event("message_start", message=_message(answer, request, [], None, usage))
    yield event("ping")
    tools: list[tuple[int, Mapping[str, Any]]] = []
    for index, block in enumerate(_blocks(answer)):
        match block["type"]:
            case "thinking":
                start, deltas = {"thinking": "", "signature": ""}, _deltas(answer, block["thinking"], "thinking")
            case "text":
                start, deltas = {"text": ""}, _deltas(answer, block["text"], "text")
            case _:
                tools.append((index, block))
                yield event("content_block_start", index=index, content_block=block | {"input": {}})
                continue
        yield event("content_block_start", index=index, content_block=block | start)
        yield from (event("content_block_delta", index=index, delta=delta) for delta in deltas)
        yield event("content_block_stop", index=index)
    for pieces in zip_longest(*(answer.pieces(json.dumps(block["input"])) for _, block in tools)):
        for (index, _), piece in zip(tools, pieces, strict=True):
            if piece is not None:
                delta = {"type": "input_json_delta", "partial_json": piece}
                yield event("content_block_delta", index=index, delta=delta)
    yield from (event("content_block_stop", index=index) for index, _ in tools)
    if answer.finish is not None:
        delta = {"stop_reason": _finish(answer), "stop_sequence": None}
        yield event("message_delta", delta=delta, usage=outputs or {"output_tokens": 0})
        yield event("message_stop")


def error(message: str) -> Event:
    """The error that a stream may end with."""
    return "error", {"type": "error", "error": {"type": "overloaded_error", "message": message}}


def _deltas(answer: Answer, text: str, kind: str) -> Iterator[Mapping[str, Any]]:
    return ({"type": f"{kind}_delta", kind: piece} for piece in answer.pieces(text))


def _blocks(answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": "sig"})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for n, (name, arguments) in enumerate(answer.tool_calls):
        blocks.append({"type": "tool_use", "id": f"call_{n}", "name": name, "input": dict(arguments)})
    return blocks


def _finish(answer: Answer) -> str | None:
    if answer.finish != "auto":
        return answer.finish
    return "tool_use" if answer.tool_calls else "end_turn"


def _tokens(answer: Answer) -> tuple[dict[str, int], dict[str, int]]:
    """What goes in, which is told without the cached part, and what comes out."""
    if answer.usage is None:
        return {}, {}
    inputs, outputs = answer.usage
    told = {
        "input_tokens": inputs - answer.cached,
        "cache_read_input_tokens": answer.cached,
        "cache_creation_input_tokens": 0,
    }
    return told, {"output_tokens": outputs}


def _message(
    answer: Answer, request: Recorded, blocks: list[dict[str, Any]], finish: str | None, usage: dict[str, int]
) -> Mapping[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": answer.model or request.json.get("model"),
        "content": blocks,
        "stop_reason": finish,
        "stop_sequence": None,
        "usage": usage,
    }

"""OpenAI's chat completions and embeddings, as a server writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from tests.support.model_server.answer import Answer, Event, Recorded


def plain(answer: Answer, request: Recorded) -> Mapping[str, Any]:
    """The body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for n, (name, arguments) in enumerate(answer.tool_calls)
        ]
    body = _frame(answer, request, "chat.completion")
    body["choices"] = [{"index": 0, "message": message, "finish_reason": _finish(answer), "logprobs": None}]
    if answer.usage:
        body["usage"] = _usage(answer)
    return body


def events(answer: Answer, request: Recorded) -> Iterator[Event]:
    """The events of a streamed answer; the usage is told only to those who ask."""
    options: Mapping[str, Any] = request.json.get("stream_options") or {}
    asked = options.get("include_usage") is True and answer.usage is not None

    def chunk(delta: Mapping[str, Any], finish: str | None = None) -> Event:
        body = _frame(answer, request, "chat.completion.chunk")
        body["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        return None, body | ({"usage": None} if asked else {})

    yield chunk({"role": "assistant", "content": "" if answer.text else None})
    yield from (chunk({"reasoning_content": piece}) for piece in answer.pieces(answer.reasoning))
    yield from (chunk({"content": piece}) for piece in answer.pieces(answer.text))
    for n, (name, _) in enumerate(answer.tool_calls):
        function = {"name": name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": n, "id": f"call_{n}", "type": "function", "function": function}]})
    arguments = [answer.pieces(json.dumps(arguments)) for _, arguments in answer.tool_calls]
    for pieces in zip_longest(*arguments):
        for n, piece in enumerate(pieces):
            if piece is not None:
                yield chunk({"tool_calls": [{"index": n, "function": {"arguments": piece}}]})
    if answer.finish is not None:
        yield chunk({}, _finish(answer))
    if asked:
        yield None, _frame(answer, request, "chat.completion.chunk") | {"choices": [], "usage": _usage(answer)}
    yield None, "[DONE]"


def error(message: str) -> Event:
    """The error that a stream may end with."""
    return None, {"error": {"message": message, "type": "server_error", "code": None, "param": None}}


def embeddings(answer: Answer, request: Recorded) -> Mapping[str, Any]:
    """Vectors of three numbers, one per text; ``AACAPwAAAEAAAEBA`` is 1, 2, 3 as base64."""
    texts = request.json.get("input")
    count = len(texts) if isinstance(texts, list) else 1  # pyright: ignore[reportUnknownArgumentType]
    vector = "AACAPwAAAEAAAEBA" if request.json.get("encoding_format") == "base64" else [1.0, 2.0, 3.0]
    inputs = answer.usage[0] if answer.usage else 0
    return {
        "object": "list",
        "model": answer.model or request.json.get("model"),
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)],
        "usage": {"prompt_tokens": inputs, "total_tokens": inputs},
    }


def _frame(answer: Answer, request: Recorded, kind: str) -> dict[str, Any]:
    model = answer.model or request.json.get("model")
    return {"id": "chatcmpl-1", "object": kind, "created": 1_700_000_000, "model": model}


def _finish(answer: Answer) -> str | None:
    if answer.finish != "auto":
        return answer.finish
    return "tool_calls" if answer.tool_calls else "stop"


def _usage(answer: Answer) -> Mapping[str, Any]:
    inputs, outputs = answer.usage or (0, 0)
    return {
        "prompt_tokens": inputs,
        "completion_tokens": outputs,
        "total_tokens": inputs + outputs,
        "prompt_tokens_details": {"cached_tokens": answer.cached},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }

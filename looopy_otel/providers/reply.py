"""A scripted answer: what a deterministic model says, and how its endpoint behaves or misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import orjson

from looopy_otel.providers.shape import as_object

ScriptedToolCall: TypeAlias = tuple[str, Mapping[str, Any] | str] | Mapping[str, Any]
"""``(name, arguments)``, arguments being decoded or raw text; or an entry of ``tool_calls`` in OpenAI's shape."""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request that reached a scripted model.

    Attributes:
        method: ``POST``.
        path: Path and query, as sent.
        headers: Lower-case names; empty for a `ScriptedProvider`.
        body: The raw bytes.
        json: The decoded body; None where it is not JSON.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    json: Any = None

    @property
    def streamed(self) -> bool:
        """True when the request asks for a stream."""
        return self.setting("stream") is True

    def setting(self, name: str) -> Any:
        """A top-level field of the JSON body, or None."""
        return as_object(self.json).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One scripted answer.

    Attributes:
        text: The answer's text.
        tool_calls: The tools that it asks for.
        reasoning: The thinking text before it.
        model: The model that the body names; None for the one that was asked for.
        usage: Token counts in OpenAI's shape; None reports none. A stream reports them only when it was asked to.
        cost: USD. A plain reply sends it as a header, a stream as ``usage.cost``; None sends none.
        finish_reason: ``auto`` for ``tool_calls`` or ``stop``; None sends none.
        status: HTTP status; from 400 on the reply is an error whose message is `text`.
        headers: Further response headers.
        body: Raw body to send instead of a built one.
        delay: Seconds before the response headers.
        chunk_delay: Seconds between the chunks of a stream.
        chunk_size: Characters per chunk of text, reasoning and tool arguments.
        cut_after: Close the connection after so many chunks of a stream, or after half of a plain body;
            a negative number closes it before the headers.
        stream_error: Message of an error object sent in a stream after the content, in place of its end.
        usage_chunk: The form of a stream's last chunk: without choices, with an empty choice, or none at all.
        drip: Send one byte of the body per so many seconds.
    """

    text: str = ""
    tool_calls: Sequence[ScriptedToolCall] = ()
    reasoning: str = ""
    model: str | None = None
    usage: Mapping[str, Any] | None = None
    cost: float | None = None
    finish_reason: str | None = "auto"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    chunk_size: int = 8
    cut_after: int | None = None
    stream_error: str | None = None
    usage_chunk: Literal["empty", "with-choice", "none"] = "empty"
    drip: float | None = None

    def completion(self, request: RecordedRequest, number: int) -> dict[str, Any]:
        """The plain reply to the `number`-th request, as a ``chat.completion`` object."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = self._calls(number)
        completion: dict[str, Any] = {
            **self._frame(request, number, "chat.completion"),
            "choices": [{"index": 0, "message": message, "finish_reason": self._finish_reason()}],
        }
        if self.usage is not None:
            completion["usage"] = dict(self.usage)
        return completion

    def chunks(self, request: RecordedRequest, number: int) -> Iterator[dict[str, Any]]:
        """The streamed reply to the `number`-th request, as ``chat.completion.chunk`` objects."""
        frame = self._frame(request, number, "chat.completion.chunk")
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas.extend({"reasoning_content": piece} for piece in self._pieces(self.reasoning))
        deltas.extend({"content": piece} for piece in self._pieces(self.text))
        deltas.extend({"tool_calls": [delta]} for delta in self._call_deltas(number))
        for delta in deltas:
            yield {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        if self.stream_error is not None:
            yield error_object(self.stream_error, "internal_server_error", 500)
            return
        if self.finish_reason is not None:
            yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": self._finish_reason()}]}
        usage = self._streamed_usage(request)
        if usage is not None:
            choices: list[Any] = [{"index": 0, "delta": {}}] if self.usage_chunk == "with-choice" else []
            yield {**frame, "choices": choices, "usage": usage}

    def error(self) -> dict[str, Any]:
        """The body of a reply with an error status."""
        kinds = {401: "authentication_error", 403: "permission_error", 429: "throttling_error"}
        default = "invalid_request_error" if self.status < 500 else "internal_server_error"
        return error_object(self.text or "scripted error", kinds.get(self.status, default), self.status)

    def _frame(self, request: RecordedRequest, number: int, kind: str) -> dict[str, Any]:
        model = self.model or request.setting("model")
        return {"id": f"chatcmpl-{number}", "object": kind, "created": 1_730_000_000, "model": model}

    def _finish_reason(self) -> str | None:
        return ("tool_calls" if self.tool_calls else "stop") if self.finish_reason == "auto" else self.finish_reason

    def _pieces(self, text: str) -> Iterator[str]:
        return (text[start : start + self.chunk_size] for start in range(0, len(text), self.chunk_size))

    def _calls(self, number: int) -> list[dict[str, Any]]:
        return [_call(call, f"call_{number}_{index}") for index, call in enumerate(self.tool_calls)]

    def _call_deltas(self, number: int) -> Iterator[dict[str, Any]]:
        """Heads first, then the arguments of all calls in turn, as parallel calls arrive."""
        arguments: list[Iterator[str]] = []
        for index, call in enumerate(self._calls(number)):
            function = as_object(call.get("function"))
            arguments.append(self._pieces(str(function.get("arguments") or "")))
            yield {"index": index, **call, "function": {**function, "arguments": ""}}
        waiting = dict(enumerate(arguments))
        while waiting:
            for index, pieces in list(waiting.items()):
                piece = next(pieces, None)
                if piece is None:
                    del waiting[index]
                else:
                    yield {"index": index, "function": {"arguments": piece}}

    def _streamed_usage(self, request: RecordedRequest) -> dict[str, Any] | None:
        options = as_object(request.setting("stream_options"))
        if self.usage_chunk == "none" or not options.get("include_usage") or (self.usage is None and self.cost is None):
            return None
        return {**(self.usage or {}), **({} if self.cost is None else {"cost": self.cost})}


Script: TypeAlias = Sequence[Reply] | Callable[[RecordedRequest], Reply]
"""Replies in order (the last one repeats), or a function that makes one for each request."""


class ScriptReader:
    """Gives the reply to each request of a script."""

    def __init__(self, script: Script) -> None:
        if not callable(script) and not script:
            raise ValueError("a script needs at least one Reply")
        self._script = script
        self._taken = 0

    def next(self, request: RecordedRequest) -> tuple[Reply, int]:
        """The reply to `request`, and its number, counted from 1."""
        self._taken += 1
        if callable(self._script):
            return self._script(request), self._taken
        return self._script[min(self._taken, len(self._script)) - 1], self._taken


def error_object(message: str, kind: str, status: int) -> dict[str, Any]:
    """An error in LiteLLM's shape: the code is the status as text."""
    return {"error": {"message": message, "type": kind, "param": None, "code": str(status)}}


def _call(call: ScriptedToolCall, identifier: str) -> dict[str, Any]:
    if isinstance(call, Mapping):
        return dict(call)
    name, arguments = call
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": text}}

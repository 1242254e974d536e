"""Joining the chunks of a streamed completion: text, reasoning, parallel tool calls, usage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from looopy_otel.core.text import valid_text
from looopy_otel.core.types import (
    ContentDelta,
    LLMResponse,
    LLMUsage,
    Message,
    StreamEvent,
    ThoughtStream,
    ToolCallEvent,
)
from looopy_otel.providers.content import Part, joined, parts_of
from looopy_otel.providers.reading import Answer, tool_calls_of
from looopy_otel.providers.shape import as_json, as_list, as_object, as_text


@dataclass(slots=True)
class _ToolCallParts:
    id: str | None
    name: str
    arguments: list[str]


@dataclass(frozen=True, slots=True)
class Progress:
    """What one chunk brought.

    Attributes:
        events: Text and reasoning, as events.
        delta: True when it carried content, reasoning or a part of a tool call.
        anything: True when it carried anything but framing.
    """

    events: tuple[StreamEvent, ...]
    delta: bool
    anything: bool


class Aggregate:
    """The answer so far, joined chunk by chunk. Of several choices the first is taken."""

    def __init__(self) -> None:
        self._chunks = 0
        self._content: list[Part] = []
        self._reasoning: list[str] = []
        self._calls: list[_ToolCallParts] = []
        self._call_at: dict[int, _ToolCallParts] = {}
        self._model: str | None = None
        self._id: str | None = None
        self._usage: Mapping[str, Any] | None = None
        self.finish_reason: str | None = None

    @property
    def begun(self) -> bool:
        """True when at least one chunk arrived."""
        return self._chunks > 0

    @property
    def complete(self) -> bool:
        """True when nothing is missing: the finish reason and the usage are there."""
        return self.finish_reason is not None and bool(self._usage)

    def add(self, chunk: Mapping[str, Any]) -> Progress:
        """Takes one decoded chunk."""
        self._chunks += 1
        self._model = as_text(chunk.get("model")) or self._model
        self._id = as_text(chunk.get("id")) or self._id
        usage = as_object(chunk.get("usage"))
        self._usage = usage or self._usage
        choice = self._first_choice(chunk)
        # Some endpoints that cannot stream send the whole message in one chunk.
        delta = as_object(choice.get("delta")) or as_object(choice.get("message"))
        parts = parts_of(delta)
        events = tuple(self._events(delta, parts))
        called = [self._add_call(as_object(entry)) for entry in as_list(delta.get("tool_calls"))]
        finish_reason = as_text(choice.get("finish_reason"))
        self.finish_reason = finish_reason or self.finish_reason
        carried = bool(events or parts or called)
        return Progress(events, carried, carried or bool(usage) or finish_reason is not None or self._chunks == 1)

    def answer(self) -> Answer:
        """What the chunks say together."""
        calls, dropped = tool_calls_of(
            [
                {"id": parts.id, "function": {"name": parts.name, "arguments": valid_text("".join(parts.arguments))}}
                for parts in self._calls
            ]
        )
        return Answer(
            message=Message(
                role="assistant",
                content=joined(self._content),
                tool_calls=calls,
                reasoning=valid_text("".join(self._reasoning)) or None,
            ),
            model=self._model,
            usage=self._usage,
            finish_reason=self.finish_reason,
            id=self._id,
            dropped_tool_calls=dropped,
        )

    @staticmethod
    def _first_choice(chunk: Mapping[str, Any]) -> Mapping[str, Any]:
        choices = (as_object(choice) for choice in as_list(chunk.get("choices")))
        return next((choice for choice in choices if choice.get("index", 0) == 0), as_object(None))

    def _events(self, delta: Mapping[str, Any], parts: Sequence[Part]) -> Iterator[StreamEvent]:
        # LiteLLM calls it reasoning_content, OpenRouter and vLLM reasoning; some gateways send both.
        reasoning = as_text(delta.get("reasoning_content")) or as_text(delta.get("reasoning"))
        if reasoning:
            self._reasoning.append(reasoning)
            yield ThoughtStream(reasoning)
        self._content.extend(parts)
        yield from (ContentDelta(part) for part in parts if isinstance(part, str))

    def _add_call(self, entry: Mapping[str, Any]) -> None:
        function = as_object(entry.get("function"))
        identifier = as_text(entry.get("id"))
        parts = self._parts_at(entry.get("index"), identifier)
        parts.id = parts.id or identifier
        name, arguments = as_text(function.get("name")), function.get("arguments")
        if name and name != parts.name:  # some endpoints repeat it in every chunk
            parts.name += name
        if isinstance(arguments, str):
            parts.arguments.append(arguments)
        elif arguments:
            parts.arguments = [as_json(arguments)]

    def _parts_at(self, index: object, identifier: str | None) -> _ToolCallParts:
        """The call that a delta belongs to: by its index, else by its id, else the last one.

        A new one for a new index or id, and for a new id under an index that is taken.
        """
        if isinstance(index, int):
            parts = self._call_at.get(index)
        elif identifier:
            parts = next((parts for parts in self._calls if parts.id == identifier), None)
        else:
            parts = self._calls[-1] if self._calls else None
        if parts is None or (identifier and parts.id and identifier != parts.id):
            parts = _ToolCallParts(None, "", [])
            self._calls.append(parts)
        if isinstance(index, int):
            self._call_at[index] = parts
        return parts


def closing_events(response: LLMResponse) -> Iterator[StreamEvent]:
    """What a stream tells after the last delta, but for `ContentComplete`: the tool calls and the usage."""
    for call in response.tool_calls:
        yield ToolCallEvent(call)
    if response.usage is not None:
        yield LLMUsage(response.usage, response.cost)


def all_events(response: LLMResponse) -> Iterator[StreamEvent]:
    """What a stream would have told of a response that came in one piece, but for `ContentComplete`."""
    if response.message.reasoning:
        yield ThoughtStream(response.message.reasoning)
    parts = parts_of({"content": response.message.content})
    yield from (ContentDelta(part) for part in parts if isinstance(part, str))
    yield from closing_events(response)

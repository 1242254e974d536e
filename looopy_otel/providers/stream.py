"""What a stream tells of a response, beside its deltas."""

from __future__ import annotations

from collections.abc import Iterator

from looopy_otel.core.shapes.content import parts_of
from looopy_otel.core.types import ContentDelta, LLMResponse, LLMUsage, StreamEvent, ThoughtStream, ToolCallEvent


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

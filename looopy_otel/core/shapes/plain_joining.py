"""Joining streams that no vendor shaped: pieces of a plain text, and this library's own events."""

from __future__ import annotations

from looopy_otel.core.shapes.shape import Progress
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import (
    CallOutcome,
    ContentComplete,
    ContentDelta,
    LLMResponse,
    LLMUsage,
    Message,
    ThoughtStream,
    ToolCall,
    ToolCallEvent,
)


class TextJoiner:
    """The text so far of a stream of strings, which never say that the answer is complete: its end does."""

    def __init__(self) -> None:
        self._chunks = 0
        self._pieces: list[str] = []

    @property
    def begun(self) -> bool:
        """True when at least one piece arrived."""
        return self._chunks > 0

    @property
    def finished(self) -> bool:
        """False: no piece says that it is the last."""
        return False

    def add(self, chunk: object) -> Progress:
        """Takes one piece."""
        self._chunks += 1
        if not isinstance(chunk, str) or not chunk:
            return Progress()
        self._pieces.append(chunk)
        return Progress((ContentDelta(chunk),), delta=True, anything=True)

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """The pieces together; None when none came."""
        if not self.begun:
            return None
        return LLMResponse(Message("assistant", valid_text("".join(self._pieces))), outcome=outcome)


class EventJoiner:
    """The answer so far of a stream of this library's own events."""

    def __init__(self) -> None:
        self._chunks = 0
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._usage: LLMUsage | None = None
        self._complete: LLMResponse | None = None

    @property
    def begun(self) -> bool:
        """True when at least one event arrived."""
        return self._chunks > 0

    @property
    def finished(self) -> bool:
        """True after `ContentComplete`."""
        return self._complete is not None

    def add(self, chunk: object) -> Progress:
        """Takes one event."""
        self._chunks += 1
        match chunk:
            case ContentDelta():
                self._text.append(chunk.text)
                return Progress((chunk,), delta=True, anything=True)
            case ThoughtStream():
                self._thoughts.append(chunk.text)
                return Progress((chunk,), delta=True, anything=True)
            case ToolCallEvent():
                self._calls.append(chunk.tool_call)
                return Progress((chunk,), delta=True, anything=True)
            case LLMUsage():
                self._usage = chunk
                return Progress((chunk,), anything=True)
            case ContentComplete():
                self._complete = chunk.response
                return Progress((chunk,), anything=True)
            case _:
                return Progress()

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the last event says, or what the others say together; None when none came."""
        if self._complete is not None or not self.begun:
            return self._complete
        cost = self._usage.cost if self._usage else None
        return LLMResponse(
            Message(
                "assistant",
                valid_text("".join(self._text)) or None,
                tuple(self._calls),
                reasoning=valid_text("".join(self._thoughts)) or None,
            ),
            usage=self._usage.usage if self._usage else None,
            usage_source="reported" if self._usage else "missing",
            cost=cost,
            cost_source="unknown" if cost is None else "provider",
            outcome=outcome,
        )

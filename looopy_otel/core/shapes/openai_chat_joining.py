"""Joining the chunks of a streamed completion: text, reasoning, parallel tool calls, several choices, usage."""

from __future__ import annotations

from typing import Any

from looopy_otel.core.shapes.content import Part, joined, parts_of
from looopy_otel.core.shapes.fields import as_index, as_list, as_text, get
from looopy_otel.core.shapes.openai_chat_reading import Answer, images_of, reasoning_of, with_parts
from looopy_otel.core.shapes.shape import Progress
from looopy_otel.core.shapes.tool_calls import ToolCallPieces, kept_calls
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import CallOutcome, ContentDelta, LLMResponse, Message, StreamEvent, ThoughtStream

_NOTHING = Progress()


class ChatJoiner:
    """The answer so far of one stream of chat completions or of text completions.

    Attributes:
        finish_reason: The first choice's finish reason, or None so far.
    """

    def __init__(self) -> None:
        self._chunks = 0
        self._choices: dict[int, _Choice] = {}
        self._model: str | None = None
        self._id: str | None = None
        self._service_tier: str | None = None
        self._usage: object = None
        self._usage_is_last = False
        self.finish_reason: str | None = None

    @property
    def begun(self) -> bool:
        """True when at least one chunk arrived."""
        return self._chunks > 0

    @property
    def finished(self) -> bool:
        """True when every choice has its finish reason."""
        return self.finish_reason is not None and all(choice.finish_reason for choice in self._choices.values())

    @property
    def complete(self) -> bool:
        """True when nothing is missing: the finish reason and the usage are there."""
        return self.finish_reason is not None and self._usage is not None

    def add(self, chunk: object) -> Progress:
        """Takes one chunk."""
        self._chunks += 1
        self._model = as_text(get(chunk, "model")) or self._model
        self._id = as_text(get(chunk, "id")) or self._id
        self._service_tier = as_text(get(chunk, "service_tier")) or self._service_tier
        choices = as_list(get(chunk, "choices"))
        usage = _usage_of(chunk)
        after_the_end = not choices or self.finished
        events: list[StreamEvent] = []
        delta = finish = False
        for choice in choices:
            index = as_index(get(choice, "index"))
            carried, finish_reason = self._choice(index).add(choice, events if index == 0 else [])
            delta, finish = delta or carried, finish or finish_reason is not None
            if index == 0:
                self.finish_reason = finish_reason or self.finish_reason
        if usage is not None:
            self._usage, self._usage_is_last = usage, after_the_end or finish
        elif not delta and not finish and self._chunks > 1:
            return _NOTHING
        framing_only = not delta and not finish
        return Progress(tuple(events), delta, True, only_usage=usage is not None and framing_only and after_the_end)

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice()
        return choice

    def answer(self) -> Answer:
        """What the chunks say together."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        messages = [choice.message() for choice in choices] or [(Message("assistant"), 0)]
        if 0 not in self._choices and choices:
            messages.insert(0, (Message("assistant"), 0))
        return Answer(
            message=messages[0][0],
            others=tuple(message for message, _ in messages[1:]),
            model=self._model,
            usage=self._usage,
            usage_source="reported" if self._usage_is_last else "estimated",
            finish_reason=self.finish_reason,
            id=self._id,
            dropped_tool_calls=sum(dropped for _, dropped in messages),
            service_tier=self._service_tier,
        )

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the chunks say together; None when none came."""
        return self.answer().response(outcome) if self.begun else None


def _usage_of(chunk: object) -> object:
    """The chunk's usage where it says anything; most chunks have none or an empty one."""
    usage = get(chunk, "usage")
    return None if usage is None or usage == {} or isinstance(usage, str | int | float | list) else usage


class _Choice:
    """One choice so far."""

    __slots__ = ("_audio", "_calls", "_content", "_function", "_others", "_reasoning", "finish_reason")

    def __init__(self) -> None:
        self._content: list[Part] = []
        self._others: list[dict[str, Any]] = []
        self._audio: dict[str, list[str]] = {}
        self._reasoning: list[str] = []
        self._calls = ToolCallPieces()
        self._function: ToolCallPieces | None = None
        self.finish_reason: str | None = None

    def add(self, choice: object, events: list[StreamEvent]) -> tuple[bool, str | None]:
        """Takes what a chunk brings to this choice.

        Returns:
            Whether it carried content, reasoning or a part of a tool call, and its finish reason.
        """
        # Some endpoints that cannot stream send the whole message in one chunk; text completions send a text.
        delta = get(choice, "delta") or get(choice, "message") or {"content": get(choice, "text")}
        finish_reason = as_text(get(choice, "finish_reason"))
        self.finish_reason = finish_reason or self.finish_reason
        told = self._add_content(delta, events)
        called = self._add_calls(delta)
        shown = self._add_other_parts(delta)
        return told or called or shown, finish_reason

    def _add_content(self, delta: object, events: list[StreamEvent]) -> bool:
        reasoning, parts = reasoning_of(delta), parts_of(delta)
        if reasoning:
            self._reasoning.append(reasoning)
            events.append(ThoughtStream(reasoning))
        self._content += parts
        events += [ContentDelta(part) for part in parts if isinstance(part, str)]
        return bool(reasoning or parts)

    def _add_calls(self, delta: object) -> bool:
        entries, older = as_list(get(delta, "tool_calls")), get(delta, "function_call")
        for entry in entries:
            self._calls.add(entry)
        if older is not None:
            self._function = self._function or ToolCallPieces()
            self._function.add({"index": 0, "function": older})
        return bool(entries) or older is not None

    def _add_other_parts(self, delta: object) -> bool:
        images, audio = images_of(delta), get(delta, "audio")
        self._others += images
        if audio is None:
            return bool(images)
        for name in ("id", "data", "transcript"):
            text = as_text(get(audio, name))
            if text:
                self._audio.setdefault(name, []).append(text)
        return True

    def message(self) -> tuple[Message, int]:
        """The message so far, and how many tool calls of it cannot be used."""
        entries = self._calls.entries()
        if not entries and self._function is not None:
            entries = [{**entry, "id": entry["function"]["name"]} for entry in self._function.entries()]
        calls, dropped = kept_calls(entries)
        audio = {name: texts[-1] if name == "id" else "".join(texts) for name, texts in self._audio.items()}
        others = [*self._others, {"type": "audio", "audio": audio}] if audio else self._others
        message = Message(
            role="assistant",
            content=with_parts(joined(self._content), others),
            tool_calls=calls,
            reasoning=valid_text("".join(self._reasoning)) or None,
        )
        return message, dropped

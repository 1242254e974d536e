"""Joining the events of a streamed response of OpenAI."""

from __future__ import annotations

from typing import Any

from looopy_otel.core.shapes.fields import as_index, as_list, as_text, get, plain_object
from looopy_otel.core.shapes.openai_responses_reading import response_of
from looopy_otel.core.shapes.shape import Progress
from looopy_otel.core.types import CallOutcome, ContentDelta, LLMResponse, StreamEvent, ThoughtStream

_NOTHING = Progress()
_SIGN = Progress(anything=True)
_CARRIED = Progress(delta=True, anything=True)

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_STATES = frozenset({"response.created", "response.in_progress", "response.queued"})

_TEXT = "response.output_text.delta"
_REFUSAL = "response.refusal.delta"
_REASONING = "response.reasoning_text.delta"
_SUMMARY = "response.reasoning_summary_text.delta"
_ARGUMENTS = "response.function_call_arguments.delta"
_CUSTOM_INPUT = "response.custom_tool_call_input.delta"


class ResponseJoiner:
    """The answer so far of one stream of ``response.…`` events."""

    def __init__(self) -> None:
        self._chunks = 0
        self._items: dict[int, _Item] = {}
        self._response: object = None
        self._finished = False

    @property
    def begun(self) -> bool:
        """True when at least one event arrived."""
        return self._chunks > 0

    @property
    def finished(self) -> bool:
        """True when the event arrived that carries the whole response."""
        return self._finished

    def add(self, chunk: object) -> Progress:
        """Takes one event."""
        self._chunks += 1
        kind = as_text(get(chunk, "type")) or ""
        if kind in _LAST or kind in _STATES:
            response = get(chunk, "response")
            self._response = self._response if response is None else response
            self._finished = self._finished or kind in _LAST
            return _SIGN
        if kind.endswith(".delta"):
            return self._delta(kind, chunk)
        if kind in ("response.output_item.added", "response.output_item.done"):
            return self._item_at(chunk).whole(get(chunk, "item"))
        return _NOTHING

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the events say together; None when none came."""
        if not self.begun:
            return None
        items = as_list(get(self._response, "output")) if self._finished else ()
        return response_of(self._response, items or [item.joined() for _, item in sorted(self._items.items())], outcome)

    def _item_at(self, event: object) -> _Item:
        index = as_index(get(event, "output_index"), max(self._items, default=0))
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item()
        return item

    def _delta(self, kind: str, event: object) -> Progress:
        delta = as_text(get(event, "delta"))
        if delta is None:
            return _NOTHING
        told = self._item_at(event).add(kind, _place(event), delta)
        return Progress((told,), delta=True, anything=True) if told is not None else _CARRIED


def _place(event: object) -> int:
    """Where in its item a delta belongs: the content part or, for a summary of reasoning, its part."""
    index = get(event, "content_index")
    return as_index(get(event, "summary_index") if index is None else index)


class _Item:
    """One output item so far."""

    __slots__ = ("_fields", "_pieces")

    def __init__(self) -> None:
        self._fields: object = None
        self._pieces: dict[tuple[str, int], list[str]] = {}

    def whole(self, item: object) -> Progress:
        """Takes the item as it stands at its beginning or its end."""
        began = self._fields is None and not self._pieces
        self._fields = item
        if not began:
            self._pieces.clear()
        # The beginning of a text or a thought is framing; that of a call says already who is called.
        framing = not began or get(item, "type") in ("message", "reasoning")
        return _SIGN if framing else _CARRIED

    def add(self, kind: str, index: int, delta: str) -> StreamEvent | None:
        """Takes one delta; gives the event where it is text or reasoning."""
        self._pieces.setdefault((kind, index), []).append(delta)
        if kind in (_TEXT, _REFUSAL):
            return ContentDelta(delta)
        return ThoughtStream(delta) if kind in (_REASONING, _SUMMARY) else None

    def joined(self) -> dict[str, Any]:
        """The whole item, as a response that came in one piece would have it."""
        item = {**plain_object(self._fields)}
        pieces = {place: "".join(texts) for place, texts in sorted(self._pieces.items())}
        kinds = {kind for kind, _ in pieces}
        if kinds & {_ARGUMENTS, _CUSTOM_INPUT}:
            name, kind = ("arguments", _ARGUMENTS) if _ARGUMENTS in kinds else ("input", _CUSTOM_INPUT)
            item[name] = "".join(text for (of, _), text in pieces.items() if of == kind)
        said = [{"type": "text", "text": text} for (kind, _), text in pieces.items() if kind in (_TEXT, _REFUSAL)]
        thought = [{"text": text} for (kind, _), text in pieces.items() if kind in (_REASONING, _SUMMARY)]
        if said:
            item |= {"type": "message", "content": said}
        if thought:
            item |= {"type": "reasoning", "summary": thought}
        return item

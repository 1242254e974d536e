"""Joining the events of a streamed message of Anthropic."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from looopy_otel.core.shapes.anthropic_reading import message_of
from looopy_otel.core.shapes.cost import cost_fields
from looopy_otel.core.shapes.counted import counted
from looopy_otel.core.shapes.fields import as_index, as_text, get, plain_object
from looopy_otel.core.shapes.shape import Progress
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import (
    CallOutcome,
    ContentDelta,
    LLMResponse,
    Message,
    StreamEvent,
    ThoughtStream,
    UsageSource,
)
from looopy_otel.core.usage import Usage

_NOTHING = Progress()
_SIGN = Progress(anything=True)
_CARRIED = Progress(delta=True, anything=True)

_COUNTS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation",
    "cost",
    "service_tier",
    "output_tokens_details",
)


_CHARACTERS_PER_TOKEN: Final = 4
"""Of English text, about."""


class MessageJoiner:
    """The answer so far of one stream of ``message_start``, ``content_block_delta`` and the like."""

    def __init__(self) -> None:
        self._chunks = 0
        self._blocks: dict[int, _Block] = {}
        self._model: str | None = None
        self._id: str | None = None
        self._counts: dict[str, Any] = {}
        self._usage_is_last = False
        self._stop_reason: str | None = None
        self._stopped = False

    @property
    def begun(self) -> bool:
        """True when at least one event arrived."""
        return self._chunks > 0

    @property
    def finished(self) -> bool:
        """True when the stop reason, or the last event, is there."""
        return self._stopped or self._stop_reason is not None

    def add(self, chunk: object) -> Progress:
        """Takes one event; an SDK's helper events, which say the same again, count for nothing."""
        self._chunks += 1
        read = _READERS.get(as_text(get(chunk, "type")) or "")
        return read(self, chunk) if read else _NOTHING

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the events say together; None when none came."""
        if not self.begun:
            return None
        blocks = [block.joined() for _, block in sorted(self._blocks.items())]
        message, dropped = message_of(blocks)
        usage = self._usage(message)
        source: UsageSource = "reported" if self._usage_is_last else "estimated"
        return LLMResponse(
            message=message,
            model=self._model,
            usage=usage,
            usage_source="missing" if usage is None else source,
            **cost_fields(self._counts, self._model),
            finish_reason=self._stop_reason,
            id=self._id,
            outcome=outcome,
            dropped_tool_calls=dropped,
            service_tier=as_text(self._counts.get("service_tier")),
        )

    def _usage(self, message: Message) -> Usage | None:
        """What was told; before the last word of it, the output is estimated by the characters that came.

        The count of the output that a stream begins with stands for nothing.
        """
        usage = counted(self._counts, message)
        if usage is None or self._usage_is_last:
            return usage
        estimate = -(-sum(block.characters for block in self._blocks.values()) // _CHARACTERS_PER_TOKEN)
        return replace(usage, completion_tokens=max(usage.completion_tokens, estimate))

    def _start(self, event: object) -> Progress:
        message = get(event, "message")
        self._model, self._id = as_text(get(message, "model")), as_text(get(message, "id"))
        self._count(get(message, "usage"))
        return _SIGN

    def _start_block(self, event: object) -> Progress:
        start = get(event, "content_block")
        self._blocks[as_index(get(event, "index"), len(self._blocks))] = _Block(start)
        # A text or a thought begins empty; the start of a tool call or of a search says something already.
        return _SIGN if get(start, "type") in ("text", "thinking") else _CARRIED

    def _delta(self, event: object) -> Progress:
        index = as_index(get(event, "index"), max(self._blocks, default=0))
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block(None)
        told = block.add(get(event, "delta"))
        return Progress((told,), delta=True, anything=True) if told is not None else _CARRIED

    def _end(self, event: object) -> Progress:
        """Takes the stop reason and the counts, which are those of the whole message so far."""
        self._stop_reason = as_text(get(get(event, "delta"), "stop_reason")) or self._stop_reason
        usage = get(event, "usage")
        self._count(usage)
        self._usage_is_last = self._usage_is_last or usage is not None
        return _SIGN

    def _stop(self, _: object) -> Progress:
        self._stopped = True
        return _SIGN

    def _count(self, usage: object) -> None:
        counts = {name: get(usage, name) for name in _COUNTS}
        self._counts.update((name, count) for name, count in counts.items() if count is not None)


_READERS: Mapping[str, Callable[[MessageJoiner, object], Progress]] = {
    "message_start": MessageJoiner._start,  # pyright: ignore[reportPrivateUsage]
    "content_block_start": MessageJoiner._start_block,  # pyright: ignore[reportPrivateUsage]
    "content_block_delta": MessageJoiner._delta,  # pyright: ignore[reportPrivateUsage]
    "message_delta": MessageJoiner._end,  # pyright: ignore[reportPrivateUsage]
    "message_stop": MessageJoiner._stop,  # pyright: ignore[reportPrivateUsage]
}

_COUNTED_FIELDS = ("text", "thinking", "partial_json")
_DELTA_FIELDS = (*_COUNTED_FIELDS, "signature")


class _Block:
    """One content block so far."""

    __slots__ = ("_citations", "_pieces", "_start")

    def __init__(self, start: object) -> None:
        self._start = start
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    def add(self, delta: object) -> StreamEvent | None:
        """Takes one delta; gives the event where it is text or thinking."""
        for name in _DELTA_FIELDS:
            text = as_text(get(delta, name))
            if text is not None:
                self._pieces.setdefault(name, []).append(text)
                return ContentDelta(text) if name == "text" else ThoughtStream(text) if name == "thinking" else None
        citation = get(delta, "citation")
        if citation is not None:
            self._citations.append(citation)
        return None

    @property
    def characters(self) -> int:
        """How much text, thought and arguments came."""
        return sum(len(piece) for name in _COUNTED_FIELDS for piece in self._pieces.get(name, ()))

    def joined(self) -> dict[str, Any]:
        """The whole block, as a message that came in one piece would have it."""
        block = {**plain_object(self._start)}
        texts = {name: valid_text("".join(pieces)) for name, pieces in self._pieces.items()}
        arguments = texts.pop("partial_json", None)
        for name, text in texts.items():
            block[name] = (as_text(block.get(name)) or "") + text
        if arguments is not None:
            block["input"] = arguments
        if self._citations:
            block["citations"] = self._citations
        if "type" not in block:
            block["type"] = "tool_use" if arguments is not None else "thinking" if "thinking" in texts else "text"
        return block

"""What a loopback model answers to one request, and how its connection behaves or misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request that reached the server.

    Attributes:
        method: ``POST``.
        path: Path and query, as sent.
        headers: Lower-case names.
        json: The decoded body; an empty object where it is not one.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    json: Mapping[str, Any]

    @property
    def streamed(self) -> bool:
        """True when the request asks for a stream."""
        return self.json.get("stream") is True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, told in the words of no vendor; the server writes it in the format that the request's path means.

    Attributes:
        text: The answer's text.
        tool_calls: Name and arguments of each tool that it asks for. A stream interleaves the pieces of their
            arguments.
        reasoning: The thinking before it.
        model: The model that answers; None for the one that was asked for.
        usage: Input and output tokens, all inclusive; None tells none. A chat stream tells them only when asked.
        cached: How many of the input tokens came from a cache.
        reasoning_tokens: How many of the output tokens were reasoning.
        finish: ``auto`` for the vendor's word, None for a stream that ends without one.
        piece: Characters per chunk of text, reasoning and arguments.
        status: HTTP status; from 400 on the answer is an error whose message is `text`.
        headers: Further response headers.
        body: A raw body to send in place of a built one, as JSON.
        cut_after: Close the connection after so many events of a stream, or (0) before the headers.
        end_after: End the stream's body properly after so many events.
        error_after: Send the vendor's error event after so many events, and end.
        stall_before: Wait at this event (0 is the first one) for `gate`, or for the client to go away.
        gate: What a stall waits for.
        slow_first: Seconds before the first event that carries content; the framing before it is sent at once.
        pace: Seconds between events.
    """

    text: str = "Hello there, dear friend."
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    reasoning: str = ""
    model: str | None = None
    usage: tuple[int, int] | None = (11, 7)
    cached: int = 0
    reasoning_tokens: int = 0
    finish: str | None = "auto"
    piece: int = 6
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    cut_after: int | None = None
    end_after: int | None = None
    error_after: int | None = None
    stall_before: int | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    slow_first: float = 0.0
    pace: float = 0.0

    def pieces(self, text: str) -> Iterator[str]:
        """A text in pieces."""
        return (text[start : start + self.piece] for start in range(0, len(text), self.piece))


Script: TypeAlias = Answer | Sequence[Answer] | Callable[[Recorded], Answer]
"""One answer for all, answers in order of which the last one repeats, or what decides by the request."""

Event: TypeAlias = tuple[str | None, Mapping[str, Any] | str]
"""One event of a stream: its ``event:`` name, if the format has one, and its data."""

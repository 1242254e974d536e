"""What every wire format can do; no SDK is imported, so that one reader serves objects and decoded JSON alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import CallOutcome, LLMResponse, StreamEvent


@dataclass(frozen=True, slots=True)
class Progress:
    """What one chunk of a stream brought.

    Attributes:
        events: Text and reasoning, as events.
        delta: True when it carried content, reasoning or a part of a tool call.
        anything: True when it carried anything but framing.
        only_usage: True for a chunk that carries the usage and nothing else: the one that is sent when it is asked for.
    """

    events: tuple[StreamEvent, ...] = ()
    delta: bool = False
    anything: bool = False
    only_usage: bool = False


class Joiner(Protocol):
    """The answer so far of one stream. `add` neither copies content nor raises for a strange chunk."""

    @property
    def begun(self) -> bool:
        """True when at least one chunk arrived."""
        ...

    @property
    def finished(self) -> bool:
        """True when the provider said that the answer is complete (a finish reason, or its format's last event)."""
        ...

    def add(self, chunk: Any) -> Progress:
        """Takes one chunk, an SDK's object or decoded JSON."""
        ...

    def response(self, outcome: CallOutcome = "completed") -> LLMResponse | None:
        """What the chunks say together; None when none came."""
        ...


class WireFormat(Protocol):
    """One API of one vendor, such as OpenAI's chat completions."""

    def call(self, arguments: Mapping[str, Any]) -> LLMCall:
        """Reads a request.

        Args:
            arguments: The request's fields, as the SDK's method or the JSON body has them. Unset markers of an SDK
                count as absent.

        Returns:
            The operation, without system, provider and server; its messages are in OpenAI's shape.
        """
        ...

    def arguments(self, arguments: Mapping[str, Any], before: LLMCall, after: LLMCall) -> dict[str, Any]:
        """The request's fields with what a middleware changed in it; all others stay as they were.

        Args:
            arguments: The fields of the original request.
            before: The operation that `call` made of it.
            after: What the middleware passed on.
        """
        ...

    def asking_for_usage(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """The fields of a streamed request that asks for its usage, where it does not yet and may; else None."""
        ...

    def response(self, answer: Any) -> LLMResponse | None:
        """Reads an answer, an SDK's object or decoded JSON; None when it is not one of this format.

        The answer itself stands in `LLMResponse.native`.
        """
        ...

    def joiner(self) -> Joiner:
        """Makes the joiner of one stream."""
        ...

    def answer(self, response: LLMResponse) -> dict[str, Any]:
        """Writes a response as this format's JSON, for one that a middleware made itself."""
        ...

"""Whether the caller of an LLM call has begun to get its answer; after that, the call cannot be made again."""

from __future__ import annotations

from contextvars import ContextVar

from looopy_otel.core.types import LLMResponse


class Delivery:
    """What the caller of one call has of its answer.

    Attributes:
        begun: True once a delta, or the stream itself, was given away.
        answers: What came back, also where a middleware then refused it.
    """

    __slots__ = ("answers", "begun")

    def __init__(self) -> None:
        self.begun = False
        self.answers: list[LLMResponse] = []


_current: ContextVar[Delivery | None] = ContextVar("looopy_otel_delivery", default=None)


def current_delivery() -> Delivery | None:
    """Returns what somebody outside watches of the call that is made here, or None."""
    return _current.get()


def watch_delivery(delivery: Delivery | None) -> None:
    """Says what is watched from here on; for who also puts the one before back."""
    _current.set(delivery)


def delivered() -> None:
    """Says that the caller has a part of the answer, or the stream."""
    delivery = _current.get()
    if delivery is not None:
        delivery.begun = True


def answered(response: LLMResponse) -> LLMResponse:
    """Says what the endpoint answered, before any middleware sees it; returns it."""
    delivery = _current.get()
    if delivery is not None:
        delivery.answers.append(response)
    return response

"""What becomes of an LLM call's answer: whether its caller has begun to get it, and what of it is to be paid for.

After a part of it was delivered, the call cannot be made again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
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
    delivery, expense = _current.get(), _expense.get()
    if delivery is not None:
        delivery.answers.append(response)
    if expense is not None:
        expense.add_answer(response)
    return response


def broken_off(partial: LLMResponse) -> None:
    """Says what an endpoint had told of an answer that its caller does not get as a whole."""
    expense = _expense.get()
    if expense is not None and partial.usage is not None:
        expense.add_partial(partial)


class Expense:
    """What endpoints told in one stretch of work that somebody accounts for.

    Args:
        outer: That of a longer stretch, which is told as well.
        on_partial: Told at once, wherever that is, of what came of a call that failed or was left.

    Attributes:
        answers: Whole answers; those that a middleware refused are among them.
        partials: What came of calls that failed or were left: their usage, or none where they only are known to be
            charged for.
    """

    __slots__ = ("_on_partial", "_outer", "answers", "partials")

    def __init__(self, outer: Expense | None, on_partial: Callable[[LLMResponse], None]) -> None:
        self._outer = outer
        self._on_partial = on_partial
        self.answers: list[LLMResponse] = []
        self.partials: list[LLMResponse] = []

    def add_answer(self, response: LLMResponse) -> None:
        """Takes a whole answer."""
        self.answers.append(response)
        if self._outer is not None:
            self._outer.add_answer(response)

    def add_partial(self, partial: LLMResponse) -> None:
        """Takes a part of an answer."""
        self.partials.append(partial)
        self._on_partial(partial)
        if self._outer is not None:
            self._outer.add_partial(partial)


_expense: ContextVar[Expense | None] = ContextVar("looopy_otel_expense", default=None)


def current_expense() -> Expense | None:
    """Returns what is accounted for here, or None."""
    return _expense.get()


# Neither puts its variables back by a token: an abandoned coroutine is closed in whatever context.


@contextmanager
def accounted(on_partial: Callable[[LLMResponse], None]) -> Generator[Expense]:
    """Gathers what endpoints tell inside.

    Args:
        on_partial: As of `Expense`; it must not fail or block.
    """
    before = _expense.get()
    expense = Expense(before, on_partial)
    _expense.set(expense)
    try:
        yield expense
    finally:
        _expense.set(before)


@contextmanager
def unwatched() -> Generator[None]:
    """Hides what is called inside from those who watch or account for the call around it."""
    delivery, expense = _current.get(), _expense.get()
    _current.set(None)
    _expense.set(None)
    try:
        yield
    finally:
        _current.set(delivery)
        _expense.set(expense)

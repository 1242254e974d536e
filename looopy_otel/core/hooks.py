"""The observer seam: one slot, empty by default, to which operations are announced. Tracing fills it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, Protocol

from looopy_otel.core.guard import guard
from looopy_otel.core.operation import Operation
from looopy_otel.core.suppression import suppression


class Handle(Protocol):
    """An operation under way, as the one who announced it sees it. No method raises or blocks.

    `start` and `end` are called in the same task (or thread), never with a ``yield`` to a consumer between them.
    """

    @property
    def trace_id(self) -> str | None:
        """32 hex digits, or None when nothing is recorded."""
        ...

    @property
    def span_id(self) -> str | None:
        """16 hex digits, or None when nothing is recorded."""
        ...

    def headers(self) -> Mapping[str, str]:
        """Headers to send with the operation's own request (``traceparent``)."""
        ...

    def chunk(self) -> None:
        """Says that a content, reasoning or tool-call delta arrived. The first one sets the time to first chunk."""
        ...

    def revise(self, operation: Operation) -> None:
        """Says that a middleware put another operation in the place of the announced one; this is what really runs."""
        ...

    def end(self, result: object = None, error: BaseException | None = None) -> None:
        """Says how the operation ended; only the first call counts.

        Args:
            result: The operation's result; with `error` the partial one, if any.
            error: What was raised, `asyncio.CancelledError` and `GeneratorExit` included.
        """
        ...


class Recorder(Handle, Protocol):
    """A handle that also takes facts from the user's code; what `lo.span()` yields and `lo.current()` returns."""

    def record(
        self,
        *,
        input: object = None,
        output: object = None,
        usage: object = None,
        response_model: str | None = None,
        finish_reason: str | None = None,
        cost: Decimal | float | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds facts; what is given replaces what is known, metadata is merged. None changes nothing.

        Args:
            input: What the operation starts from; messages, or a text, for an LLM call.
            output: What it gave; a text, a message, or the provider's own response object for an LLM call.
            usage: Tokens: a `Usage`, or what a provider reports, as an object or a mapping.
            response_model: The model that answered.
            finish_reason: The provider's word.
            cost: USD, as the provider tells it.
            metadata: Further facts.
        """
        ...

    def first_chunk(self) -> None:
        """Says that the first content, reasoning or tool-call delta arrived; as `chunk`."""
        ...

    def fail(self, error: BaseException) -> None:
        """Marks the operation as failed, for code that handles the exception itself."""
        ...

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        """Says how the operation ended; only the first call counts.

        Args:
            result: As in `Handle.end`.
            error: As in `Handle.end`.
            ended_at: When that was, by `time.perf_counter_ns`, for what is only noticed later; by default now.
        """
        ...

    def suspend(self) -> None:
        """Steps out: what was current before is current again, until `resume`. For generators, before each yield."""
        ...

    def resume(self) -> None:
        """Steps in again, wherever that is: the operation is current here, as it was at `suspend`."""
        ...


class Observer(Protocol):
    """Who is told of operations."""

    def start(self, operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
        """Says that an operation starts now, here.

        Args:
            operation: The operation.
            parent: What it is a part of, where that is not what is current here.
            current: False leaves what is current here alone.
        """
        ...


class SilentRecorder:
    """A recorder that records nothing."""

    @property
    def trace_id(self) -> str | None:
        """None: there is no trace."""
        return None

    @property
    def span_id(self) -> str | None:
        """None: there is no span."""
        return None

    def headers(self) -> Mapping[str, str]:
        """Nothing to send."""
        return {}

    def chunk(self) -> None:
        """Does nothing."""

    def revise(self, operation: Operation) -> None:
        """Does nothing."""

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        """Does nothing."""

    def record(self, **facts: Any) -> None:
        """Does nothing."""

    def first_chunk(self) -> None:
        """Does nothing."""

    def fail(self, error: BaseException) -> None:
        """Does nothing."""

    def suspend(self) -> None:
        """Does nothing."""

    def resume(self) -> None:
        """Does nothing."""


NO_RECORDER: Recorder = SilentRecorder()
NO_HANDLE: Handle = NO_RECORDER
_innermost: ContextVar[Recorder | None] = ContextVar("looopy_otel_recorder", default=None)
_observer: Observer | None = None


def install(observer: Observer) -> None:
    """Fills the slot; the one before is replaced."""
    global _observer
    _observer = observer


def remove(observer: Observer) -> None:
    """Empties the slot if `observer` is in it."""
    global _observer
    if _observer is observer:
        _observer = None


def installed() -> Observer | None:
    """The observer in the slot, or None."""
    return _observer


def announce(operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
    """Announces an operation to the observer.

    Args:
        operation: The operation.
        parent: What it is a part of, for those who are told of operations by callbacks; by default what is current
            here.
        current: False leaves what is current here alone: the operation is nobody's parent unless it is named.

    Returns:
        The observer's handle; one that does nothing where the slot is empty, tracing is suppressed here,
        or the observer failed.
    """
    observer = _observer  # Another thread may empty the slot meanwhile.
    if observer is None or suppression.get():
        return NO_RECORDER
    before = _innermost.get()
    try:
        with guard("observer.start"):
            return observer.start(operation, parent=parent, current=current)
    except BaseException as interrupt:
        # What was opened reaches nobody who could end it.
        opened = _innermost.get()
        if opened is not None and opened is not before:
            opened.end(error=interrupt)
        raise
    return NO_RECORDER


def innermost() -> Recorder | None:
    """Returns the innermost operation that is being recorded here, or None."""
    return _innermost.get()


def set_innermost(recorder: Recorder | None) -> None:
    """Says which operation is the innermost here; for the observer, which also says when it is over."""
    _innermost.set(recorder)


def is_suppressed() -> bool:
    """True where nothing is announced."""
    return suppression.get()


def set_suppressed(suppressed: bool) -> None:
    """Says whether anything is announced from here on; for who also puts back what was before."""
    suppression.set(suppressed)


@contextmanager
def suppressed() -> Generator[None]:
    """Records nothing inside, in this task and those started from it: no span, no tokens, no cost.

    Public as ``looopy_otel.suppressed``. What is recorded already goes on.
    """
    token = suppression.set(True)
    try:
        yield
    finally:
        with suppress(ValueError):  # Left in another context than entered: that one keeps its own value.
            suppression.reset(token)

"""The observer seam: one slot, empty by default, to which operations are announced. Tracing fills it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from looopy_otel.core.guard import guard
from looopy_otel.core.operation import Operation


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

    def record(self, *, input: object = None, output: object = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Adds facts; what is given replaces what is known, metadata is merged. None changes nothing."""
        ...

    def fail(self, error: BaseException) -> None:
        """Marks the operation as failed, for code that handles the exception itself."""
        ...

    def suspend(self) -> None:
        """Steps out: what was current before is current again, until `resume`. For generators, before each yield."""
        ...

    def resume(self) -> None:
        """Steps in again, wherever that is: the operation is current here, as it was at `suspend`."""
        ...


class Observer(Protocol):
    """Who is told of operations."""

    def start(self, operation: Operation) -> Handle:
        """Says that an operation starts now, here."""
        ...


class _NoHandle:
    trace_id = None
    span_id = None

    def headers(self) -> Mapping[str, str]:
        return {}

    def chunk(self) -> None:
        return None

    def revise(self, operation: Operation) -> None:
        return None

    def end(self, result: object = None, error: BaseException | None = None) -> None:
        return None

    def record(self, *, input: object = None, output: object = None, metadata: Mapping[str, Any] | None = None) -> None:
        return None

    def fail(self, error: BaseException) -> None:
        return None

    def suspend(self) -> None:
        return None

    def resume(self) -> None:
        return None


NO_RECORDER: Recorder = _NoHandle()
NO_HANDLE: Handle = NO_RECORDER
_innermost: ContextVar[Recorder | None] = ContextVar("looopy_otel_recorder", default=None)
_observer: Observer | None = None
_suppressed: ContextVar[bool] = ContextVar("looopy_otel_suppressed", default=False)


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


def announce(operation: Operation) -> Handle:
    """Announces an operation to the observer.

    Returns:
        The observer's handle; one that does nothing where the slot is empty, tracing is suppressed here,
        or the observer failed.
    """
    if _observer is None or _suppressed.get():
        return NO_HANDLE
    with guard("observer.start"):
        return _observer.start(operation)
    return NO_HANDLE


def innermost() -> Recorder | None:
    """Returns the innermost operation that is being recorded here, or None."""
    return _innermost.get()


def set_innermost(recorder: Recorder | None) -> None:
    """Says which operation is the innermost here; for the observer, which also says when it is over."""
    _innermost.set(recorder)


@contextmanager
def suppressed() -> Generator[None]:
    """Announces nothing inside, in this task and those started from it."""
    token = _suppressed.set(True)
    try:
        yield
    finally:
        _suppressed.reset(token)

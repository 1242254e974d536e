"""The record of one run that every consumer reads from the start, in any thread and at any time."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from looopy_otel.agent.events import AgentEvent
from looopy_otel.core.types import AgentResult

Listener = Callable[[], None]


class EventLog:
    """Events in order, then an end. Written by the run's task alone; list and dict operations are atomic for readers.

    Attributes:
        closed: True when no event will follow.
        result: How the run ended; None before, and for a run that failed before it began.
        error: What the run raised, or None.
    """

    def __init__(self) -> None:
        self._events: list[AgentEvent] = []
        self._listeners: dict[int, Listener] = {}
        self._traceback: TracebackType | None = None
        self.closed = False
        self.result: AgentResult | None = None
        self.error: BaseException | None = None

    def append(self, event: AgentEvent) -> None:
        """Adds an event and wakes whoever waits; after the end it does nothing."""
        if not self.closed:
            self._events.append(event)
            self._wake()

    def close(self, event: AgentEvent, result: AgentResult | None, error: BaseException | None) -> None:
        """Adds the last event and ends the log, at once for every reader; a second time it does nothing."""
        if self.closed:
            return
        self.result, self.error = result, error
        self._traceback = None if error is None else error.__traceback__
        self._events.append(event)
        self.closed = True
        self._wake()

    def get(self, position: int) -> AgentEvent | None:
        """The event at a position, or None when it has not happened."""
        return self._events[position] if position < len(self._events) else None

    def raise_error(self) -> None:
        """Raises what the run raised, if it did, with the run's traceback however often it is raised."""
        if self.error is not None:
            raise self.error.with_traceback(self._traceback)

    def listen(self, key: int, listener: Listener) -> None:
        """Has `listener` called after each event; it must not block and may be called from another thread."""
        self._listeners[key] = listener

    def forget(self, key: int) -> None:
        """Ends what `listen` began."""
        self._listeners.pop(key, None)

    def _wake(self) -> None:
        for listener in list(self._listeners.values()):
            listener()

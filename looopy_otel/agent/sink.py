"""Writes a run's events into its log, as far as the consumers asked for them."""

from __future__ import annotations

from typing import Any

from looopy_otel.agent.event_log import EventLog
from looopy_otel.agent.events import (
    TASK_DETAIL,
    ArtifactUpdateEvent,
    ContentCompleteEvent,
    ContentDeltaEvent,
    Detail,
    LLMUsageEvent,
    StatusUpdateEvent,
    TaskEvent,
    ThoughtStreamEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from looopy_otel.core.types import ContentComplete, ContentDelta, LLMUsage, ThoughtStream, ToolCallEvent

_Event = (
    TaskEvent
    | StatusUpdateEvent
    | ArtifactUpdateEvent
    | ContentDeltaEvent
    | ThoughtStreamEvent
    | ToolStartEvent
    | ToolCompleteEvent
    | LLMUsageEvent
    | ContentCompleteEvent
)


class EventSink:
    """Writes the events of one run.

    Args:
        log: Where they go.
        task_id: The run.
        context_id: The session where one is open, else the task id.
        detail: Which events are wanted.
    """

    def __init__(self, log: EventLog, task_id: str, context_id: str, detail: Detail) -> None:
        self.log = log
        self._task_id = task_id
        self._context_id = context_id
        self._full = detail == "full"

    def make(self, kind: type[_Event], **fields: Any) -> Any:
        """Builds an event of this run."""
        return kind(task_id=self._task_id, context_id=self._context_id, **fields)

    def add(self, kind: type[_Event], **fields: Any) -> None:
        """Writes an event of this run, if its kind is wanted."""
        if self._full or issubclass(kind, TASK_DETAIL):
            self.log.append(self.make(kind, **fields))

    def emit(self, delta: Any) -> None:
        """Takes what goes through ``operation.emit``: a provider's stream event, or an event of a middleware's own.

        Usage, tool calls and the complete response are told by the loop itself, once the middleware is through.

        Raises:
            TypeError: If it is neither.
        """
        match delta:
            case ContentDelta():
                self.add(ContentDeltaEvent, text=delta.text)
            case ThoughtStream():
                self.add(ThoughtStreamEvent, text=delta.text)
            case ToolCallEvent() | LLMUsage() | ContentComplete():
                return
            case _ if isinstance(delta, _Event):
                if self._full or isinstance(delta, TASK_DETAIL):
                    self.log.append(delta)
            case _:
                raise TypeError(f"operation.emit takes a stream event or an agent event, not {type(delta).__name__}")

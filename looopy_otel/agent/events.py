"""What a run tells its consumers: frozen pydantic models, told apart by ``.kind`` or by class."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from looopy_otel.agent.artifacts import Artifact
from looopy_otel.agent.plain import Facts, Text, Value
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import ToolCall
from looopy_otel.core.usage import Usage

TaskState = Literal["submitted", "working", "completed", "failed", "canceled"]
"""Where a task stands, in A2A's spelling."""

Detail = Literal["task", "full"]
"""``task``: the task, its status and its artifacts. ``full``: deltas, tools and usage besides."""


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


def _well_formed_calls(calls: tuple[ToolCall, ...]) -> tuple[ToolCall, ...]:
    return tuple(ToolCall(*map(valid_text, (call.id, call.name, call.arguments))) for call in calls)


class _Event(BaseModel):
    """What every event has.

    Attributes:
        task_id: The run.
        context_id: The session where one is open, else the task id.
        timestamp: When it happened, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task_id: Text
    context_id: Text
    timestamp: datetime = Field(default_factory=now)


class TaskStatus(BaseModel):
    """The status of a task.

    Attributes:
        state: Where the task stands.
        message: The answer of a completed task, the reason of a failed one, else None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: TaskState
    message: Text | None = None


class TaskEvent(_Event):
    """The first event of every run.

    Attributes:
        id: The task id.
        status: ``submitted``.
        parent_task_id: The run that this one is a part of, or None.
        metadata: Facts about this run, as given by the user.
    """

    kind: Literal["task"] = "task"
    id: Text
    status: TaskStatus = TaskStatus(state="submitted")
    parent_task_id: Text | None = None
    metadata: Facts = Field(default_factory=dict)


class StatusUpdateEvent(_Event):
    """The task's status changed: ``working``, then ``completed``, ``failed`` or ``canceled``.

    Attributes:
        status: The new status.
        final: True on the last event of a run.
        metadata: On a failed task ``reason`` (``max_iterations``, ``budget_exceeded`` or the error's text) and, for an
            error, ``error_type``; on every ended task the number of ``iterations``.
    """

    kind: Literal["status-update"] = "status-update"
    status: TaskStatus
    final: bool = False
    metadata: Facts = Field(default_factory=dict)

    @property
    def message(self) -> str | None:
        """The status's message."""
        return self.status.message


class ArtifactUpdateEvent(_Event):
    """A tool wrote an artifact.

    Attributes:
        artifact: The artifact; its content is what was written now, the whole or the piece appended.
        append: True when the content continues what was written before.
        last_chunk: True when nothing more follows.
    """

    kind: Literal["artifact-update"] = "artifact-update"
    artifact: Artifact
    append: bool = False
    last_chunk: bool = True


class ContentDeltaEvent(_Event):
    """A piece of the answer's text."""

    kind: Literal["content-delta"] = "content-delta"
    text: Text


class ThoughtStreamEvent(_Event):
    """A piece of the model's reasoning text."""

    kind: Literal["thought-stream"] = "thought-stream"
    text: Text


class ToolStartEvent(_Event):
    """A tool starts.

    Attributes:
        tool_call_id: The model's id for the call.
        tool_name: The tool.
        arguments: The decoded arguments; the raw text where they are not a JSON object.
    """

    kind: Literal["tool-start"] = "tool-start"
    tool_call_id: Text
    tool_name: Text
    arguments: Facts | Text


class ToolCompleteEvent(_Event):
    """A tool ended.

    Attributes:
        tool_call_id: The model's id for the call.
        tool_name: The tool.
        success: False when the tool failed, was unknown, timed out or got invalid arguments.
        result: What the model sees: any value that JSON can say.
        error_type: A short name of the failure, or None.
    """

    kind: Literal["tool-complete"] = "tool-complete"
    tool_call_id: Text
    tool_name: Text
    success: bool
    result: Value = None
    error_type: Text | None = None


class LLMUsageEvent(_Event):
    """What one LLM call used.

    Attributes:
        model: The model that answered, as far as known.
        usage: Token counts as reported, or None.
        cost: USD, or None when unknown.
    """

    kind: Literal["llm-usage"] = "llm-usage"
    model: Text | None = None
    usage: Usage | None = None
    cost: Decimal | None = None


class ContentCompleteEvent(_Event):
    """The model's turn is over.

    Attributes:
        content: The text of the turn; empty where the model only calls tools.
        tool_calls: The tools that the model asks for.
        finish_reason: The provider's word, or None.
        model: The model that answered, as far as known.
    """

    kind: Literal["content-complete"] = "content-complete"
    content: Text = ""
    tool_calls: Annotated[tuple[ToolCall, ...], AfterValidator(_well_formed_calls)] = ()
    finish_reason: Text | None = None
    model: Text | None = None


AgentEvent: TypeAlias = Annotated[
    TaskEvent
    | StatusUpdateEvent
    | ArtifactUpdateEvent
    | ContentDeltaEvent
    | ThoughtStreamEvent
    | ToolStartEvent
    | ToolCompleteEvent
    | LLMUsageEvent
    | ContentCompleteEvent,
    Field(discriminator="kind"),
]
"""What a run yields. ``pydantic.TypeAdapter(AgentEvent)`` reads one back from JSON."""

TASK_DETAIL = (TaskEvent, StatusUpdateEvent, ArtifactUpdateEvent)
"""The events of the default detail."""

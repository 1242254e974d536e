"""Checkpoints of runs: what is saved after each turn, and where."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from looopy_otel.agent.errors import TaskNotFoundError
from looopy_otel.agent.events import TaskState, now


class Checkpoint(BaseModel):
    """All that a run needs to go on.

    Attributes:
        task_id: The run.
        agent_id: The agent.
        session_id: The session that was given, or None.
        user_id: The end user, or None.
        tags: Labels of the trace.
        trace_metadata: Facts of the trace.
        trace_name: The trace's name, or None.
        project: The Langfuse project by its configured name, or None.
        parent_task_id: The run that this one is a part of, or None.
        state: Where the task stands.
        messages: The conversation so far, in OpenAI's shape, system prompt and tool results included.
        iterations: Turns taken, those before a resumption included.
        output: The last text of the assistant, or None.
        metadata: Facts about this run, as given by the user.
        trace: ``trace_id-span_id`` (hex) of the run's span, or None when it was not traced.
        created_at: When the task was first saved, in UTC.
        updated_at: When this checkpoint was made, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: str
    agent_id: str
    session_id: str | None = None
    user_id: str | None = None
    tags: tuple[str, ...] = ()
    trace_metadata: dict[str, Any] = Field(default_factory=dict)
    trace_name: str | None = None
    project: str | None = None
    parent_task_id: str | None = None
    state: TaskState = "working"
    messages: list[dict[str, Any]] = Field(default_factory=list[dict[str, Any]])
    iterations: int = 0
    output: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    trace: str | None = None
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)


class StateStore(Protocol):
    """Where checkpoints are kept. A task whose time to live is over is as if it had never been."""

    async def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a checkpoint in the place of the task's last one; its time to live stays."""
        ...

    async def load(self, task_id: str) -> Checkpoint | None:
        """The task's last checkpoint, or None."""
        ...

    async def exists(self, task_id: str) -> bool:
        """True when `load` would give one."""
        ...

    async def delete(self, task_id: str) -> None:
        """Forgets the task; one that is not there is no error."""
        ...

    async def list_tasks(self, *, agent_id: str | None = None, session_id: str | None = None) -> Sequence[str]:
        """The ids of all tasks, or of those of an agent or session, first saved first."""
        ...

    async def set_ttl(self, task_id: str, seconds: float | None) -> None:
        """Has the task forgotten that many seconds from now; None keeps it for good.

        Raises:
            TaskNotFoundError: If there is no such task.
        """
        ...


class InMemoryStateStore:
    """Keeps checkpoints for as long as the process lives.

    Args:
        clock: Gives the time in seconds; another one is for tests.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._checkpoints: dict[str, Checkpoint] = {}
        self._expiries: dict[str, float] = {}

    async def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a checkpoint in the place of the task's last one; its time to live stays."""
        self._expire()
        self._checkpoints[checkpoint.task_id] = checkpoint

    async def load(self, task_id: str) -> Checkpoint | None:
        """The task's last checkpoint, or None."""
        self._expire()
        return self._checkpoints.get(task_id)

    async def exists(self, task_id: str) -> bool:
        """True when `load` would give one."""
        return await self.load(task_id) is not None

    async def delete(self, task_id: str) -> None:
        """Forgets the task; one that is not there is no error."""
        self._checkpoints.pop(task_id, None)
        self._expiries.pop(task_id, None)

    async def list_tasks(self, *, agent_id: str | None = None, session_id: str | None = None) -> Sequence[str]:
        """The ids of all tasks, or of those of an agent or session, first saved first."""
        self._expire()
        return [
            checkpoint.task_id
            for checkpoint in self._checkpoints.values()
            if agent_id in (None, checkpoint.agent_id) and session_id in (None, checkpoint.session_id)
        ]

    async def set_ttl(self, task_id: str, seconds: float | None) -> None:
        """Has the task forgotten that many seconds from now; None keeps it for good.

        Raises:
            TaskNotFoundError: If there is no such task.
        """
        self._expire()
        if task_id not in self._checkpoints:
            raise TaskNotFoundError(f"there is no task {task_id!r}")
        if seconds is None:
            self._expiries.pop(task_id, None)
        else:
            self._expiries[task_id] = self._clock() + seconds

    def _expire(self) -> None:
        moment = self._clock()
        for task_id in [task_id for task_id, expiry in self._expiries.items() if expiry <= moment]:
            del self._expiries[task_id]
            self._checkpoints.pop(task_id, None)

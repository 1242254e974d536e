"""What a tool may know of the run that calls it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from looopy_otel.agent.artifacts import Artifact, ArtifactStore
from looopy_otel.core.background import is_blocked, waiting
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.text import valid_text

T = TypeVar("T")

ToolLogger: TypeAlias = "logging.LoggerAdapter[logging.Logger]"

Announce: TypeAlias = Callable[[Artifact, bool, bool], None]
"""Takes what was written, whether it continues what was there, and whether it is the last piece."""


class ToolArtifacts:
    """The run's artifacts: what a tool writes here is kept in the agent's store and told to the run's consumers.

    `create` and `append` are for async tools; `create_sync` and `append_sync` for functions, which run in a thread.
    """

    def __init__(self, store: ArtifactStore | None, task_id: str, announce: Announce) -> None:
        self._store = store
        self._task_id = task_id
        self._announce = announce
        self._loop = asyncio.get_running_loop()

    async def create(
        self,
        name: str,
        content: str = "",
        *,
        mime_type: str = "text/plain",
        metadata: Mapping[str, Any] | None = None,
        last_chunk: bool = True,
    ) -> Artifact:
        """Writes a new artifact.

        Args:
            name: What to call it, such as ``report.md``.
            content: The text, or its first piece.
            mime_type: Such as ``text/markdown``.
            metadata: Further facts.
            last_chunk: False when `append` will follow.

        Returns:
            The artifact with its id.

        Raises:
            ConfigurationError: If the agent has no artifact store.
        """
        artifact = await self._kept().create(self._task_id, name, content, mime_type=mime_type, metadata=metadata)
        self._announce(artifact, False, last_chunk)
        return artifact

    async def append(self, artifact_id: str, content: str, *, last_chunk: bool = False) -> Artifact:
        """Adds text at an artifact's end; gives the whole artifact.

        Raises:
            ConfigurationError: If the agent has no artifact store.
            LookupError: If there is no such artifact.
        """
        artifact = await self._kept().append(artifact_id, content)
        self._announce(artifact.model_copy(update={"content": valid_text(content)}), True, last_chunk)
        return artifact

    async def get(self, artifact_id: str) -> Artifact | None:
        """The artifact, or None."""
        return await self._kept().get(artifact_id)

    async def list(self) -> Sequence[Artifact]:
        """The artifacts of this run, oldest first."""
        return await self._kept().list(self._task_id)

    def create_sync(
        self,
        name: str,
        content: str = "",
        *,
        mime_type: str = "text/plain",
        metadata: Mapping[str, Any] | None = None,
        last_chunk: bool = True,
    ) -> Artifact:
        """The same as `create`, from a thread.

        Raises:
            RuntimeError: If called on the event loop's own thread, or while that waits for this code.
        """
        return self._from_thread(
            "create",
            lambda: self.create(name, content, mime_type=mime_type, metadata=metadata, last_chunk=last_chunk),
        )

    def append_sync(self, artifact_id: str, content: str, *, last_chunk: bool = False) -> Artifact:
        """The same as `append`, from a thread.

        Raises:
            RuntimeError: If called on the event loop's own thread, or while that waits for this code.
        """
        return self._from_thread("append", lambda: self.append(artifact_id, content, last_chunk=last_chunk))

    def _from_thread(self, name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if asyncio._get_running_loop() is self._loop:
            raise RuntimeError(f"{name}_sync() would block the event loop of its own run; use 'await {name}(…)' there")
        if is_blocked(self._loop):
            raise RuntimeError(
                f"{name}_sync() needs the event loop of its run, which a sync form such as run() blocks; "
                "use 'await agent.arun(…)' in async tools"
            )
        with waiting():
            return asyncio.run_coroutine_threadsafe(work(), self._loop).result()

    def _kept(self) -> ArtifactStore:
        if self._store is None:
            raise ConfigurationError(
                "this agent keeps no artifacts; build it with AgentLoop(artifact_store=InMemoryArtifactStore(), …)"
            )
        return self._store


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The run as one tool call sees it. A function gets it for a parameter annotated ``ToolContext``.

    Attributes:
        task_id: The run.
        agent_id: The agent that runs.
        session_id: The session where one is open, else None.
        user_id: The end user, or None.
        call_id: The model's id for this tool call.
        artifacts: Where to write documents.
        logger: Logs under ``looopy_otel.agent.tools`` with ``task_id``, ``agent_id`` and ``tool`` as extras.
        deadline: When the tool must have ended, on the clock of `time.monotonic`; None when there is no timeout.
    """

    task_id: str
    agent_id: str
    session_id: str | None
    user_id: str | None
    call_id: str
    artifacts: ToolArtifacts = field(repr=False)
    logger: ToolLogger = field(repr=False)
    deadline: float | None = None

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None when there is none."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

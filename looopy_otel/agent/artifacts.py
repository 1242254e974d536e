"""What tools produce besides their result: documents that are kept and can be asked for."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from looopy_otel.agent.plain import Facts, Text
from looopy_otel.core.text import valid_text


class Artifact(BaseModel):
    """A document that a tool wrote.

    Attributes:
        artifact_id: Its id.
        task_id: The run that it belongs to.
        name: What to call it, such as ``report.md``.
        content: The text.
        mime_type: Such as ``text/markdown``.
        metadata: Further facts.
        created_at: When it was created, in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact_id: Text
    task_id: Text
    name: Text
    content: Text = ""
    mime_type: Text = "text/plain"
    metadata: Facts = Field(default_factory=dict)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class ArtifactStore(Protocol):
    """Where artifacts are kept."""

    async def create(
        self,
        task_id: str,
        name: str,
        content: str = "",
        *,
        mime_type: str = "text/plain",
        metadata: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Keeps a new artifact and gives it an id."""
        ...

    async def append(self, artifact_id: str, content: str) -> Artifact:
        """Adds text at an artifact's end; gives the whole artifact.

        Raises:
            LookupError: If there is no such artifact.
        """
        ...

    async def get(self, artifact_id: str) -> Artifact | None:
        """The artifact, or None."""
        ...

    async def list(self, task_id: str | None = None) -> Sequence[Artifact]:
        """The artifacts of a task, or all, oldest first."""
        ...


class InMemoryArtifactStore:
    """Keeps artifacts for as long as the process lives."""

    def __init__(self) -> None:
        self._artifacts: dict[str, Artifact] = {}

    async def create(
        self,
        task_id: str,
        name: str,
        content: str = "",
        *,
        mime_type: str = "text/plain",
        metadata: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Keeps a new artifact and gives it an id."""
        artifact = Artifact(
            artifact_id=f"artifact_{secrets.token_hex(6)}",
            task_id=task_id,
            name=name,
            content=content,
            mime_type=mime_type,
            metadata=dict(metadata or {}),
        )
        self._artifacts[artifact.artifact_id] = artifact
        return artifact

    async def append(self, artifact_id: str, content: str) -> Artifact:
        """Adds text at an artifact's end; gives the whole artifact.

        Raises:
            LookupError: If there is no such artifact.
        """
        artifact = self._artifacts.get(artifact_id)
        if artifact is None:
            raise LookupError(f"there is no artifact {artifact_id!r}")
        longer = artifact.model_copy(update={"content": valid_text(artifact.content + content)})
        self._artifacts[artifact_id] = longer
        return longer

    async def get(self, artifact_id: str) -> Artifact | None:
        """The artifact, or None."""
        return self._artifacts.get(artifact_id)

    async def list(self, task_id: str | None = None) -> Sequence[Artifact]:
        """The artifacts of a task, or all, oldest first."""
        return [artifact for artifact in self._artifacts.values() if task_id in (None, artifact.task_id)]

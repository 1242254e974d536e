"""Which span goes to which destination: Langfuse projects by the name that a span's identity says."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Literal

from looopy_otel.core.endpoint import is_langfuse
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.settings import Destination, HTTPDestination
from looopy_otel.core.text import valid_text

logger = logging.getLogger("looopy_otel")

Refusal = Literal["unknown-project", "no-project"]
Projects = Collection[str | None]
"""Names of projects; None among them stands for spans that name none."""

SECONDS_BETWEEN_WARNINGS: Final = 60.0
_SHOWN_CHARACTERS: Final = 100
_SHOWN_PROJECTS: Final = 20


class Router:
    """Tells who takes what. A Langfuse, by whatever name it was configured, takes its projects; all others everything.

    A span whose project nobody knows goes to no Langfuse at all: with another tenant it would be worse than lost.

    Args:
        destinations: In the order that positions refer to.
        redact: Gives a text past the gate; a name that is no project's may be anything.
    """

    def __init__(self, destinations: Sequence[Destination] = (), redact: Callable[[str], str] = str) -> None:
        self._taken: list[Projects | None] = [_projects_of(destination) for destination in destinations]
        self._redact = redact
        restricted = [projects for projects in self._taken if projects is not None]
        self._restricts = bool(restricted)
        self._known = frozenset(name for projects in restricted for name in projects)
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._warned_at: dict[Refusal, float] = {}

    def projects_at(self, position: int) -> Projects | None:
        """The projects that the destination there takes; None where it takes every span."""
        return self._taken[position] if position < len(self._taken) else None

    def refused(self, project: str | None) -> Refusal | None:
        """Why no Langfuse takes spans of this project; None where one does, or where there is none. Warns, at times."""
        if not self._restricts or project in self._known:
            return None
        reason: Refusal = "no-project" if project is None else "unknown-project"
        if self._is_due(reason):
            self._warn(project)
        return reason

    def _is_due(self, reason: Refusal) -> bool:
        now = time.monotonic()
        with self._lock:
            due = now - self._warned_at.get(reason, -SECONDS_BETWEEN_WARNINGS) >= SECONDS_BETWEEN_WARNINGS
            if due:
                self._warned_at[reason] = now
        return due

    def _warn(self, project: str | None) -> None:
        known = ", ".join(self._shown_projects()) or "none"
        if project is None:
            logger.warning(
                "looopy-otel: spans that name no project go to no Langfuse, since no default project is configured; "
                "they are counted as dropped (no-project). Set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY for those, "
                "or name one with session(project=…): %s",
                known,
            )
            return
        logger.warning(
            "looopy-otel: the project %r of session(project=…) is not configured: its spans go to no Langfuse and are "
            "counted as dropped (unknown-project). Known projects: %s",
            valid_text(self._redact(project[:_SHOWN_CHARACTERS])),
            known,
        )

    def _shown_projects(self) -> Iterator[str]:
        names = sorted(name for name in self._known if name is not None)
        yield from map(repr, names[:_SHOWN_PROJECTS])
        if len(names) > _SHOWN_PROJECTS:
            yield f"and {len(names) - _SHOWN_PROJECTS} more"


def _projects_of(destination: Destination) -> Projects | None:
    if isinstance(destination, HTTPDestination) and _is_langfuse(destination):
        return destination.projects
    return None


def _is_langfuse(destination: HTTPDestination) -> bool:
    return destination.name == "langfuse" or is_langfuse(destination.endpoint)

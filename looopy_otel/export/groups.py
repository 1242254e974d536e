"""What goes out at once, sorted by what destinations want: by dialects, and by project."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from looopy_otel.core.settings import Dialect
from looopy_otel.export.destination import DestinationExporter, Outgoing
from looopy_otel.export.route import Projects

SLICE_SECONDS: Final = 0.0005
"""How long the worker keeps the interpreter lock at a stretch, as far as single spans allow."""


class Group:
    """The destinations that want the same dialects, and which projects each takes; None for every span."""

    def __init__(self) -> None:
        self.members: list[tuple[DestinationExporter, Projects | None]] = []
        self._projects: set[str | None] | None = set()

    def add(self, destination: DestinationExporter, projects: Projects | None) -> None:
        """Adds a destination, which takes these projects; None for every span."""
        self.members.append((destination, projects))
        self._projects = None if projects is None or self._projects is None else self._projects | set(projects)

    def takes(self, project: str | None) -> bool:
        """True when one of them takes spans of this project."""
        return self._projects is None or project in self._projects


class Batches:
    """What goes out at once: by dialects, and by project."""

    def __init__(self) -> None:
        self._all: dict[tuple[Dialect, ...], list[Outgoing]] = {}
        self._by_project: dict[tuple[Dialect, ...], dict[str | None, list[Outgoing]]] = {}

    def add(self, dialects: tuple[Dialect, ...], outgoing: Outgoing) -> None:
        """Adds a span that is rendered in these dialects."""
        self._all.setdefault(dialects, []).append(outgoing)
        self._by_project.setdefault(dialects, {}).setdefault(outgoing.project, []).append(outgoing)

    def of(self, dialects: tuple[Dialect, ...], projects: Projects | None) -> Sequence[Outgoing]:
        """The spans in these dialects for a destination that takes these projects; None for every span."""
        if projects is None:
            return self._all.get(dialects, ())
        parts = self._by_project.get(dialects, {})
        return [outgoing for project in projects for outgoing in parts.get(project, ())]


class Slices:
    """Gives the interpreter lock away from time to time: without it a waiting thread gets its turn after 5 ms only."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + SLICE_SECONDS

    def step(self) -> None:
        """Called between spans."""
        if time.perf_counter() >= self._until:
            time.sleep(0)
            self._until = time.perf_counter() + SLICE_SECONDS

"""What the worker hands on, and the seam behind which every destination stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.sdk.trace import ReadableSpan

from looopy_otel.core.draft import Draft
from looopy_otel.core.settings import Dialect
from looopy_otel.core.types import DestinationStats


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One span on its way to a destination, past the gate.

    Attributes:
        span: Redacted; its attributes are those that others set, overlaid by the draft in the destination's dialects.
        draft: Redacted and priced; None for spans that are not of this library's own kinds.
        project: The Langfuse project that it belongs to, by name; None where none was named.
    """

    span: ReadableSpan
    draft: Draft | None = None
    project: str | None = None


class DestinationExporter(Protocol):
    """One place that spans go to.

    `accept` is called on the worker's thread, one call at a time; the others come from any thread.
    Deadlines are values of `time.monotonic`.
    """

    @property
    def name(self) -> str:
        """``langfuse``, ``langfuse:tenant-a``, ``otlp``, ``local``, ``console`` or an exporter's class name."""
        ...

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """What the spans shall carry; empty for a destination that reads the draft itself."""
        ...

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Takes a batch: from here on the destination answers for it. Does no network I/O."""
        ...

    def flush(self, deadline: float) -> bool:
        """Delivers what was accepted; with a deadline that has passed it only hurries and returns at once.

        Returns:
            True when nothing is left to deliver.
        """
        ...

    def close(self, deadline: float) -> None:
        """Delivers what it can until `deadline`, then lets go of threads, connections and files."""
        ...

    def stats(self) -> DestinationStats:
        """The destination's health since it was built."""
        ...

"""What is known of spans under way beside their attributes, which come late, are changed by others, and are evicted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

from looopy_otel.core.identity import Identity


@dataclass(slots=True, weakref_slot=True, eq=False)
class KnownSpan:
    """What is known of one span since it started.

    Attributes:
        identity: Whose it is.
        root: True where Langfuse is to show it as a root.
        local_root: The span id of the topmost span of ours in this process above it, or its own; None for a span that
            is not ours with none above.
        nearest: The span id of the nearest span that goes to our destinations, itself or above; None where there is
            none.
        parent: The span id of the nearest one above, where that is not its parent; else None.
        pid: Of the process that it started in.
    """

    identity: Identity
    root: bool
    local_root: int | None
    nearest: int | None
    parent: int | None
    pid: int = field(default_factory=os.getpid)


class KnownSpans:
    """The spans of this process, by span id; for any thread.

    What is known of a span lives as long as the span itself: nothing has to be forgotten, and nothing is too early.
    """

    def __init__(self) -> None:
        self._by_id: WeakValueDictionary[int, KnownSpan] = WeakValueDictionary()
        self._key = f"_looopy_otel_{id(self)}"

    def add(self, span: object, span_id: int, known: KnownSpan) -> None:
        """Remembers what is known of a span that starts, or goes on after its end as another object."""
        vars(span)[self._key] = known
        self._by_id[span_id] = known

    def get(self, span_id: int) -> KnownSpan | None:
        """What is known of a span; None for one that is gone, or was never there."""
        return self._by_id.get(span_id)

    def is_under_way(self, span_id: int) -> bool:
        """True for a span of this process that has not gone yet: it has not ended, or nobody has seen its end."""
        known = self._by_id.get(span_id)
        return known is not None and known.pid == os.getpid()

"""Where a span stands that was made on a provider of somebody else, as far as our destinations need to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from looopy_otel.core.settings import Dialect
from looopy_otel.export.destination import Outgoing

_KEY: Final = "placing"
_COMPLETES: Final[Dialect] = "langfuse"


@dataclass(frozen=True, slots=True)
class Placing:
    """What is known of one span when it ends.

    Attributes:
        belongs: False for one that does not go to our destinations: an application's own.
        elsewhere: `id` of each destination exporter that does not get it, since an exporter of the span's provider
            sends it to the same place, or since it is another project's.
        parent: The nearest span above it that belongs, where that is not its parent; None where it is, or there is
            none.
    """

    belongs: bool = True
    elsewhere: frozenset[int] = frozenset()
    parent: SpanContext | None = None


NO_PLACING: Final = Placing()
"""That of every span of our own provider."""


def placing_of(span: ReadableSpan) -> Placing:
    """The placing of a span; it stays with copies that share everything else."""
    return vars(span).get(_KEY, NO_PLACING)


def with_placing(span: ReadableSpan, placing: Placing) -> ReadableSpan:
    """A span with this placing: itself where there is nothing to say, else a copy that shares all else."""
    if placing is NO_PLACING:
        return span
    placed = ReadableSpan.__new__(ReadableSpan)
    vars(placed).update(vars(span))
    vars(placed)[_KEY] = placing
    return placed


def under_nearest(span: ReadableSpan, placing: Placing, dialects: Sequence[Dialect]) -> ReadableSpan:
    """The span as it stands in a tree without those that do not belong, for destinations that show that tree.

    Langfuse and the local store get nothing of the application's own spans, so that one of ours below them would stand
    beside the tree it is in. A collector may get them from the application's own exporter, and keeps the true parent.

    Args:
        span: Past the gate.
        placing: As it was when the span ended.
        dialects: What its destinations speak; none for the local store.
    """
    if placing is NO_PLACING or placing.parent is None or (dialects and _COMPLETES not in dialects):
        return with_placing(span, placing)
    placed = with_placing(span, placing)
    vars(placed)["_parent"] = placing.parent
    return placed


def not_elsewhere(batch: Sequence[Outgoing], destination: object) -> Sequence[Outgoing]:
    """What of a batch its destination is to get."""
    if all(placing_of(outgoing.span) is NO_PLACING for outgoing in batch):
        return batch
    return [outgoing for outgoing in batch if id(destination) not in placing_of(outgoing.span).elsewhere]

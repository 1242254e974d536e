"""Writing back what a middleware changed in a list, while what it left alone goes out as it came in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """What became of some neighbouring entries of a request.

    Attributes:
        originals: The entries, as they stood in the request.
        canonical: What was read of them.
    """

    originals: tuple[Any, ...]
    canonical: tuple[Any, ...]


def rewritten(
    readings: Sequence[Reading], wanted: Sequence[Any], write: Callable[[Sequence[Any]], list[Any]]
) -> list[Any]:
    """Makes the request's list anew.

    Args:
        readings: The request's entries and what was read of them, in order.
        wanted: The canonical list to write.
        write: Writes canonical entries that are new or changed.

    Returns:
        The originals of all entries that are still there in their order, and the others as `write` gives them.
        Originals of which nothing was read stay: who wants the new list never saw them.
    """
    result: list[Any] = []
    changed: list[Any] = []
    ahead, at = list(readings), 0
    while at < len(wanted):
        found = _found(ahead, wanted, at)
        if found is None:
            changed.append(wanted[at])
            at += 1
            continue
        result += write(changed) if changed else []
        result += _unread(ahead[:found])
        result += ahead[found].originals
        at += len(ahead[found].canonical)
        changed, ahead = [], ahead[found + 1 :]
    return [*result, *(write(changed) if changed else []), *_unread(ahead)]


def _unread(readings: Sequence[Reading]) -> list[Any]:
    return [original for reading in readings if not reading.canonical for original in reading.originals]


def _found(ahead: Sequence[Reading], wanted: Sequence[Any], at: int) -> int | None:
    for place, reading in enumerate(ahead):
        if reading.canonical and tuple(wanted[at : at + len(reading.canonical)]) == reading.canonical:
            return place
    return None

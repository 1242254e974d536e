"""What `looopy-otel spool status` does: one paragraph per destination."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from looopy_otel.cli.amounts import moment_iso, moment_text
from looopy_otel.cli.checks.waiting import refusal
from looopy_otel.cli.terminal import fail, printable, say
from looopy_otel.cli.traces import print_json
from looopy_otel.core.config import resolve
from looopy_otel.core.settings import HTTPDestination, Options, Settings
from looopy_otel.export.otlp import destination_key
from looopy_otel.export.spool import Heap, Spool, spools
from looopy_otel.export.verdict import public_url

_UNITS = ((1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


@dataclass(frozen=True, slots=True)
class Place:
    """One spool with the destination that it is for; None where none of that kind is configured here."""

    spool: Spool
    destination: HTTPDestination | None = None

    @property
    def title(self) -> str:
        """Destination, URL and key, as far as known."""
        if self.destination is None:
            return f"{self.spool.key}  (not configured here)"
        return f"{self.destination.label}  {public_url(self.destination.endpoint)}  ({self.spool.key})"


def backends(settings: Settings) -> dict[str, HTTPDestination]:
    """The configured destinations that have a spool, by its key."""
    found = [one for one in settings.destinations if isinstance(one, HTTPDestination)]
    return {destination_key(one): one for one in found}


def places(settings: Settings) -> list[Place]:
    """Every spool that is there, and an empty one for each configured destination that has none.

    Raises:
        SystemExit: With code 1 if the directory cannot be read.
    """
    configured = backends(settings)
    try:
        there = {spool.key: spool for spool in spools(settings.spool_directory)}
    except OSError as error:
        fail(f"{settings.spool_directory} cannot be read: {error.strerror or error}")
    keys = dict.fromkeys([*configured, *there])
    return [Place(there.get(key, Spool(key)), configured.get(key)) for key in keys]


def report(to: str | None, *, as_json: bool) -> None:
    """Prints what waits where.

    Args:
        to: Names of destinations; None for the configured ones.
        as_json: True for programs.
    """
    settings = resolve(Options(exporters=to))
    found, refused = places(settings), refusal(settings)
    if as_json:
        spools_found = [_document(place) for place in found]
        print_json({"directory": str(settings.spool_directory), "problem": refused, "spools": spools_found})
        return
    say(Text.assemble("Spool  ", (str(settings.spool_directory), "dim")))
    if refused is not None:
        say(Text.assemble(("Not used: ", "bold red"), "new spans wait in memory only, since ", printable(refused)))
    if not found:
        say("Nothing waits.")
    for place in found:
        say()
        say(Text(printable(place.title), style="bold"))
        for line in _lines(place.spool):
            say(f"  {line}")


def _lines(spool: Spool) -> Iterator[str]:
    waiting = spool.waiting
    if not waiting.batches:
        yield "nothing waits"
    else:
        yield f"waiting    {heap_text(waiting)}"
        if spool.held.batches:
            processes = "1 running process" if spool.owners == 1 else f"{spool.owners} running processes"
            yield f"  {spool.held.spans:,} spans in the hands of {processes}"
        if spool.left.batches:
            yield f"  {spool.left.spans:,} spans left by processes that ended: looopy-otel spool flush"
    if spool.rejected.batches:
        yield f"set aside  {heap_text(spool.rejected)}: looopy-otel spool flush --rejected"
    if spool.damaged.batches:
        yield f"damaged    {heap_text(spool.damaged)}: never sent, kept in {spool.key}/rejected"
    if spool.problem:
        yield f"not all of it can be read: {spool.problem}"


def heap_text(heap: Heap) -> str:
    """How much it is, and since when."""
    since = "" if heap.oldest is None else f", oldest {moment_text(int(heap.oldest * 1e9))} ({_ago(heap.oldest)})"
    batches = "1 batch" if heap.batches == 1 else f"{heap.batches:,} batches"
    return f"{batches}, {heap.spans:,} spans, {_size(heap.size)}{since}"


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for length, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _size(size: int) -> str:
    for factor, unit in _UNITS:
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _document(place: Place) -> Mapping[str, Any]:
    spool, destination = place.spool, place.destination
    return {
        "key": spool.key,
        "destination": destination.label if destination else None,
        "endpoint": public_url(destination.endpoint) if destination else None,
        "held": _heap_document(spool.held),
        "left": _heap_document(spool.left),
        "rejected": _heap_document(spool.rejected),
        "damaged": _heap_document(spool.damaged),
        "owners": spool.owners,
        "problem": spool.problem,
    }


def _heap_document(heap: Heap) -> Mapping[str, Any]:
    oldest = None if heap.oldest is None else moment_iso(int(heap.oldest * 1e9))
    return {"batches": heap.batches, "spans": heap.spans, "bytes": heap.size, "oldest": oldest}


def left_over(found: Sequence[Place], *, rejected: bool) -> dict[str, int]:
    """Spans that no running process answers for, by spool; those that were set aside among them if asked for."""
    counts = {place.spool.key: place.spool.left.spans for place in found}
    if rejected:
        for place in found:
            counts[place.spool.key] += place.spool.rejected.spans
    return {key: count for key, count in counts.items() if count}

"""What lies in a directory of spools, seen and delivered from outside of the processes that filled it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from looopy_otel.core.settings import ExportLimits, HTTPDestination
from looopy_otel.core.types import DestinationStats, FlushResult
from looopy_otel.export.batch import SUFFIX, listed
from looopy_otel.export.deadline import remaining
from looopy_otel.export.holdings import REJECTED, USAGE, owned_directories
from looopy_otel.export.otlp import destination_key
from looopy_otel.export.outbox import Outbox
from looopy_otel.export.owner import Owner
from looopy_otel.export.sender import Sender
from looopy_otel.export.tally import Tally

_MOST_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Heap:
    """Batches that lie together.

    Attributes:
        batches: Files.
        spans: As the files' names say.
        size: Bytes on disk.
        oldest: Unix time in seconds of the oldest file; None where there is none.
    """

    batches: int = 0
    spans: int = 0
    size: int = 0
    oldest: float | None = None

    def __add__(self, other: Heap) -> Heap:
        times = [time for time in (self.oldest, other.oldest) if time is not None]
        return Heap(
            self.batches + other.batches,
            self.spans + other.spans,
            self.size + other.size,
            min(times, default=None),
        )


@dataclass(frozen=True, slots=True)
class Spool:
    """What waits for one destination.

    Attributes:
        key: The destination's directory, named by `destination_key`.
        held: What processes that run answer for.
        left: What ended processes left behind; `flush_spool` delivers it.
        rejected: What the destination did not take, counted as dropped then.
        damaged: Files that were set aside since they cannot be read, or are no batches; never sent again.
        owners: Processes that run and hold something.
        problem: Why not all of it could be looked at, or None.
    """

    key: str
    held: Heap = Heap()
    left: Heap = Heap()
    rejected: Heap = Heap()
    damaged: Heap = Heap()
    owners: int = 0
    problem: str | None = None

    @property
    def waiting(self) -> Heap:
        """Held and left together."""
        return self.held + self.left


@dataclass(frozen=True, slots=True)
class SpoolFlush:
    """What became of a spool.

    Attributes:
        result: Spans that were exported and dropped, and those that are still there.
        stats: The destination's health, with the last error.
    """

    result: FlushResult
    stats: DestinationStats


def spools(directory: Path) -> list[Spool]:
    """Looks at every spool below a directory, in the order of their keys; changes nothing.

    Args:
        directory: `Settings.spool_directory`; one that does not exist holds none.

    Raises:
        OSError: If it exists and cannot be read.
    """
    if not directory.exists():
        return []
    return [_spool(entry) for entry in sorted(directory.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def flush_spool(
    destination: HTTPDestination,
    directory: Path,
    deadline: float,
    *,
    key: str | None = None,
    rejected: bool = False,
    limits: ExportLimits | None = None,
) -> SpoolFlush:
    """Delivers what no process that runs answers for, oldest first; what is left at the deadline stays on disk.

    Args:
        destination: Where to.
        directory: `Settings.spool_directory`.
        deadline: A value of `time.monotonic`.
        key: Whose spool; by default the destination's own. Another is for spans that were spooled for the same place
            under settings that were wrong: what it holds goes to `destination` from here on.
        rejected: True to try what was set aside once more, after all else.
        limits: What the spool may take of the disk.
    """
    limits = limits or ExportLimits()
    tally = Tally(destination.label)
    outbox = Outbox(
        directory / (key or destination_key(destination)),
        tally.dropped,
        disk_capacity=limits.spool,
        shed=tally.content_shed,
        failed=tally.failed,
    )
    sender = Sender(destination, outbox, tally)
    try:
        outbox.adopt()
        if rejected:
            _take_rejected(outbox, tally)
        while not sender.flush(deadline) and remaining(deadline) > 0:
            continue
    finally:
        sender.close(deadline)
        outbox.close()
    stats = tally.stats(
        queued=outbox.queued, spooled=outbox.spooled, state=sender.circuit.state, state_since=sender.circuit.since
    )
    dropped = sum(stats.dropped.values())
    shed = sum(stats.content_shed.values())
    return SpoolFlush(FlushResult(stats.exported, stats.spooled, dropped, stats.queued, shed), stats)


def _take_rejected(outbox: Outbox, tally: Tally) -> None:
    try:
        outbox.adopt_rejected()
    except OSError as error:
        tally.failed(f"what was set aside cannot be taken up: {error}")


def _spool(root: Path) -> Spool:
    spool = Spool(root.name)
    try:
        owners: set[Owner] = set()
        for directory in owned_directories(root):
            heap = _heap(directory)
            owner = Owner.of(directory)
            if owner is not None and owner.answers_for(directory):
                owners.add(owner)
                spool = replace(spool, held=spool.held + heap)
            else:
                spool = replace(spool, left=spool.left + heap)
        rejected, damaged = _set_aside(root / REJECTED)
        return replace(spool, owners=len(owners), rejected=rejected, damaged=damaged)
    except OSError as error:
        return replace(spool, problem=str(error))


def _heap(directory: Path) -> Heap:
    heap = Heap()
    try:
        batches = listed(directory, known=(USAGE,)).batches
    except FileNotFoundError:
        return heap  # taken over by a process, which has it now
    for batch in batches:
        if batch.path is not None:
            heap += _one(batch.path, batch.spans)
    return heap


def _set_aside(directory: Path) -> tuple[Heap, Heap]:
    rejected = damaged = Heap()
    for path in directory.iterdir() if directory.is_dir() else ():
        spans = path.name.partition(SUFFIX)[0].rpartition("-")[2]
        one = _one(path, int(spans) if spans.isdecimal() and len(spans) < _MOST_DIGITS else 0)
        if path.suffix == SUFFIX:
            rejected += one
        else:
            damaged += one
    return rejected, damaged


def _one(path: Path, spans: int) -> Heap:
    try:
        status = path.stat()
    except FileNotFoundError:
        return Heap()  # sent meanwhile
    return Heap(1, spans, status.st_size, status.st_mtime)

"""One request's worth of spans, and the file that it waits in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from looopy_otel.core.files import is_lasting
from looopy_otel.export.encoded import MOST_BYTES

SUFFIX: Final = ".otlp"
TEMPORARY_SUFFIX: Final = ".tmp"
_NAME = re.compile(r"(\d{1,20})((?:\.[12]){0,30})-(\d{1,9})\.otlp")


@dataclass(slots=True, eq=False)
class Batch:
    """One request's worth of spans.

    Attributes:
        sequence: Its place in the order of its owner.
        spans: How many spans it holds.
        size: Bytes of its body.
        path: The file, or None for a batch in memory.
        body: The body of a batch in memory, else None.
        part: Which part of a divided batch it is, such as ``.1.2`` for the second half of the first; empty for a whole.
        unchecked: True for a file that another process has written.
        bare: True when its content has been taken out, or there was none.
        shed: Under which reason, and of how many spans, this process has taken the content out; None when it has not.
        gone: True when it is in no outbox any more.
    """

    sequence: int
    spans: int
    size: int
    path: Path | None = None
    body: bytes | None = field(default=None, repr=False)
    part: str = ""
    unchecked: bool = False
    bare: bool = False
    shed: tuple[str, int] | None = None
    gone: bool = False

    @property
    def name(self) -> str:
        """The name of its file: names of one directory, as they sort, are in order."""
        return f"{self.sequence:010d}{self.part}-{self.spans}{SUFFIX}"

    @property
    def whole(self) -> tuple[Path | None, int]:
        """What it is a part of; the same for all parts of one batch."""
        return self.path.parent if self.path is not None else None, self.sequence


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in one directory.

    Attributes:
        batches: In order.
        leftovers: Files that a writer did not finish, and halves of a batch that is still there as a whole.
        foreign: What no outbox has written.
    """

    batches: list[Batch]
    leftovers: list[Path]
    foreign: list[Path]


def listed(directory: Path, known: Iterable[str] = ()) -> Listing:
    """Lists a directory; what can never be looked at is foreign.

    Args:
        directory: An outbox's directory, or the one of what was set aside.
        known: Names to leave out.

    Raises:
        OSError: If the directory cannot be read, or a file of it not be looked at for now.
    """
    batches: list[Batch] = []
    listing = Listing(batches, [], [])
    with os.scandir(directory) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name in known:
                continue
            if path.suffix == TEMPORARY_SUFFIX:
                listing.leftovers.append(path)
            elif (batch := _batch(entry)) is not None:
                batches.append(batch)
            else:
                listing.foreign.append(path)
    batches.sort(key=lambda batch: (batch.sequence, batch.part))
    _without_halves(listing)
    return listing


def _batch(entry: os.DirEntry[str]) -> Batch | None:
    match = _NAME.fullmatch(entry.name)
    try:
        if match is None or not entry.is_file(follow_symlinks=False):
            return None
        size = entry.stat(follow_symlinks=False).st_size
    except OSError as error:
        if not is_lasting(error):
            raise
        return None
    if size > MOST_BYTES:
        return None
    # No span takes less than a byte: a name that says otherwise shall not spoil the counts.
    spans = min(int(match[3]), max(1, size))
    return Batch(int(match[1]), spans, size, Path(entry.path), part=match[2], unchecked=True)


def _without_halves(listing: Listing) -> None:
    """A batch is removed after its halves were written, and before they are sent."""
    present = {(batch.sequence, batch.part) for batch in listing.batches}
    for batch in list(listing.batches):
        above = (batch.part[:end] for end in range(0, len(batch.part), 2))
        if batch.path is not None and any((batch.sequence, part) in present for part in above):
            listing.batches.remove(batch)
            listing.leftovers.append(batch.path)

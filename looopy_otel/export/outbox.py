"""What one destination has accepted and not yet acknowledged: files that survive the process, else memory."""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from looopy_otel.core.files import create_private_file, make_private_directory
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.export.owner import Owner

DISK_CAPACITY = 512 * 1024 * 1024
MEMORY_CAPACITY = 64 * 1024 * 1024
REJECTED_CAPACITY = 64 * 1024 * 1024

_DIRECTORY = re.compile(r"(\d{1,10})-(\d{1,20})\.\d{1,10}")
_FILE = re.compile(r"\d{10,20}-(\d{1,9})\.otlp")
_REJECTED = "rejected"

_numbers = itertools.count(1)
_in_use: set[Path] = set()
"""Directories of this process that a live outbox writes or reads, so that no other outbox adopts them."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One request's worth of spans.

    Attributes:
        spans: How many spans it holds.
        size: Bytes of its body.
        path: The file, or None for a batch in memory.
        body: The body of a batch in memory, else None.
    """

    spans: int
    size: int
    path: Path | None = None
    body: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Load:
    """How much lies in one place."""

    capacity: int
    full: str
    spans: int = 0
    size: int = 0

    def add(self, batch: Batch, sign: int = 1) -> None:
        self.spans += sign * batch.spans
        self.size += sign * batch.size


class Outbox:
    """The batches of one destination, oldest first.

    Each batch is one file ``<directory>/<pid>-<process start>.<n>/<sequence>-<spans>.otlp``, written under another name
    and renamed, without fsync: it survives the end of the process in any way, but not a power loss. Where no file can
    be written batches stay in memory. Over its capacity the oldest batch is dropped and counted. Safe between threads
    and processes; a forked child begins empty, in a directory of its own.

    Args:
        directory: The destination's own directory, shared by all processes. Created at the first batch.
        dropped: Told of every loss: reason (``spool-full``, ``memory-full``, ``spool-unreadable``, ``shutdown``)
            and number of spans.
        disk_capacity: Bytes of all files together.
        memory_capacity: Bytes of all bodies in memory together.
        rejected_capacity: Bytes kept of batches that were set aside.
    """

    def __init__(
        self,
        directory: Path,
        dropped: Callable[[str, int], None],
        *,
        disk_capacity: int = DISK_CAPACITY,
        memory_capacity: int = MEMORY_CAPACITY,
        rejected_capacity: int = REJECTED_CAPACITY,
    ) -> None:
        self._root = directory
        self._dropped = dropped
        self._disk_capacity = disk_capacity
        self._memory_capacity = memory_capacity
        self._rejected_capacity = rejected_capacity
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._batches: deque[Batch] = deque()
        self._disk = _Load(self._disk_capacity, "spool-full")
        self._memory = _Load(self._memory_capacity, "memory-full")
        self._sending: Batch | None = None
        self._sequence = itertools.count(1)
        self._owner = Owner.current()
        self._directory: Path | None = None
        self._held: list[Path] = []
        self._left_behind = 0
        self._closed = False

    @property
    def is_empty(self) -> bool:
        """True when nothing waits, on disk or in memory."""
        with self._lock:
            return not self._batches

    @property
    def spooled(self) -> int:
        """Spans on disk, those that were there at the close included."""
        return self._disk.spans + self._left_behind

    @property
    def queued(self) -> int:
        """Spans in memory."""
        return self._memory.spans

    def append(self, body: bytes, spans: int) -> None:
        """Takes a batch over, to disk where possible; never raises for a full or missing disk."""
        path = self._write(body, spans) or self._write(body, spans)
        batch = Batch(spans, len(body), path, None if path else body)
        with self._lock:
            self._batches.append(batch)
            self._load(batch).add(batch)
            lost = self._over_capacity()
        self._lose(lost)
        if self._closed:
            self._let_go()

    def first(self) -> Batch | None:
        """The oldest batch, which is not dropped before it is acknowledged, set aside or asked for again; or None."""
        with self._lock:
            self._sending = self._batches[0] if self._batches else None
            return self._sending

    def read(self, batch: Batch) -> bytes | None:
        """The body of a batch; None when its file is gone or cannot be read, and then the batch is gone too."""
        if batch.path is None:
            return batch.body
        try:
            return batch.path.read_bytes()
        except FileNotFoundError:
            # Another process has taken the directory over, and answers for it now.
            self._remove(batch)
        except OSError:
            self._remove(batch)
            self._dropped("spool-unreadable", batch.spans)
        return None

    def acknowledge(self, batch: Batch) -> None:
        """Forgets a batch that its destination has taken."""
        self._remove(batch)
        _delete(batch)

    def set_aside(self, batch: Batch) -> None:
        """Takes a batch that will never be accepted out of the way: its file is kept, a body in memory is not."""
        self._remove(batch)
        if batch.path is None:
            return
        rejected = self._root / _REJECTED
        try:
            make_private_directory(rejected)
            batch.path.rename(rejected / f"{batch.path.parent.name}-{batch.path.name}")
        except OSError:
            _delete(batch)
        _prune(rejected, self._rejected_capacity)

    @property
    def has_orphans(self) -> bool:
        """True when there is something to adopt; costs one look at a directory."""
        return bool(self._orphans())

    def adopt(self) -> int:
        """Takes over what ended processes, and closed outboxes of this one, left behind; it comes first, oldest first.

        Returns:
            How many spans it was.
        """
        found: list[Batch] = []
        for orphan in self._orphans():
            adopted = self._new_directory()
            _in_use.add(adopted)
            try:
                orphan.rename(adopted)
            except OSError:
                # Another process was quicker.
                _in_use.discard(adopted)
                continue
            self._held.append(adopted)
            found.extend(_batches(adopted))
        with self._lock:
            self._batches.extendleft(reversed(found))
            for batch in found:
                self._disk.add(batch)
            lost = self._over_capacity()
        self._lose(lost)
        return sum(batch.spans for batch in found)

    def close(self) -> None:
        """Lets go of the directories; files stay for whoever comes next, bodies in memory are lost and counted.

        A batch that is appended later goes the same way.
        """
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            lost = [batch for batch in self._batches if batch.path is None]
            self._left_behind += self._disk.spans
            while self._batches:
                self._take_out(self._batches[0])
            held, self._held, self._directory = self._held, [], None
        for batch in lost:
            self._dropped("shutdown", batch.spans)
        for directory in held:
            _delete_empty(directory)
            _in_use.discard(directory)

    def _write(self, body: bytes, spans: int) -> Path | None:
        directory = self._writable_directory()
        if directory is None:
            return None
        path = directory / f"{next(self._sequence):010d}-{spans}.otlp"
        temporary = path.with_suffix(".tmp")
        try:
            with os.fdopen(create_private_file(temporary), "wb") as file:
                file.write(body)
            temporary.rename(path)
        except OSError:
            # The directory is gone (taken over by another process), not writable any more, or the disk is full.
            _unlink(temporary)
            if not directory.exists():
                self._directory = None
            return None
        return path

    def _writable_directory(self) -> Path | None:
        if self._directory is not None:
            return self._directory
        directory = self._new_directory()
        _in_use.add(directory)
        try:
            make_private_directory(directory)
        except OSError:
            _in_use.discard(directory)
            return None
        self._held.append(directory)
        self._directory = directory
        return directory

    def _new_directory(self) -> Path:
        return self._root / f"{self._owner.pid}-{self._owner.started}.{next(_numbers)}"

    def _orphans(self) -> list[Path]:
        try:
            candidates = [entry for entry in self._root.iterdir() if self._is_orphan(entry)]
            return sorted(candidates, key=lambda entry: entry.stat().st_mtime)
        except OSError:
            return []

    def _is_orphan(self, directory: Path) -> bool:
        match = _DIRECTORY.fullmatch(directory.name)
        if match is None or directory in _in_use:
            return False
        owner = Owner(int(match[1]), int(match[2]))
        return owner == self._owner or not owner.is_alive()

    def _over_capacity(self) -> list[tuple[str, Batch]]:
        """Takes out what is too much, oldest first; the batch that is being sent stays. Called with the lock held."""
        lost: list[tuple[str, Batch]] = []
        for load in (self._disk, self._memory):
            while load.size > load.capacity:
                oldest = next((b for b in self._batches if b is not self._sending and self._load(b) is load), None)
                if oldest is None:
                    break
                self._take_out(oldest)
                lost.append((load.full, oldest))
        return lost

    def _load(self, batch: Batch) -> _Load:
        return self._memory if batch.path is None else self._disk

    def _take_out(self, batch: Batch) -> None:
        """Called with the lock held, for a batch that is in."""
        self._batches.remove(batch)
        self._load(batch).add(batch, -1)

    def _lose(self, lost: list[tuple[str, Batch]]) -> None:
        for reason, batch in lost:
            _delete(batch)
            self._dropped(reason, batch.spans)

    def _remove(self, batch: Batch) -> None:
        with self._lock:
            if batch in self._batches:
                self._take_out(batch)


def _batches(directory: Path) -> Iterator[Batch]:
    for path in sorted(directory.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is not None:
            yield Batch(int(match[1]), path.stat().st_size, path)
        elif path.suffix == ".tmp":
            _unlink(path)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # It stays: at the worst its spans are delivered twice.
        return


def _delete(batch: Batch) -> None:
    if batch.path is not None:
        _unlink(batch.path)


def _delete_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        # Not empty: what is in it waits for the next process.
        return


def _prune(directory: Path, capacity: int) -> None:
    """Deletes the oldest files until the others fit."""
    try:
        files = sorted((entry.stat().st_mtime, entry.stat().st_size, entry) for entry in directory.iterdir())
    except OSError:
        return
    excess = sum(size for _, size, _ in files) - capacity
    for _, size, path in files:
        if excess <= 0:
            return
        _unlink(path)
        excess -= size

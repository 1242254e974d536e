"""What one destination has accepted and not yet acknowledged: files that survive the process, else memory."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from looopy_otel.core.files import is_lasting
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.settings import DEFAULT_MEMORY_LIMIT, DEFAULT_SPOOL_LIMIT
from looopy_otel.export.batch import Batch, listed
from looopy_otel.export.disk_usage import DiskUsage
from looopy_otel.export.encoded import CorruptBatchError, halves, span_count, without_content
from looopy_otel.export.holdings import USAGE, Holdings
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.room import Room
from looopy_otel.export.set_aside import CAPACITY, SetAside
from looopy_otel.export.storage import Storage, delete

SPILLED_AT_ONCE: Final = 8
"""Batches that follow one to disk, where the disk had not taken them before."""


def _unheard(*what: object) -> None:
    return None


class Outbox:
    """The batches of one destination, oldest first.

    Each batch is one file ``<directory>/<owner>.<n>/<sequence>-<spans>.otlp``: it survives the end of the process in
    any way, but not a power loss. Where no file can be written batches stay in memory, and follow when one can. Over a
    limit the oldest content is taken out first, and then the oldest batch is dropped, each counted. Safe between
    threads and processes; a forked child begins empty, in a directory of its own.

    Args:
        directory: The destination's own directory, shared by all processes. Created at the first batch.
        dropped: Told of every loss: reason (``spool-full``, ``memory-full``, ``spool-gone``, ``spool-unreadable``,
            ``spool-corrupt``, ``shutdown``) and number of spans.
        memory: Counts what waits in memory; by default a count of its own.
        disk_capacity: Bytes of all files together, those of other processes included.
        rejected_capacity: Bytes kept of batches that were set aside; an eighth of the disk's at most.
        shed: Told of spans whose content was taken out: reason (as above, or an answer's) and number, which is below 0
            where such spans are lost after all.
        failed: Told in one line why the disk is not used, or what was found in it.
    """

    def __init__(
        self,
        directory: Path,
        dropped: Callable[[str, int], None],
        *,
        memory: MemoryBudget | None = None,
        disk_capacity: int = DEFAULT_SPOOL_LIMIT,
        rejected_capacity: int = CAPACITY,
        shed: Callable[[str, int], None] = _unheard,
        failed: Callable[[str], None] = _unheard,
    ) -> None:
        self._dropped = dropped
        self._shed = shed
        self._failed = failed
        memory = memory or MemoryBudget(DEFAULT_MEMORY_LIMIT)
        usage = DiskUsage(directory, disk_capacity)
        self._holdings = Holdings(directory)
        self._storage = Storage(self._holdings, usage, memory, failed)
        self._set_aside = SetAside(directory, min(rejected_capacity, max(disk_capacity // 8, 1)))
        self._room = Room(usage, memory, self._set_aside)
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread is in here.
        self._lock = threading.RLock()
        self._batches: deque[Batch] = deque()
        self._sending: Batch | None = None
        self._sequence = itertools.count(1)
        self._left_behind = 0
        self._closed = False
        self._storage.reset()
        self._room.reset()

    @property
    def is_empty(self) -> bool:
        """True when nothing waits, on disk or in memory."""
        return not self._batches

    @property
    def spooled(self) -> int:
        """Spans on disk, those that were there at the close included."""
        return self._storage.spooled + self._left_behind

    @property
    def queued(self) -> int:
        """Spans in memory."""
        return self._storage.queued

    @property
    def problem(self) -> str | None:
        """Why spans wait in memory and not on disk; None where they do not."""
        return self._storage.problem if self.queued else None

    def append(self, body: bytes, spans: int) -> None:
        """Takes a batch over, to disk where possible; never raises for a full or missing disk."""
        batch = Batch(next(self._sequence), spans, len(body))
        self._storage.keep(batch, body)
        with self._lock:
            self._batches.append(batch)
            self._storage.count(batch)
        self._room.note(batch)
        if batch.path is not None:
            self._spill(SPILLED_AT_ONCE)
        self._room.make(self)
        if self._closed:
            self._let_go()

    def first(self) -> Batch | None:
        """The oldest batch, which is not dropped before it is acknowledged, set aside or asked for again; or None."""
        with self._lock:
            self._sending = self._batches[0] if self._batches else None
            return self._sending

    def is_sending(self, batch: Batch) -> bool:
        """True for what `first` gave last."""
        return batch is self._sending

    def read(self, batch: Batch) -> bytes | None:
        """The body of a batch; None when its file is gone or no batch, and then it is out of the way.

        What another process has written is looked through before it is sent.

        Raises:
            OSError: If it cannot be read for now, as without file descriptors; it stays.
        """
        try:
            body = self._body(batch)
            spans = span_count(body) if batch.unchecked else batch.spans
        except FileNotFoundError:
            # Somebody deleted it; or another process has taken it over, which took this one, long suspended, for ended.
            if not batch.gone:
                self._dropped("spool-gone", batch.spans)
                self._take_out(batch)
            return None
        except OSError as error:
            if not is_lasting(error):
                raise
            self._lose_file(batch, "spool-unreadable", error)
            return None
        except CorruptBatchError as error:
            self._lose_file(batch, "spool-corrupt", error)
            return None
        if batch.unchecked:
            with self._lock:
                self._storage.count(batch, -1)
                batch.unchecked, batch.spans = False, spans
                self._storage.count(batch)
        return body

    def _body(self, batch: Batch) -> bytes:
        try:
            return self._storage.body(batch)
        except CorruptBatchError:
            # Between the two its content may have been taken out.
            with self._lock:
                return self._storage.body(batch)

    def acknowledge(self, batch: Batch) -> None:
        """Forgets a batch that its destination has taken."""
        self._take_out(batch)
        delete(batch.path)

    def set_aside(self, batch: Batch) -> None:
        """Takes a batch that will not be accepted out of the way: its file is kept a while, a body in memory is not."""
        self._take_out(batch)
        self._count_as_lost(batch)
        if not self._set_aside.put(batch):
            delete(batch.path)

    def divide(self, batch: Batch) -> bool:
        """Puts two halves in the place of a batch; False when it is a single span, or cannot be divided.

        The halves are written before the whole is removed.

        Raises:
            OSError: If it cannot be read for now.
        """
        try:
            found = halves(self._body(batch))
        except CorruptBatchError:
            return False
        except OSError as error:
            if not is_lasting(error):
                raise
            return False
        if found is None:
            return False
        parts = [self._part(batch, number, body, spans) for number, (body, spans) in enumerate(found, 1)]
        with self._lock:
            if batch.gone:
                for part in parts:
                    delete(part.path)
                return False
            place = self._batches.index(batch)
            self._take_out(batch)
            for part in reversed(parts):
                self._batches.insert(place, part)
                self._storage.count(part)
                self._room.note(part, first=True)
        delete(batch.path)
        return True

    def _part(self, batch: Batch, number: int, body: bytes, spans: int) -> Batch:
        part = Batch(batch.sequence, spans, len(body), part=f"{batch.part}.{number}", bare=batch.bare)
        if batch.path is None or not self._storage.write(part, body, batch.path.parent):
            part.body = body
        return part

    def strip(self, batch: Batch, reason: str) -> bool:
        """Takes the content out of a batch, once; False when there is none, or it cannot be written.

        Args:
            batch: One of this outbox.
            reason: Under which its spans are counted.

        Raises:
            OSError: If it cannot be read or written for now.
        """
        if batch.bare:
            return False
        batch.bare = True
        try:
            found = without_content(self._body(batch))
            if found is None:
                return False
            body, spans = found
            prepared = self._storage.prepare(batch, body)
            with self._lock:
                if batch.gone:
                    delete(prepared)
                    return False
                self._storage.replace(batch, body, prepared)
        except CorruptBatchError:
            return False
        except OSError as error:
            if not is_lasting(error):
                batch.bare = False
                raise
            return False
        batch.shed = reason, spans
        self._shed(reason, spans)
        return True

    def drop_oldest(self, reason: str, *, on_disk: bool) -> bool:
        """Drops the oldest batch on disk, or in memory, that is not being sent; False when there is none."""
        with self._lock:
            oldest = next(
                (one for one in self._batches if (one.path is not None) is on_disk and one is not self._sending), None
            )
            if oldest is None:
                return False
            self._take_out(oldest)
        delete(oldest.path)
        self._count_as_lost(oldest)
        self._dropped(reason, oldest.spans)
        return True

    @property
    def has_orphans(self) -> bool:
        """True when there is something to adopt; costs one look at a directory."""
        return bool(self._holdings.orphans())

    def adopt(self) -> int:
        """Takes over what ended processes, and closed outboxes of this one, left behind; it comes first, oldest first.

        Returns:
            How many spans it was.
        """
        found: list[Batch] = []
        for orphan in self._holdings.orphans():
            adopted = self._holdings.take_over(orphan)
            if adopted is not None:
                found.extend(self._adopted(adopted))
        with self._lock:
            for batch in reversed(found):
                self._batches.appendleft(batch)
                self._storage.count(batch)
                self._room.note(batch, first=True)
        self._room.make(self)
        return sum(batch.spans for batch in found)

    def adopt_rejected(self) -> int:
        """Takes what was set aside back, to be tried again after all else.

        Returns:
            How many spans it was.

        Raises:
            OSError: If there is no directory to write to.
        """
        directory = self._holdings.writable
        first = next(self._sequence)
        found = self._set_aside.take(directory, first)
        self._sequence = itertools.count(first + len(found))
        with self._lock:
            for batch in found:
                self._batches.append(batch)
                self._storage.count(batch)
        return sum(batch.spans for batch in found)

    def touch(self) -> None:
        """Says to other processes that this one lives, and makes room where they need it."""
        self._holdings.touch()
        if self._batches:
            self._room.make(self)

    def close(self) -> None:
        """Lets go of the directories; files stay for whoever comes next, bodies in memory follow or are lost.

        A batch that is appended later goes the same way.
        """
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        self._spill(len(self._batches))
        with self._lock:
            lost = self._storage.queued
            self._left_behind += self._storage.spooled
            while self._batches:
                self._take_out(self._batches[0], keeping=True)
        if lost:
            self._dropped("shutdown", lost)
        self._storage.release()

    def _spill(self, most: int) -> None:
        """Has what waits in memory follow to disk, oldest first."""
        for _ in range(most if self._storage.queued else 0):
            with self._lock:
                batch = next((one for one in self._batches if one.path is None and one is not self._sending), None)
                if batch is None or batch.body is None:
                    return
                self._storage.count(batch, -1)
                self._storage.keep(batch, batch.body)
                self._storage.count(batch)
            if batch.path is None:
                return
            self._room.note(batch, first=True)

    def _adopted(self, directory: Path) -> list[Batch]:
        try:
            listing = listed(directory, known=(USAGE,))
        except OSError as error:
            self._failed(f"a directory of the spool cannot be read: {error}")
            # The next look finds it again.
            self._holdings.release(directory)
            return []
        for path in listing.leftovers:
            delete(path)
        for path in listing.foreign:
            moved = self._set_aside.put_foreign(path)
            self._failed(f"{path} is no batch; it {'is set aside' if moved else 'stays there'}")
        return listing.batches

    def _take_out(self, batch: Batch, *, keeping: bool = False) -> None:
        """Takes a batch out, once; one whose file is kept stays in what the disk holds."""
        with self._lock:
            if not batch.gone:
                batch.gone = True
                self._batches.remove(batch)
                self._storage.count(batch, -1, keeping=keeping)

    def _count_as_lost(self, batch: Batch) -> None:
        """Spans that are lost after all have not gone on without their content."""
        if batch.shed is not None:
            reason, spans = batch.shed
            self._shed(reason, -spans)

    def _lose_file(self, batch: Batch, reason: str, error: Exception) -> None:
        self._count_as_lost(batch)
        self._failed(f"a file of the spool is set aside: {error}")
        self._dropped(reason, batch.spans)
        self._take_out(batch)
        self._set_aside.put(batch, corrupt=True)

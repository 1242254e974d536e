"""Where a batch's body is kept: in a file, or in memory where no file can be written; and how much there is of each."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from looopy_otel.core.files import create_private_file
from looopy_otel.export.batch import TEMPORARY_SUFFIX, Batch
from looopy_otel.export.disk_usage import DiskUsage
from looopy_otel.export.encoded import CorruptBatchError
from looopy_otel.export.holdings import Holdings
from looopy_otel.export.memory import MemoryBudget

logger = logging.getLogger("looopy_otel")

_SECONDS_BETWEEN_WARNINGS: Final = 60.0


class Storage:
    """Writes, reads and replaces bodies. Files are written under another name and renamed, without fsync.

    Args:
        holdings: The directories.
        usage: Counts what they hold.
        memory: Counts what is kept in memory.
        failed: Told in one line why the disk is not used; so is the log, once a minute at most.

    Attributes:
        problem: Why the last body went to memory and not to disk; None when it went to disk.
    """

    def __init__(
        self, holdings: Holdings, usage: DiskUsage, memory: MemoryBudget, failed: Callable[[str], None]
    ) -> None:
        self._holdings = holdings
        self._usage = usage
        self._memory = memory
        self._failed = failed
        self.reset()

    def reset(self) -> None:
        """Holds nothing, as in a forked child."""
        self._holdings.reset()
        self._usage.reset()
        self._spans = {True: 0, False: 0}
        self.problem: str | None = None
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS

    @property
    def spooled(self) -> int:
        """Spans on disk."""
        return self._spans[True]

    @property
    def queued(self) -> int:
        """Spans in memory."""
        return self._spans[False]

    def keep(self, batch: Batch, body: bytes) -> None:
        """Writes a body to disk, in a second try where another process had taken the directory away, or keeps it."""
        for _ in range(2):
            try:
                directory = self._holdings.writable
            except OSError as error:
                self._fail(f"spans wait in memory, since the spool cannot be used: {error}")
                break
            if self.write(batch, body, directory) or not self._holdings.forget_if_gone():
                break
        if batch.path is None:
            batch.body = body

    def write(self, batch: Batch, body: bytes, directory: Path) -> bool:
        """Writes a body to a directory; False when it cannot be."""
        path = directory / batch.name
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        try:
            _write(temporary, body)
            temporary.rename(path)
        except OSError as error:
            # The directory is gone (taken over by another process), not writable any more, or the disk is full.
            delete(temporary)
            if directory.exists():
                self._fail(f"spans wait in memory, since the spool cannot be written: {error}")
            return False
        batch.path, batch.body = path, None
        self.problem = None
        return True

    def _fail(self, problem: str) -> None:
        self.problem = problem
        self._failed(problem)
        if time.monotonic() - self._warned_at >= _SECONDS_BETWEEN_WARNINGS:
            self._warned_at = time.monotonic()
            logger.warning("looopy-otel: %s", problem)

    def body(self, batch: Batch) -> bytes:
        """Reads a body.

        Raises:
            OSError: If its file is gone or cannot be read.
            CorruptBatchError: If its file is not as long as it was when it was written, or found.
        """
        path = batch.path
        if path is None:
            return batch.body or b""
        with path.open("rb") as file:
            body = file.read(batch.size + 1)
        if len(body) != batch.size:
            raise CorruptBatchError(f"{path} is not of the {batch.size} bytes that it had")
        return body

    def prepare(self, batch: Batch, body: bytes) -> Path | None:
        """Writes what shall stand in a file's place; None for a batch in memory.

        Raises:
            OSError: If it cannot be written.
        """
        if batch.path is None:
            return None
        temporary = batch.path.with_name(batch.path.name + TEMPORARY_SUFFIX)
        try:
            _write(temporary, body)
        except OSError:
            delete(temporary)
            raise
        return temporary

    def replace(self, batch: Batch, body: bytes, prepared: Path | None) -> None:
        """Puts a body in the place of a batch's, which is counted.

        Raises:
            OSError: If it cannot; the old one stays.
        """
        if prepared is not None and batch.path is not None:
            prepared.rename(batch.path)
        else:
            batch.body = body
        self.count(batch, -1)
        batch.size = len(body)
        self.count(batch)

    def count(self, batch: Batch, sign: int = 1, *, keeping: bool = False) -> None:
        """Counts a batch in (1) or out (-1); the file of one that is kept still takes its room."""
        self._spans[batch.path is not None] += sign * batch.spans
        if batch.path is not None:
            if not keeping:
                self._usage.add(batch.path.parent, sign * batch.size)
        elif sign > 0:
            self._memory.take(batch.size)
        else:
            self._memory.give_back(batch.size)

    def release(self) -> None:
        """Lets go of all directories."""
        for directory in tuple(self._holdings.held):
            self._usage.forget(directory)
            self._holdings.release(directory)


def delete(path: Path | None) -> None:
    """Deletes a file, if it can be; None is none."""
    if path is None:
        return
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # It stays: at the worst its spans are delivered twice.
        return


def _write(path: Path, body: bytes) -> None:
    with os.fdopen(create_private_file(path), "wb") as file:
        file.write(body)

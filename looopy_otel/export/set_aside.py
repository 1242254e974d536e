"""Batches that an endpoint will not take, and files that are none: out of the way, kept a while, bounded."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Final

from looopy_otel.core.files import make_private_directory
from looopy_otel.export.batch import SUFFIX, Batch
from looopy_otel.export.encoded import MOST_BYTES
from looopy_otel.export.holdings import REJECTED

CAPACITY: Final = 64 * 1024 * 1024
MOST_FILES: Final = 4096
CORRUPT_SUFFIX: Final = ".corrupt"
_PUTS_BETWEEN_LOOKS = 64


class SetAside:
    """The directory ``rejected`` of one destination. Batches in it were counted as dropped already.

    Args:
        root: The destination's own directory.
        capacity: Bytes that are kept; beyond it the oldest are deleted.
    """

    def __init__(self, root: Path, capacity: int = CAPACITY) -> None:
        self.directory: Final = root / REJECTED
        self._capacity = capacity
        self._puts = itertools.count()
        self._size: int | None = None

    @property
    def size(self) -> int:
        """Bytes that are kept, as of the last look."""
        if self._size is None:
            self._size = sum(size for _, size, _ in self._files())
        return self._size

    def put(self, batch: Batch, *, corrupt: bool = False) -> bool:
        """Keeps a batch's file.

        Returns:
            False when it could not be kept; the file is then where it was. So is always a batch in memory.
        """
        if batch.path is None:
            return False
        name = f"{batch.path.parent.name}-{batch.name}"
        try:
            make_private_directory(self.directory)
            batch.path.rename(self.directory / (name + CORRUPT_SUFFIX if corrupt else name))
        except OSError:
            return False
        self._size = self.size + batch.size
        if next(self._puts) % _PUTS_BETWEEN_LOOKS == 0 or self._size > self._capacity:
            self.prune(0)
        return True

    def put_foreign(self, path: Path) -> bool:
        """Keeps whatever it is that lay among batches and is none; False when it has to stay there."""
        try:
            make_private_directory(self.directory)
            path.rename(self.directory / f"{path.parent.name}-{path.name}{CORRUPT_SUFFIX}")
        except OSError:
            return False
        self._size = None
        return True

    def prune(self, excess: int) -> None:
        """Deletes the oldest files until all fit, and so many bytes besides."""
        files = sorted(self._files())
        size = sum(one for _, one, _ in files)
        target = min(size - excess, self._capacity)
        for number, (_, one, path) in enumerate(files):
            if size <= target and len(files) - number <= MOST_FILES:
                break
            try:
                path.unlink()
            except OSError:
                continue
            size -= one
        self._size = size

    def take(self, into: Path, first: int) -> list[Batch]:
        """Moves what may be sent again into a directory of the caller's, oldest first.

        Args:
            into: Where to.
            first: The sequence number of the first.
        """
        taken: list[Batch] = []
        for _, size, path in sorted(self._files()):
            spans = path.stem.rpartition("-")[2]
            if path.suffix != SUFFIX or size > MOST_BYTES or not spans.isdecimal() or len(spans) > 9:
                continue
            batch = Batch(first + len(taken), min(int(spans), max(1, size)), size, unchecked=True)
            batch.path = into / batch.name
            try:
                path.rename(batch.path)
            except OSError:
                continue
            taken.append(batch)
        self._size = None
        return taken

    def _files(self) -> list[tuple[float, int, Path]]:
        found: list[tuple[float, int, Path]] = []
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, Path(entry.path)))
        except OSError:
            return found
        return found

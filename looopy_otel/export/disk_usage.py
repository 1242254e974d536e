"""How much of the disk one destination takes, over all processes: each tells its part, and nobody locks."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Final

from looopy_otel.core.files import OWNER_ONLY_FILE
from looopy_otel.export.batch import listed
from looopy_otel.export.holdings import USAGE, owned_directories
from looopy_otel.export.owner import Owner

TOLD_EVERY: Final = 1.0
"""Seconds between looks at what the others take, and at which a part that has changed is told to them."""

_SHARES_BEFORE_TELLING = 64


class DiskUsage:
    """Bytes in the directories of one destination.

    What one's own directories hold is counted as it changes, and written to a small file in each of them once a second,
    or when it has changed much. What the others hold is read from theirs, once a second; a directory without such a
    file is counted once. The sum is so at most a second, and a few batches of each process, behind.

    Args:
        root: The destination's own directory.
        limit: Bytes of all together.
    """

    def __init__(self, root: Path, limit: int) -> None:
        self.limit: Final = limit
        self._root = root
        self.reset()

    def reset(self) -> None:
        """Holds nothing, as in a forked child."""
        self._parts: dict[Path, int] = {}
        self._told: dict[Path, int] = {}
        self._told_at = -math.inf
        self._scanned: dict[Path, tuple[float, int]] = {}
        self._others = 0
        self._orphaned = 0
        self._owners = 1
        self._looked_at = -math.inf

    @property
    def own(self) -> int:
        """Bytes in directories of this process."""
        return sum(self._parts.copy().values())

    @property
    def orphaned(self) -> int:
        """Bytes that nobody answers for."""
        return self._orphaned

    def add(self, directory: Path, size: int) -> None:
        """Counts bytes that were written to, or (below 0) deleted from, a directory of this process."""
        if directory not in self._parts:
            # It may have been among the others'.
            self._looked_at = -math.inf
        self._parts[directory] = self._parts.get(directory, 0) + size
        if self._is_news(directory):
            self._tell()

    def forget(self, directory: Path) -> None:
        """Counts a directory no more as this process's; the next look finds it among the others'."""
        if directory in self._parts:
            self._tell()
        self._parts.pop(directory, None)
        self._told.pop(directory, None)

    def excess(self, more: int) -> int:
        """Bytes that this process should give up; 0 when there is room.

        Where all together take too much, each process gives up what it holds beyond an equal share: who has little
        loses nothing to who has much.

        Args:
            more: Bytes that count besides: of what was set aside.
        """
        return max(0, min(self.over(more), self.own - self.limit // self._owners))

    def over(self, more: int) -> int:
        """Bytes that all processes together have too much, as far as is known; 0 or less when there is room.

        Args:
            more: As for `excess`.
        """
        self._look()
        return self.own + self._others + more - self.limit

    def _is_news(self, directory: Path) -> bool:
        change = abs(self._parts[directory] - self._told.get(directory, 0))
        return change * _SHARES_BEFORE_TELLING > self.limit or time.monotonic() - self._told_at > TOLD_EVERY

    def _tell(self) -> None:
        self._told_at = time.monotonic()
        for directory, size in tuple(self._parts.items()):
            if self._told.get(directory) != size:
                self._told[directory] = size
                _write(directory / USAGE, size)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < TOLD_EVERY:
            return
        self._looked_at = now
        others = orphaned = 0
        alive = {Owner.current()}
        try:
            directories = [one for one in owned_directories(self._root) if one not in self._parts]
        except OSError:
            directories = []
        for directory in directories:
            size = self._size(directory, now)
            others += size
            owner = Owner.of(directory)
            if owner is not None and owner.answers_for(directory):
                alive.add(owner)
            else:
                orphaned += size
        self._others, self._orphaned, self._owners = others, orphaned, len(alive)
        self._scanned = {one: found for one, found in self._scanned.items() if one in directories}

    def _size(self, directory: Path, now: float) -> int:
        try:
            return max(0, int((directory / USAGE).read_bytes()[:32]))
        except (OSError, ValueError):
            pass  # none was told: it was left by an earlier version, or by one that ended before it told
        seen, size = self._scanned.get(directory, (-math.inf, 0))
        if now - seen >= 10 * TOLD_EVERY:
            try:
                size = sum(batch.size for batch in listed(directory).batches)
            except OSError:
                size = 0
            self._scanned[directory] = now, size
        return size


def _write(path: Path, size: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), OWNER_ONLY_FILE)
        try:
            # Always as long, so that no reader finds half a number.
            os.write(descriptor, b"%020d\n" % size)
        finally:
            os.close(descriptor)
    except OSError:
        return  # the disk is full or the directory gone; the others count its files instead

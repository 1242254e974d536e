"""The directories of one destination that this process holds: its own, and those that it took over."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from looopy_otel.core.files import make_private_directory
from looopy_otel.export.owner import Owner

REJECTED: Final = "rejected"
USAGE: Final = "usage"

_EARLIEST_BIRTH = 10**15
"""Lower numbers of directories are counts, as earlier versions gave them, and no times."""

_in_use: set[Path] = set()
"""Directories of this process that a live outbox writes or reads, so that no other outbox adopts them."""

if hasattr(os, "register_at_fork"):
    # What the parent holds is held by the parent alone.
    os.register_at_fork(after_in_child=_in_use.clear)


class UnsafeDirectoryError(OSError):
    """A directory that others could tamper with."""


class Holdings:
    """Makes, takes over and lets go of directories below one root; see `Owner` for their names.

    A directory's number is the time at which it began, in nanoseconds, and stays when another process takes it over:
    what several processes left is so in order, however often it changed hands and whatever was deleted from it.

    Args:
        root: The destination's own directory, shared by all processes; in the directory of all spools.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.reset()

    def reset(self) -> None:
        """Holds nothing, as in a forked child."""
        self._owner: Owner | None = None
        self._own: Path | None = None
        self.held: set[Path] = set()

    @property
    def writable(self) -> Path:
        """The directory that this process writes to, created now if need be.

        Raises:
            UnsafeDirectoryError: If others could tamper with it.
            OSError: If there can be none.
        """
        if self._own is None:
            check_root(self._root)
            directory = self._unused(time.time_ns())
            _in_use.add(directory)
            try:
                make_private_directory(directory)
                _check(self._root, strict=True)
            except OSError:
                _in_use.discard(directory)
                raise
            self.held.add(directory)
            self._own = directory
        return self._own

    def forget_if_gone(self) -> bool:
        """Gives up the own directory where another process has taken it over; True when it did."""
        if self._own is None or self._own.exists():
            return False
        self.release(self._own)
        return True

    def orphans(self) -> list[Path]:
        """Directories that nobody answers for any more, the one that began first before the others."""
        try:
            found = [(_birth(entry), entry) for entry in owned_directories(self._root) if self._is_free(entry)]
        except OSError:
            return []
        return [entry for _, entry in sorted(found)]

    def take_over(self, orphan: Path) -> Path | None:
        """Makes a directory this process's own; None when another was quicker, or it cannot be had."""
        try:
            adopted = self._unused(_birth(orphan))
        except OSError:
            return None
        _in_use.add(adopted)
        try:
            orphan.rename(adopted)
        except OSError:
            _in_use.discard(adopted)
            return None
        self.held.add(adopted)
        return adopted

    def touch(self) -> None:
        """Says to processes that see no more of this one than its directories that it is alive."""
        for directory in tuple(self.held):
            try:
                os.utime(directory)
            except OSError:
                continue  # taken over by another; whoever writes to it next will notice

    def release(self, directory: Path) -> None:
        """Lets go of a directory, which is deleted when it is empty and left to others when it is not."""
        if directory == self._own:
            self._own = None
        self.held.discard(directory)
        try:
            if all(name == USAGE for name in os.listdir(directory)):
                (directory / USAGE).unlink(missing_ok=True)
                directory.rmdir()
        except OSError:
            pass  # gone, or not ours to delete: whoever comes next finds it as it is
        _in_use.discard(directory)

    def _is_free(self, directory: Path) -> bool:
        owner = Owner.of(directory)
        if owner is None or directory in _in_use:
            return False
        return owner == self._current_owner() or not owner.answers_for(directory)

    def _unused(self, birth: int) -> Path:
        owner = self._current_owner()
        while (directory := self._root / owner.directory_name(birth)) in _in_use or directory.exists():
            birth += 1
        return directory

    def _current_owner(self) -> Owner:
        if self._owner is None:
            self._owner = Owner.current()
        return self._owner


def check_root(root: Path) -> None:
    """Refuses the directory of one destination, or the directory of all spools in which it is, where it is unsafe.

    Args:
        root: The destination's own directory; what does not exist yet is safe.

    Raises:
        UnsafeDirectoryError: If others could tamper with what is written there.
        OSError: If it cannot be looked at.
    """
    for directory, strict in ((root.parent, False), (root, True)):
        if os.path.lexists(directory):
            _check(directory, strict=strict)


def owned_directories(root: Path) -> Iterator[Path]:
    """The directories of all owners below a root, dead and alive; symbolic links and those of other users left out.

    Raises:
        OSError: If the root cannot be read.
    """
    for entry in root.iterdir():
        if Owner.of(entry) is None:
            continue
        try:
            status = entry.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(status.st_mode) and _is_ours(status):
            yield entry


def _birth(directory: Path) -> int:
    number = int(directory.name.rpartition(".")[2])
    return number if number >= _EARLIEST_BIRTH else directory.lstat().st_mtime_ns


def _is_ours(status: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _check(directory: Path, *, strict: bool) -> None:
    """Refuses a directory in which another user could put, or take away, what is written there.

    A strict one has to be this user's alone. Another may be the superuser's and be shared with a group, as volumes of
    containers are, or be of the kind of /tmp, where nobody may touch what is another's.
    """
    status = directory.lstat()
    if not hasattr(os, "geteuid"):
        return
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        problem = "is a symbolic link"
    elif not stat.S_ISDIR(mode):
        problem = "is no directory"
    elif not _is_ours(status) and (strict or status.st_uid != 0):
        problem = "belongs to another user"
    elif mode & (stat.S_IWGRP | stat.S_IWOTH if strict else stat.S_IWOTH) and (strict or not mode & stat.S_ISVTX):
        problem = "can be written by others"
    else:
        return
    raise UnsafeDirectoryError(f"{directory} {problem}; set LOOOPY_OTEL_SPOOL_DIR to one that only you can write to")

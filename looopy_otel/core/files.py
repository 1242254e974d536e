"""Files and directories that only their owner may read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

OWNER_ONLY_DIRECTORY = 0o700
OWNER_ONLY_FILE = 0o600

_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def is_lasting(error: OSError) -> bool:
    """True where the fault is this very file's, or its directory's; anything else, such as no descriptors, may pass."""
    return error.errno in _LASTING


def make_private_directory(directory: Path) -> None:
    """Creates a directory and its missing parents, all with mode 0700; those that exist stay as they are.

    Raises:
        OSError: If one cannot be created.
    """
    missing: list[Path] = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for one in reversed(missing):
        one.mkdir(mode=OWNER_ONLY_DIRECTORY, exist_ok=True)
        if one.stat().st_mode & OWNER_ONLY_DIRECTORY != OWNER_ONLY_DIRECTORY:
            # The umask took rights away from the owner.
            one.chmod(OWNER_ONLY_DIRECTORY)


def readable_by_others(path: str | os.PathLike[str]) -> bool:
    """True for a file that its group or others may read, where the platform knows such rights; False if there is none.

    Args:
        path: A file. ``~`` is the user's home.
    """
    try:
        return os.name == "posix" and bool(Path(path).expanduser().stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False


def make_private(path: Path) -> None:
    """Takes the rights of group and others away from a file of this user's, if there is one; others' stay as they are.

    Raises:
        OSError: If it cannot be done.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    if hasattr(os, "geteuid") and status.st_uid == os.geteuid() and status.st_mode & ~OWNER_ONLY_FILE & 0o777:
        path.chmod(OWNER_ONLY_FILE)


def create_private_file(path: Path) -> int:
    """Creates a new file with mode 0600 and opens it for writing.

    Returns:
        The file descriptor.

    Raises:
        FileExistsError: If it is there already.
        OSError: If it cannot be created.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY_FILE)
    if hasattr(os, "fchmod") and os.fstat(descriptor).st_mode & OWNER_ONLY_FILE != OWNER_ONLY_FILE:
        # The umask took rights away from the owner.
        os.fchmod(descriptor, OWNER_ONLY_FILE)
    return descriptor

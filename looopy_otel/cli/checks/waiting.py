"""The spool: whether batches can wait there, who may read them, and what waits now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage
from uuid import uuid4

from looopy_otel.cli.checks.check import Check, sooner, within
from looopy_otel.core.files import create_private_file, make_private_directory
from looopy_otel.core.settings import HTTPDestination, Settings
from looopy_otel.export.holdings import check_root
from looopy_otel.export.otlp import destination_key
from looopy_otel.export.spool import Heap, spools

DISK_SECONDS = 3.0
_MIB = 1024 * 1024


def check_spool(settings: Settings, deadline: float) -> Iterator[Check]:
    """Writes a file and takes it away again, looks at the permissions, and counts what waits.

    Args:
        settings: Where the spool is, and whether anything needs one.
        deadline: A value of `time.monotonic`; a file system that hangs is told of.
    """
    if not any(isinstance(destination, HTTPDestination) for destination in settings.destinations):
        yield Check("directory", "skipped", "no destination needs one")
        return
    directory, found = settings.spool_directory, list[Check]()
    if not within(sooner(deadline, DISK_SECONDS), lambda: found.append(_written(settings))):
        cause = f"the file system of {directory} does not answer; LOOOPY_OTEL_SPOOL_DIR names another place"
        yield Check("directory", "failed", f"no answer in {DISK_SECONDS:g} s", cause)
        return
    yield from found
    if found[0].status != "failed":
        yield _permissions(directory)
        yield _waiting(directory)


def refusal(settings: Settings) -> str | None:
    """Why a program would not use the spool directory, by the very check that it makes; None where it would."""
    try:
        for destination in settings.destinations:
            if isinstance(destination, HTTPDestination):
                check_root(settings.spool_directory / destination_key(destination))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _written(settings: Settings) -> Check:
    directory, limit = settings.spool_directory, settings.limits.spool
    probe = directory / f"doctor-{uuid4().hex}.tmp"
    refused = refusal(settings)
    if refused is not None:
        cause = f"spans wait in memory only, and are lost with the process: {refused}"
        return Check("directory", "failed", "refused by programs", cause)
    try:
        make_private_directory(directory)
        os.close(create_private_file(probe))
        probe.unlink()
        free = disk_usage(directory).free
    except OSError as error:
        said = error.strerror or str(error)
        cause = (
            f"{directory} cannot be written ({said}): spans wait in memory only, and are lost with the process; "
            "LOOOPY_OTEL_SPOOL_DIR names another place"
        )
        return Check("directory", "failed", said, cause)
    if free < limit:
        cause = "the disk is fuller than the spool may become: free some, or lower LOOOPY_OTEL_SPOOL_LIMIT"
        return Check("directory", "warning", f"writable, {free / _MIB:,.0f} MiB free on its disk", cause)
    return Check("directory", "ok", f"writable, {free / _MIB:,.0f} MiB free on its disk")


def _permissions(directory: Path) -> Check:
    mode = stat.S_IMODE(directory.stat().st_mode)
    if mode & 0o077 and os.name == "posix":
        cause = f"others on this machine may look into {directory}: chmod 700 {directory} (the files in it are 0600)"
        return Check("mode", "warning", f"{mode:04o}", cause)
    return Check("mode", "ok", f"{mode:04o}, its owner's alone")


def _waiting(directory: Path) -> Check:
    try:
        found = spools(directory)
    except OSError as error:
        return Check("waiting", "warning", error.strerror or str(error), f"{directory} cannot be read")
    held = sum((spool.held for spool in found), Heap())
    left = sum((spool.left for spool in found), Heap())
    rejected = sum((spool.rejected for spool in found), Heap())
    detail = f"{held.spans + left.spans:,} spans wait, {rejected.spans:,} are set aside"
    if rejected.batches:
        cause = "a backend has refused spans for good: mend the cause, then looopy-otel spool flush --rejected"
        return Check("waiting", "warning", detail, cause)
    if left.batches:
        cause = f"{left.spans:,} spans of processes that ended wait for the next one, or for looopy-otel spool flush"
        return Check("waiting", "warning", detail, cause)
    return Check("waiting", "ok", detail)

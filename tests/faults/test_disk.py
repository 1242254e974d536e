"""The disk is full, or cannot be written to at all: memory takes over within its bounds, and losses are counted."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.patience import until
from tests.faults.application import Application, Calls
from tests.support.fault_server import FaultServer, healthy
from tests.support.require import absent

MIB = 1024 * 1024
MEMORY_LIMIT = 4 * MIB
GROWTH = 40 * MIB
"""What the process may grow by with that limit: the encoder, the HTTP client and what is under way besides."""
MANY, CHARACTERS = 1500, 20_000


@pytest.fixture
def dead() -> Iterator[FaultServer]:
    """An endpoint that refuses connections until it listens."""
    with FaultServer() as server:
        server.stop_listening()
        yield server


def application(server: FaultServer, spool: Path, *, file_size: int | None = None) -> Application:
    return Application(
        server.url, spool, shutdown_timeout=3.0, file_size=file_size, LOOOPY_OTEL_MEMORY_LIMIT=str(MEMORY_LIMIT)
    )


def flood(running: Application) -> Calls:
    """Far more than memory may hold; the process grows no further than that."""
    running.calls(20)
    until(lambda: running.stats()["last_error"] is not None)
    resident = running.memory(restart=True)["resident"]
    calls = running.calls(MANY, CHARACTERS)
    assert running.memory()["peak"] - resident < GROWTH
    return calls


def assert_all_accounted_for(server: FaultServer, running: Application, made: int) -> None:
    """Lets the endpoint recover; what was made has arrived, or is counted as lost, exactly."""
    server.listen()
    running.flush_until_empty()
    said = running.stats()
    assert said["errors"] == {}
    assert len(server.accepted) + sum(said["dropped"].values()) == made, said
    assert said["exported"] == len(server.accepted)
    assert sum(content is None for content in server.accepted.values()) <= sum(said["content_shed"].values())


def spool_in_a_file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("no directory", encoding="ascii")
    return tmp_path / "file" / "spool"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    yield from mounted(tmp_path / "small", "size=2m")


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that nobody may write to, root included."""
    yield from mounted(tmp_path / "read-only", "ro")


def mounted(directory: Path, options: str) -> Iterator[Path]:
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        absent("mount", "a file system of one's own takes root, and its rights")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_without_a_directory_memory_keeps_what_it_may_and_counts_the_rest(tmp_path: Path, dead: FaultServer) -> None:
    with application(dead, spool_in_a_file(tmp_path)) as running:
        made = flood(running)
        said = running.stats()
        assert said["spooled"] == 0
        assert set(said["dropped"]) <= {"memory-full"}
        assert_all_accounted_for(dead, running, len(made.ids) + 20)
        running.exit()


def test_what_only_memory_holds_at_the_end_is_counted(tmp_path: Path, dead: FaultServer) -> None:
    with application(dead, spool_in_a_file(tmp_path)) as running:
        running.calls(100)
        said = running.shutdown()
        assert (said["exported"], sum(said["dropped"].values()), said["errors"]) == (0, 100, {})
        running.exit()


def test_a_read_only_spool_is_no_error(read_only_disk: Path, dead: FaultServer) -> None:
    with application(dead, read_only_disk / "spool") as running:
        made = flood(running)
        assert_all_accounted_for(dead, running, len(made.ids) + 20)
        assert running.exit() < 6.0


def test_a_full_disk_is_no_error(small_disk: Path, dead: FaultServer) -> None:
    with application(dead, small_disk / "spool") as running:
        made = flood(running)
        said = running.stats()
        assert said["spooled"] > 0
        assert_all_accounted_for(dead, running, len(made.ids) + 20)
        running.exit()
    assert list(small_disk.rglob("*.tmp")) == []


def test_files_that_cannot_be_written_to_their_end_are_no_error(tmp_path: Path, dead: FaultServer) -> None:
    with application(dead, tmp_path / "spool", file_size=64 * 1024) as running:
        made = flood(running)
        assert_all_accounted_for(dead, running, len(made.ids) + 20)
        running.exit()
    assert list((tmp_path / "spool").rglob("*.tmp")) == []


def test_a_full_disk_in_use_of_others_is_used_again_when_it_has_room(small_disk: Path, dead: FaultServer) -> None:
    filler = small_disk / "of others"
    with application(dead, small_disk / "spool") as running:
        running.calls(10)
        until(lambda: running.stats()["last_error"] is not None)
        filler.write_bytes(b"\0" * (small_disk_room(small_disk)))
        full = running.calls(20, CHARACTERS)
        running.flush(0.2)
        filler.unlink()
        room = running.calls(20, CHARACTERS)
        running.flush(0.2)
        assert running.stats()["dropped"] == {}
        dead.listen()
        dead.fault = healthy
        running.flush_until_empty()
        running.exit()
    assert {*full.ids, *room.ids} <= dead.accepted.keys()


def small_disk_room(directory: Path) -> int:
    """Bytes that are free there."""
    free = os.statvfs(directory)
    return free.f_bavail * free.f_frsize


def test_a_spool_that_is_deleted_under_load_is_made_again(tmp_path: Path, dead: FaultServer) -> None:
    spool = tmp_path / "spool"
    with application(dead, spool) as running:
        lost = running.calls(50)
        until(lambda: running.stats()["spooled"] == 50)
        subprocess.run(["rm", "-rf", str(spool)], check=True)
        kept = running.calls(50)
        dead.listen()
        running.flush_until_empty()
        said = running.stats()
        running.exit()
    assert set(kept.ids) <= dead.accepted.keys()
    assert said["errors"] == {}
    assert len(dead.accepted) + sum(said["dropped"].values()) == len(lost.ids) + len(kept.ids)

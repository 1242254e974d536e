from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.otlp import encoded_batches
from looopy_otel.export.outbox import Batch, Outbox
from looopy_otel.export.owner import Owner
from tests.export.spans import finished


class Losses(Counter[str]):
    def count(self, reason: str, spans: int) -> None:
        self[reason] += spans


@pytest.fixture
def losses() -> Losses:
    return Losses()


@pytest.fixture
def outbox(tmp_path: Path, losses: Losses) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "spool" / "otlp-1", losses.count)
    yield outbox
    outbox.close()


def encoded(name: str, spans: int = 1) -> bytes:
    """A batch as an exporter writes it."""

    def no_loss(error: Exception) -> None:
        raise AssertionError(error)

    ((body, count),) = encoded_batches([finished(f"{name}-{number}") for number in range(spans)], no_loss)
    assert count == spans
    return body


def first(outbox: Outbox) -> Batch:
    batch = outbox.first()
    assert batch is not None
    return batch


def drain(outbox: Outbox) -> list[bytes]:
    bodies: list[bytes] = []
    while (batch := outbox.first()) is not None:
        body = outbox.read(batch)
        if body is not None:
            bodies.append(body)
            outbox.acknowledge(batch)
    return bodies


def test_nothing_is_created_before_the_first_batch(tmp_path: Path, outbox: Outbox) -> None:
    assert outbox.first() is None
    assert outbox.is_empty
    assert list(tmp_path.iterdir()) == []


def test_batches_come_out_in_order_and_leave_nothing_behind(tmp_path: Path, outbox: Outbox) -> None:
    for number in range(12):
        outbox.append(str(number).encode(), 2)
    assert outbox.spooled == 24
    assert drain(outbox) == [str(number).encode() for number in range(12)]
    assert outbox.spooled == 0
    outbox.close()
    assert list((tmp_path / "spool" / "otlp-1").iterdir()) == []


def test_only_the_owner_may_read(tmp_path: Path, outbox: Outbox) -> None:
    outbox.append(b"secret prompt", 1)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").rglob("*")}
    assert {oct(mode) for path, mode in modes.items() if path.is_dir()} == {"0o700"}
    assert {oct(mode) for path, mode in modes.items() if path.is_file()} == {"0o600"}
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


def test_over_its_capacity_the_oldest_batch_goes_and_is_counted(tmp_path: Path, losses: Losses) -> None:
    outbox = Outbox(tmp_path, losses.count, disk_capacity=250)
    for number in range(4):
        outbox.append(bytes([number]) * 100, 3)
    assert drain(outbox) == [bytes([2]) * 100, bytes([3]) * 100]
    assert losses == {"spool-full": 6}
    outbox.close()


def test_the_batch_that_is_being_sent_is_not_dropped(tmp_path: Path, losses: Losses) -> None:
    outbox = Outbox(tmp_path, losses.count, disk_capacity=250)
    outbox.append(b"a" * 100, 1)
    sending = first(outbox)
    outbox.append(b"b" * 100, 1)
    outbox.append(b"c" * 100, 1)
    assert outbox.read(sending) == b"a" * 100
    outbox.acknowledge(sending)
    assert drain(outbox) == [b"c" * 100]
    assert losses == {"spool-full": 1}
    outbox.close()


def test_without_a_writable_directory_it_is_memory_bounded_in_bytes(tmp_path: Path, losses: Losses) -> None:
    (tmp_path / "file").write_text("in the way")
    outbox = Outbox(tmp_path / "file" / "spool", losses.count, memory=MemoryBudget(250))
    for number in range(4):
        outbox.append(bytes([number]) * 100, 3)
    assert (outbox.queued, outbox.spooled) == (6, 0)
    assert losses == {"memory-full": 6}
    assert drain(outbox) == [bytes([2]) * 100, bytes([3]) * 100]
    outbox.append(b"last", 5)
    outbox.close()
    assert losses == {"memory-full": 6, "shutdown": 5}


def test_what_is_left_at_the_end_waits_for_the_next_outbox(tmp_path: Path, losses: Losses) -> None:
    before = Outbox(tmp_path, losses.count)
    bodies = [encoded("one"), encoded("two", 2), encoded("three", 3)]
    before.append(bodies[0], 1)
    before.append(bodies[1], 2)
    before.close()
    after = Outbox(tmp_path, losses.count)
    after.append(bodies[2], 3)
    assert after.adopt() == 3
    assert drain(after) == bodies
    after.close()
    assert list(tmp_path.iterdir()) == []
    assert losses == {}


def test_what_several_left_stays_in_order_though_some_of_it_was_delivered_by_others(
    tmp_path: Path, losses: Losses
) -> None:
    bodies = [encoded(str(number)) for number in range(4)]
    first_one, second, third = (Outbox(tmp_path, losses.count) for _ in range(3))
    for body in bodies[:3]:
        first_one.append(body, 1)
    first_one.close()
    second.append(bodies[3], 1)
    second.adopt()
    second.acknowledge(first(second))
    second.close()
    third.adopt()
    assert drain(third) == bodies[1:]
    third.close()


def test_a_batch_that_comes_after_the_end_waits_too(tmp_path: Path, losses: Losses) -> None:
    closed = Outbox(tmp_path, losses.count)
    closed.close()
    late = encoded("late")
    closed.append(late, 1)
    after = Outbox(tmp_path, losses.count)
    assert after.adopt() == 1
    assert drain(after) == [late]
    after.close()


def test_a_living_outbox_is_left_alone(tmp_path: Path, losses: Losses) -> None:
    one, two = Outbox(tmp_path, losses.count), Outbox(tmp_path, losses.count)
    one.append(b"mine", 1)
    assert two.adopt() == 0
    assert drain(one) == [b"mine"]
    one.close()
    two.close()


def test_a_living_process_is_left_alone_and_a_dead_one_is_taken_over(tmp_path: Path, outbox: Outbox) -> None:
    root = tmp_path / "spool" / "otlp-1"
    one, two = encoded("one"), encoded("two", 2)
    code = (
        "import sys; from pathlib import Path; from looopy_otel.export.outbox import Outbox\n"
        f"outbox = Outbox(Path({str(root)!r}), print)\n"
        f"outbox.append({one!r}, 1); outbox.append({two!r}, 2)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert outbox.adopt() == 0
        process.kill()
        process.wait()
    assert outbox.adopt() == 3
    assert drain(outbox) == [one, two]


def test_half_written_and_foreign_files_are_no_batches(tmp_path: Path, losses: Losses) -> None:
    dead = tmp_path / "99999999-1.1"
    dead.mkdir()
    whole = encoded("whole", 4)
    (dead / "0000000001-4.otlp").write_bytes(whole)
    (dead / "0000000002-4.tmp").write_bytes(b"ha")
    (dead / "notes.txt").write_bytes(b"?")
    (tmp_path / "not-ours").mkdir()
    outbox = Outbox(tmp_path, losses.count)
    assert outbox.adopt() == 4
    adopted = first(outbox).whole[0]
    assert adopted is not None
    adopted = adopted.name
    assert drain(outbox) == [whole]
    outbox.close()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{adopted}-notes.txt.corrupt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["not-ours", "rejected"]


def test_a_directory_that_was_taken_away_blocks_nothing_and_is_counted(
    tmp_path: Path, outbox: Outbox, losses: Losses
) -> None:
    outbox.append(b"one", 1)
    root = tmp_path / "spool" / "otlp-1"
    (own,) = root.iterdir()
    own.rename(tmp_path / "elsewhere")
    outbox.append(b"two", 1)
    assert drain(outbox) == [b"two"]
    assert losses == {"spool-gone": 1}


def test_a_batch_that_was_set_aside_is_kept_apart(tmp_path: Path, outbox: Outbox) -> None:
    outbox.append(b"bad", 1)
    outbox.append(b"good", 1)
    outbox.set_aside(first(outbox))
    assert drain(outbox) == [b"good"]
    (kept,) = (tmp_path / "spool" / "otlp-1" / "rejected").iterdir()
    assert kept.read_bytes() == b"bad"


def test_what_is_set_aside_is_bounded_too(tmp_path: Path, losses: Losses) -> None:
    outbox = Outbox(tmp_path, losses.count, rejected_capacity=25)
    for number in range(5):
        outbox.append(str(number).encode() * 10, 1)
        outbox.set_aside(first(outbox))
    assert len(list((tmp_path / "rejected").iterdir())) == 2
    outbox.close()


def test_a_process_is_told_from_one_that_got_its_number_later() -> None:
    mine = Owner.current()
    assert mine.pid == os.getpid()
    assert mine.is_alive()
    assert not Owner(99999999, 1).is_alive()
    if sys.platform == "linux":
        assert not Owner(mine.pid, mine.started + 1).is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits")
def test_while_the_disk_is_full_batches_wait_in_memory_and_follow_in_order(outbox: Outbox, losses: Losses) -> None:
    import resource

    outbox.append(b"a" * 10, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, hard))
    try:
        outbox.append(b"b" * 100, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (outbox.queued, outbox.spooled) == (2, 1)
    outbox.append(b"c" * 100, 3)
    assert (outbox.queued, outbox.spooled) == (0, 6)
    assert drain(outbox) == [b"a" * 10, b"b" * 100, b"c" * 100]
    assert losses == {}

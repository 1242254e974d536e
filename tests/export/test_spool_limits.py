"""What is given up over a limit, over all processes, and what a spool makes of damaged or hostile surroundings."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from looopy_otel.core.semconv import CONTENT_SHED, GEN_AI_INPUT_MESSAGES, SESSION_ID
from looopy_otel.export import disk_usage
from looopy_otel.export.encoded import MOST_BYTES, without_content
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.otlp import destination_key, encoded_batches
from looopy_otel.export.outbox import Outbox
from looopy_otel.export.owner import SILENT_SECONDS, Owner
from looopy_otel.export.spool import flush_spool, spools
from tests.export.patience import soon
from tests.export.spans import destination, finished
from tests.support.otlp_sink import OTLPSink
from tests.support.spans import Span, decode

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs owners and modes of files")


class Told:
    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self.shed: Counter[str] = Counter()
        self.failures: list[str] = []

    def drop(self, reason: str, spans: int) -> None:
        self.dropped[reason] += spans

    def give_up(self, reason: str, spans: int) -> None:
        self.shed[reason] += spans

    def outbox(self, directory: Path, disk: int = 1 << 30, memory: int = 1 << 30) -> Outbox:
        return Outbox(
            directory,
            self.drop,
            memory=MemoryBudget(memory),
            disk_capacity=disk,
            shed=self.give_up,
            failed=self.failures.append,
        )


@pytest.fixture
def told() -> Told:
    return Told()


def encoded(name: str, size: int = 0) -> bytes:
    attributes = {SESSION_ID: "s-1", **({GEN_AI_INPUT_MESSAGES: "x" * size} if size else {})}
    ((body, _),) = encoded_batches([finished(name, attributes)], lambda error: None)
    return body


def spans(body: bytes) -> list[Span]:
    plain = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    return decode(ExportTraceServiceRequest.FromString(plain))


def drain(outbox: Outbox) -> list[Span]:
    found: list[Span] = []
    while (batch := outbox.first()) is not None:
        body = outbox.read(batch)
        if body is not None:
            found.extend(spans(body))
            outbox.acknowledge(batch)
    return found


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_content_goes_before_spans_and_the_oldest_first(tmp_path: Path, told: Told, place: str) -> None:
    if place == "memory":
        (tmp_path / "file").write_text("in the way")
        outbox = told.outbox(tmp_path / "file" / "spool", memory=35_000)
    else:
        outbox = told.outbox(tmp_path / "spool", disk=35_000)
    for number in range(6):
        outbox.append(encoded(f"span-{number}", 10_000), 1)
    arrived = drain(outbox)
    assert [span.name for span in arrived] == [f"span-{number}" for number in range(6)]
    shed = [span.name for span in arrived if span.attributes.get(CONTENT_SHED)]
    assert shed == ["span-0", "span-1", "span-2"]
    assert all(span.attributes[SESSION_ID] == "s-1" for span in arrived)
    reason = "spool-full" if place == "disk" else "memory-full"
    assert (told.shed, told.dropped) == ({reason: 3}, {})
    outbox.close()


def test_when_no_content_is_left_the_oldest_batches_go(tmp_path: Path, told: Told) -> None:
    outbox = told.outbox(tmp_path / "spool", disk=2_000)
    for number in range(30):
        outbox.append(encoded(f"span-{number}", 1_000), 1)
    arrived = drain(outbox)
    names = [span.name for span in arrived]
    assert names == [f"span-{number}" for number in range(30 - len(names), 30)]
    assert told.dropped == {"spool-full": 30 - len(names)}
    # What was dropped after all counts as dropped alone.
    assert told.shed["spool-full"] == sum(CONTENT_SHED in span.attributes for span in arrived) > 0
    outbox.close()


FILLING = """
import sys
from pathlib import Path
from looopy_otel.export.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), lambda *what: None, disk_capacity=400_000)
for number in range(100):
    outbox.append(b"x" * 8_000, 1)
    if number == 10:
        print("begun", flush=True); sys.stdin.readline()
print("full", flush=True)
sys.stdin.read()
"""


def test_all_processes_together_keep_the_limit(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FILLING, str(tmp_path / "spool")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
    time.sleep(1.1 * disk_usage.TOLD_EVERY)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "full\n"
    (spool,) = spools(tmp_path)
    assert spool.owners == 4
    assert 300_000 <= spool.waiting.size <= 600_000
    for process in processes:
        process.communicate("")


def test_what_ended_processes_left_counts_and_goes_first(tmp_path: Path, told: Told) -> None:
    dead = tmp_path / "99999999-1.1"
    dead.mkdir()
    for number in range(5):
        (dead / f"000000000{number}-1.otlp").write_bytes(encoded("dead", 1_000))
    outbox = told.outbox(tmp_path, disk=4_000)
    outbox.append(encoded("alive", 100), 1)
    assert told.shed["spool-full"] >= 1
    assert drain(outbox)[-1].name == "alive"
    outbox.close()


def test_a_process_of_another_namespace_or_host_is_taken_for_dead_only_when_it_has_long_been_silent(
    tmp_path: Path, told: Told
) -> None:
    foreign = tmp_path / f"1-1@{'0' * 12}.1"
    foreign.mkdir()
    (foreign / "0000000001-1.otlp").write_bytes(encoded("foreign"))
    outbox = told.outbox(tmp_path)
    assert outbox.adopt() == 0
    assert not outbox.has_orphans
    silent = time.time() - SILENT_SECONDS - 60
    os.utime(foreign, (silent, silent))
    assert outbox.adopt() == 1
    assert [span.name for span in drain(outbox)] == ["foreign"]
    outbox.close()


def test_a_living_outbox_shows_that_it_lives(tmp_path: Path, told: Told) -> None:
    outbox = told.outbox(tmp_path)
    outbox.append(b"one", 1)
    (own,) = tmp_path.iterdir()
    owner = Owner.of(own)
    assert owner == Owner.current()
    os.utime(own, (0, 0))
    outbox.touch()
    assert own.stat().st_mtime == pytest.approx(time.time(), abs=60)
    outbox.close()


def test_files_that_are_no_batches_block_nothing_and_are_counted(tmp_path: Path, told: Told) -> None:
    dead = tmp_path / "99999999-1.1"
    dead.mkdir()
    good = gzip.compress(encoded("good"))
    contents = {
        "0000000001-1.otlp": b"",
        "0000000002-2.otlp": good[: len(good) // 2],
        "0000000003-3.otlp": b"neither gzip nor protobuf",
        "0000000004-4.otlp": gzip.compress(b"\xff" * 100),
        "0000000005-1.otlp": good,
        "0000000006-999999999.otlp": encoded("boastful"),
        "99999999999999999999999-1.otlp": b"?",
        "0000000007-99999999999999.otlp": b"?",
    }
    for name, content in contents.items():
        (dead / name).write_bytes(content)
    (dead / "0000000000-1.otlp").mkdir()
    (dead / "0000000008-1.otlp").symlink_to("/etc/passwd")
    outbox = told.outbox(tmp_path)
    outbox.append(encoded("own"), 1)
    outbox.adopt()
    assert [span.name for span in drain(outbox)] == ["good", "boastful", "own"]
    assert told.dropped == {"spool-corrupt": 1 + 2 + 3 + 4}
    assert outbox.spooled == 0
    outbox.close()
    assert [path.name for path in tmp_path.iterdir()] == ["rejected"]
    assert len(list((tmp_path / "rejected").iterdir())) == 8


def test_a_file_that_is_larger_than_any_batch_is_set_aside_unread(tmp_path: Path, told: Told) -> None:
    dead = tmp_path / "99999999-1.1"
    dead.mkdir()
    (dead / "0000000001-1.otlp").write_bytes(encoded("good"))
    with (dead / "0000000000-5.otlp").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    outbox = told.outbox(tmp_path)
    assert outbox.adopt() == 1
    assert [span.name for span in drain(outbox)] == ["good"]
    assert "is no batch" in told.failures[-1]
    outbox.close()


def test_an_own_file_that_was_cut_short_is_counted_and_not_sent(tmp_path: Path, told: Told) -> None:
    outbox = told.outbox(tmp_path)
    outbox.append(encoded("cut"), 1)
    outbox.append(encoded("whole"), 1)
    os.truncate(sorted(tmp_path.rglob("*.otlp"))[0], 0)
    assert [span.name for span in drain(outbox)] == ["whole"]
    assert told.dropped == {"spool-corrupt": 1}
    outbox.close()


@pytest.mark.parametrize("place", ["attribute", "event", "link", "status"])
def test_any_long_text_counts_as_content(place: str) -> None:
    text = "x" * 600
    message = ExportTraceServiceRequest()
    span = message.resource_spans.add().scope_spans.add().spans.add(name="one")
    span.attributes.add(key=SESSION_ID).value.string_value = "s-1"
    if place == "status":
        span.status.message = text
    else:
        part = span if place == "attribute" else span.events.add() if place == "event" else span.links.add()
        part.attributes.add(key="my.document").value.string_value = text
    found = without_content(message.SerializeToString())
    assert found is not None
    (light,) = spans(found[0])
    assert (found[1], light.attributes) == (1, {SESSION_ID: "s-1", CONTENT_SHED: True})
    assert text not in found[0].decode(errors="replace")
    assert without_content(found[0]) is None


@posix
def test_a_file_that_may_not_be_read_blocks_nothing(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp_path / "99999999-1.1"
    dead.mkdir()
    for number in (1, 2):
        (dead / f"000000000{number}-1.otlp").write_bytes(encoded(f"span-{number}"))
    opened: Callable[..., Any] = Path.open

    def refuse(path: Path, *how: Any, **further: Any) -> Any:
        if path.name.startswith("0000000001"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *how, **further)

    monkeypatch.setattr(Path, "open", refuse)
    outbox = told.outbox(tmp_path)
    outbox.adopt()
    assert [span.name for span in drain(outbox)] == ["span-2"]
    assert told.dropped == {"spool-unreadable": 1}
    outbox.close()


def test_a_moment_without_file_descriptors_costs_nothing(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*what: Any, **further: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    left = told.outbox(tmp_path)
    left.append(encoded("one"), 1)
    left.close()
    outbox = told.outbox(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "scandir", exhausted)
        assert outbox.adopt() == 0
    assert outbox.adopt() == 1
    batch = outbox.first()
    assert batch is not None
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", exhausted)
        for attempt in (
            lambda: outbox.read(batch),
            lambda: outbox.divide(batch),
            lambda: outbox.strip(batch, "http-413"),
        ):
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                attempt()
    assert not batch.bare
    assert [span.name for span in drain(outbox)] == ["one"]
    assert not told.dropped
    outbox.close()


@posix
@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_modes_are_the_owners_alone_under_any_umask(tmp_path: Path, told: Told, umask: int) -> None:
    before = os.umask(umask)
    try:
        outbox = told.outbox(tmp_path / "spool" / "otlp-1")
        outbox.append(b"secret", 1)
    finally:
        os.umask(before)
    assert outbox.spooled == 1
    paths = [tmp_path / "spool", *(tmp_path / "spool").rglob("*")]
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in paths if path.is_dir()} == {"0o700"}
    batches = [path for path in paths if path.suffix == ".otlp"]
    assert [oct(stat.S_IMODE(path.stat().st_mode)) for path in batches] == ["0o600"]
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in paths)
    outbox.close()


@posix
@pytest.mark.parametrize("how", ["world-writable", "symlink", "destination is a symlink", "another's"])
def test_a_directory_that_others_could_tamper_with_is_refused(
    tmp_path: Path, told: Told, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if how == "symlink":
        root.symlink_to(elsewhere)
    else:
        root.mkdir()
    if how == "world-writable":
        root.chmod(0o777)
    elif how == "destination is a symlink":
        (root / "otlp-1").symlink_to(elsewhere)
    elif how == "another's":
        (root / "otlp-1").mkdir()
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    outbox = told.outbox(root / "otlp-1")
    outbox.append(b"secret", 1)
    assert (outbox.queued, outbox.spooled) == (1, 0)
    assert list(elsewhere.iterdir()) == []
    assert "LOOOPY_OTEL_SPOOL_DIR" in told.failures[-1]
    outbox.close()
    assert told.dropped == {"shutdown": 1}


def test_a_half_that_lies_beside_its_whole_is_not_sent_besides(tmp_path: Path, told: Told) -> None:
    dead = tmp_path / "99999999-1.1"
    dead.mkdir()
    (dead / "0000000001-1.otlp").write_bytes(encoded("whole"))
    (dead / "0000000001.1-1.otlp").write_bytes(encoded("half"))
    (dead / "0000000001.2.1-1.otlp").write_bytes(encoded("quarter"))
    (dead / "0000000002.1-1.otlp").write_bytes(encoded("first"))
    (dead / "0000000002.2-1.otlp").write_bytes(encoded("second"))
    outbox = told.outbox(tmp_path)
    assert outbox.adopt() == 3
    assert [span.name for span in drain(outbox)] == ["whole", "first", "second"]
    outbox.close()


def test_a_spool_is_seen_and_delivered_from_outside(tmp_path: Path, told: Told) -> None:
    assert spools(tmp_path / "missing") == []
    with OTLPSink() as sink:
        place = destination(sink.traces_url)
        root = tmp_path / destination_key(place)
        dead = root / "99999999-1.1"
        dead.mkdir(parents=True)
        for number in (1, 2):
            (dead / f"000000000{number}-1.otlp").write_bytes(encoded(f"span-{number}"))
        held = told.outbox(root)
        held.append(encoded("held"), 1)
        (spool,) = spools(tmp_path)
        assert (spool.key, spool.owners, spool.problem) == (root.name, 1, None)
        assert (spool.left.batches, spool.left.spans, spool.held.spans, spool.rejected.spans) == (2, 2, 1, 0)
        assert spool.left.oldest == pytest.approx(time.time(), abs=600)
        delivered = flush_spool(place, tmp_path, soon())
        assert (delivered.result.exported, delivered.result.spooled, delivered.stats.state) == (2, 0, "ok")
        assert sink.span_names == ["span-1", "span-2"]
        assert [span.name for span in drain(held)] == ["held"]
        held.close()


def test_a_spool_of_wrong_settings_is_delivered_under_the_right_ones(tmp_path: Path) -> None:
    dead = tmp_path / "otlp-0123456789ab" / "99999999-1.1"
    dead.mkdir(parents=True)
    (dead / "0000000001-1.otlp").write_bytes(encoded("moved"))
    with OTLPSink() as sink:
        delivered = flush_spool(destination(sink.traces_url), tmp_path, soon(), key="otlp-0123456789ab")
        assert (delivered.result.exported, sink.span_names) == (1, ["moved"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_begins_empty_and_what_it_leaves_is_taken_over(tmp_path: Path, told: Told) -> None:
    outbox = told.outbox(tmp_path)
    outbox.append(encoded("parents"), 1)
    child = os.fork()
    if child == 0:
        # The parent lives: what it holds is its own.
        found = outbox.is_empty and not outbox.has_orphans and outbox.adopt() == 0
        outbox.append(encoded("childs"), 1)
        os._exit(0 if found else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert outbox.adopt() == 1
    assert [span.name for span in drain(outbox)] == ["childs", "parents"]
    outbox.close()

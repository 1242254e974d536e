"""`looopy-otel spool`: what it shows of a spool that a process left behind, and what becomes of that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.support.child_process import free_ports
from tests.support.otlp_sink import Answer, OTLPSink

SPANS = 3
PROGRAM = """
import sys
import looopy_otel as lo
telemetry = lo.configure(shutdown_timeout=1.0)
for number in range(3):
    with lo.span(f"span-{number}"):
        pass
if sys.argv[1:]:
    telemetry.flush(0.5)
    print("spooled", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    """Where the configured backend is, once it is there."""
    (number,) = free_ports(1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{number}/v1/traces")
    monkeypatch.setenv("LOOOPY_OTEL_METRICS", "none")
    monkeypatch.setenv("LOOOPY_OTEL_SPOOL_DIR", str(tmp_path / "spool"))
    return number


def leave_behind() -> None:
    """A process makes spans while nobody takes them, and ends."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert "Traceback" not in done.stderr


@pytest.fixture
def running(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose spans nobody takes, and which still runs."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "stay"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"spooled\n"
        yield process
        process.kill()


def test_nothing_waits(command: Command, port: int) -> None:
    done = command("spool", "status")
    assert done.code == 0
    assert f"otlp  http://127.0.0.1:{port}/v1/traces  (otlp-" in done.out
    assert "  nothing waits\n" in done.out
    done = command("spool", "flush")
    assert (done.code, done.out) == (0, "Nothing waits that no running process answers for.\n")


def test_what_a_process_left_behind_is_seen_and_delivered(command: Command, port: int) -> None:
    leave_behind()
    done = command("spool", "status")
    assert done.code == 0
    assert re.search(r"^  waiting    1 batch, 3 spans, \d+ bytes, oldest .* ago\)$", done.out, re.MULTILINE)
    assert "    3 spans left by processes that ended: looopy-otel spool flush\n" in done.out
    with OTLPSink(port=port) as sink:
        done = command("spool", "flush")
        assert sorted(sink.span_names) == ["span-0", "span-1", "span-2"]
    assert (done.code, done.err) == (0, "")
    assert done.out == "otlp: 3 spans exported, 0 left, 0 dropped\nNothing is left.\n"
    assert "  nothing waits\n" in command("spool", "status").out


def test_a_backend_that_is_still_down_leaves_it_and_fails(command: Command, port: int) -> None:
    leave_behind()
    done = command("spool", "flush", "--timeout", "1")
    assert done.code == 1
    assert "otlp: 0 spans exported, 3 left, 0 dropped\n" in done.out
    assert "Connection refused" in done.out


def test_what_is_left_as_json(command: Command, port: int) -> None:
    leave_behind()
    done = command("spool", "flush", "--timeout", "1", "--json")
    assert done.code == 1
    document = json.loads(done.out)
    assert list(document["left"].values()) == [SPANS]
    assert document["flushed"][0]["left"] == SPANS


def test_what_a_running_process_holds_is_left_to_it(
    command: Command, port: int, running: subprocess.Popen[bytes]
) -> None:
    done = command("spool", "status")
    assert "    3 spans in the hands of 1 running process\n" in done.out
    with OTLPSink(port=port):
        assert command("spool", "flush").code == 0
    document = json.loads(command("spool", "status", "--json").out)
    assert document["spools"][0]["left"]["spans"] == 0


def test_what_was_refused_is_tried_again_when_asked_for(command: Command, port: int) -> None:
    with OTLPSink(port=port) as sink:
        sink.answer(then=Answer(401))
        leave_behind()
    assert re.search(r"^  set aside  \d+ batch(es)?, 3 spans, ", command("spool", "status").out, re.MULTILINE)
    with OTLPSink(port=port) as sink:
        done = command("spool", "flush")
        assert (done.code, sink.spans) == (0, [])
        done = command("spool", "flush", "--rejected")
        assert len(sink.spans) == SPANS
    assert done.code == 0
    assert "set aside" not in command("spool", "status").out


def test_a_damaged_file_is_not_promised_to_be_sent(command: Command, port: int, tmp_path: Path) -> None:
    leave_behind()
    (batch,) = (tmp_path / "spool").rglob("*.otlp")
    batch.write_bytes(b"\xff" * 100)
    with OTLPSink(port=port):
        assert command("spool", "flush").code == 1
        shown = command("spool", "status").out
        assert re.search(r"^  damaged    1 batch, 3 spans, 100 bytes, ", shown, re.MULTILINE)
        assert "--rejected" not in shown
        assert command("spool", "flush", "--rejected").code == 0


def test_the_spool_of_settings_that_were_wrong_goes_where_it_is_told(
    command: Command, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_behind()
    with OTLPSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", sink.traces_url)
        listed = json.loads(command("spool", "status", "--json").out)["spools"]
        (key,) = (one["key"] for one in listed if one["destination"] is None)
        done = command("spool", "flush")
        assert done.code == 1
        assert f"{key}: 3 spans, whose destination is not configured here" in done.out
        done = command("spool", "flush", "--from", key)
        assert done.code == 0
        assert len(sink.spans) == SPANS


def test_a_spool_that_is_not_there(command: Command, port: int) -> None:
    done = command("spool", "flush", "--from", "otlp-000000000000")
    assert done.code == 1
    assert "there is no spool 'otlp-000000000000'" in done.err


def test_no_secret_is_shown(command: Command, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20very-secret")
    monkeypatch.setenv(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://user:very-secret@127.0.0.1:{port}/v1/traces?k=very-secret"
    )
    leave_behind()
    for arguments in (
        ("status",),
        ("status", "--json"),
        ("flush", "--timeout", "1"),
        ("flush", "--timeout", "1", "--json"),
    ):
        done = command("spool", *arguments)
        assert "very-secret" not in done.out + done.err

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from looopy_otel.export.backoff import Backoff
from looopy_otel.export.otlp import OTLPExporter
from tests.export.patience import PATIENCE
from tests.export.process import SPANS
from tests.export.spans import destination, outgoing, spooled_files
from tests.support.otlp_sink import OTLPSink

ROOT = Path(__file__).parents[2]


def start(mode: str, url: str, spool: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.export.process", mode, url, str(spool)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def run(mode: str, url: str, spool: Path) -> None:
    with start(mode, url, spool) as process:
        assert process.wait(PATIENCE) == 0


def names(prefix: str) -> Counter[str]:
    return Counter(f"{prefix}-{number}" for number in range(SPANS))


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_a_killed_process_left_is_delivered_by_another(tmp_path: Path) -> None:
    port = unused_port()
    url = f"http://127.0.0.1:{port}/v1/traces"
    with start("spooled_then_wait", url, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"spooled\n"
        process.kill()
        process.wait()
    assert sum(int(path.stem.partition("-")[2]) for path in spooled_files(tmp_path)) == SPANS
    exporter = OTLPExporter(destination(url), tmp_path, backoff=Backoff(first=0.01))
    with OTLPSink(port=port) as sink:
        exporter.accept(outgoing("mine"))
        assert exporter.flush(time.monotonic() + PATIENCE)
        assert Counter(sink.span_names) == names("killed") + Counter(["mine"])
        assert sink.span_names[-1] == "mine"
    exporter.close(time.monotonic() + PATIENCE)
    assert spooled_files(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_of_a_fork_deliver_everything_once(tmp_path: Path) -> None:
    with OTLPSink() as sink:
        run("forked", sink.traces_url, tmp_path)
        assert Counter(sink.span_names) == names("before") + names("child") + names("parent")
    assert spooled_files(tmp_path) == []


@pytest.mark.parametrize(("mode", "prefix"), [("exiting", "last"), ("first_span_at_exit", "late")])
def test_spans_of_the_last_moment_are_delivered(tmp_path: Path, mode: str, prefix: str) -> None:
    with OTLPSink() as sink:
        run(mode, sink.traces_url, tmp_path)
        assert Counter(sink.span_names) == names(prefix)
    assert spooled_files(tmp_path) == []


def test_spans_of_the_last_moment_are_kept_while_the_endpoint_is_dead(tmp_path: Path) -> None:
    run("exiting", f"http://127.0.0.1:{unused_port()}/v1/traces", tmp_path)
    assert sum(int(path.stem.partition("-")[2]) for path in spooled_files(tmp_path)) == SPANS

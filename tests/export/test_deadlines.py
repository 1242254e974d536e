"""One deadline over everything: two endpoints that swallow all, the metrics', a hanging exporter, a disk that hangs."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import looopy_otel as lo
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.otlp import OTLPExporter
from tests.export.patience import PATIENCE, until
from tests.support.fault_server import FaultServer, stalling

SLOWER = 2.5
"""Seconds that a busy machine may take beyond a deadline; what hangs here hangs for much longer."""
SPANS = 20


class Hanging(SpanExporter):
    """A user's exporter that never comes back from anything."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.go.wait(4 * PATIENCE)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self.go.wait(4 * PATIENCE)

    def shutdown(self) -> None:
        self.go.wait(4 * PATIENCE)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.go.set()


@pytest.fixture
def black_hole() -> Iterator[FaultServer]:
    server = FaultServer(stalling)
    yield server
    server.close()


def everything_hangs(server: FaultServer, exporter: SpanExporter, directory: Path) -> lo.Telemetry:
    return lo.configure(
        exporters=["langfuse", "otlp", "local", exporter],
        langfuse_public_key="pk-lf-1",
        langfuse_secret_key="sk-lf-1",
        langfuse_base_url=server.url,
        otlp_endpoint=f"{server.url}/other",
        metrics="otlp",
        database=directory / "traces.db",
        spool_directory=directory / "spool",
    )


def steps(count: int = SPANS) -> None:
    for number in range(count):
        with lo.llm_span(model="gpt-4o") as call:
            call.record(input=f"question {number}", output="answer")


def test_a_flush_keeps_its_deadline_whatever_hangs(black_hole: FaultServer, hanging: Hanging, tmp_path: Path) -> None:
    telemetry = everything_hangs(black_hole, hanging, tmp_path)
    steps()
    begun = time.monotonic()
    result = telemetry.flush(0.5)
    assert time.monotonic() - begun < 0.5 + SLOWER
    # The store has them, the disk has them for two endpoints, and the exporter holds the rest.
    assert (result.exported, result.spooled, result.pending, result.dropped) == (SPANS, 2 * SPANS, SPANS, 0)
    begun = time.monotonic()
    telemetry.flush(0.0)
    assert time.monotonic() - begun < SLOWER
    telemetry.shutdown(0.2)


def test_a_shutdown_keeps_its_deadline_whatever_hangs(
    black_hole: FaultServer, hanging: Hanging, tmp_path: Path
) -> None:
    telemetry = everything_hangs(black_hole, hanging, tmp_path)
    steps()
    begun = time.monotonic()
    result = telemetry.shutdown(1.0)
    assert time.monotonic() - begun < 1.0 + SLOWER
    assert (result.exported, result.spooled) == (SPANS, 2 * SPANS)
    assert result.pending + result.dropped == SPANS


def test_a_disk_that_hangs_holds_nobody_up_and_every_span_is_told_of(
    black_hole: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, entered = threading.Event(), threading.Event()

    def stuck(exporter: OTLPExporter, spans: Sequence[Outgoing]) -> None:
        entered.set()
        answers.wait(4 * PATIENCE)

    for method in ("accept", "flush", "close"):
        monkeypatch.setattr(OTLPExporter, method, stuck)
    telemetry = lo.configure(
        exporters="otlp", otlp_endpoint=black_hole.url, metrics="none", spool_directory=tmp_path / "spool"
    )
    try:
        steps()
        begun = time.monotonic()
        result = telemetry.flush(0.3)
        assert time.monotonic() - begun < 0.3 + SLOWER
        assert (result.exported, result.pending, result.dropped) == (0, SPANS, 0)
        assert entered.wait(PATIENCE)
        steps()
        begun = time.monotonic()
        result = telemetry.shutdown(0.5)
        assert time.monotonic() - begun < 0.5 + SLOWER
        assert result.pending + result.dropped == 2 * SPANS
    finally:
        answers.set()
    until(lambda: not [one for one in threading.enumerate() if one.name in ("looopy-otel-worker", "looopy-otel-close")])


PROGRAM = """
import sys, threading, time
import looopy_otel as lo
from looopy_otel.export.otlp import OTLPExporter
from opentelemetry.sdk.trace.export import SpanExporter

class Hanging(SpanExporter):
    def export(self, spans): threading.Event().wait()
    def force_flush(self, timeout_millis=30000): threading.Event().wait()
    def shutdown(self): threading.Event().wait()

url, directory, what = sys.argv[1:]
if what == "disk":
    OTLPExporter.accept = lambda *arguments: threading.Event().wait()
    OTLPExporter.flush = OTLPExporter.close = OTLPExporter.accept
lo.configure(
    exporters=["otlp", Hanging()], otlp_endpoint=url, metrics="otlp", spool_directory=directory, shutdown_timeout=1.0
)
for number in range(50):
    with lo.llm_span(model="gpt-4o") as call:
        call.record(input="question", output="answer")
print(time.time(), flush=True)
"""


@pytest.mark.parametrize("what", ["endpoint", "disk"])
def test_the_process_ends_in_time_whatever_hangs(black_hole: FaultServer, tmp_path: Path, what: str) -> None:
    command = [sys.executable, "-c", PROGRAM, black_hole.url, str(tmp_path), what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    took = time.time() - float(done.stdout)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert took < 1.0 + SLOWER
    assert "looopy-otel: at the end: " in done.stderr

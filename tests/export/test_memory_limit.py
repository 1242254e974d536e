"""What `configure(memory_limit=)` bounds: a disk that takes spans loses none; where none does, content goes first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import looopy_otel as lo
from looopy_otel.core.semconv import CONTENT_SHED, INPUT_BYTES, INPUT_ROLES
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.otlp import OTLPExporter
from tests.export.patience import PATIENCE, until
from tests.support.otlp_sink import OTLPSink

MIB = 1024 * 1024
TEXT = "The quick brown fox jumps over the lazy dog. " * 450
"""20 kB."""


class Disk:
    """Stands before the encoder and the disk, and can be made to hang."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = threading.Event()
        self.entered = threading.Event()
        accept = OTLPExporter.accept

        def stuck(exporter: OTLPExporter, spans: Sequence[Outgoing]) -> None:
            self.entered.set()
            self.answers.wait(PATIENCE)
            accept(exporter, spans)

        monkeypatch.setattr(OTLPExporter, "accept", stuck)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.answers.set()


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as sink:
        yield sink


def call(number: int) -> None:
    with lo.llm_span(model="gpt-4o") as call:
        call.record(input=[{"role": "user", "content": f"{number}: {TEXT}"}], output="short")


def configured(sink: OTLPSink, spool: Path, **options: object) -> lo.Telemetry:
    defaults = {"metrics": "none", "memory_limit": MIB, "spool_directory": spool, "otlp_endpoint": sink.url}
    return lo.configure(exporters="otlp", **{**defaults, **options})  # type: ignore[arg-type]


def test_a_burst_larger_than_memory_is_delivered_whole(sink: OTLPSink, tmp_path: Path) -> None:
    with configured(sink, tmp_path) as telemetry:
        most = 0
        for number in range(400):
            call(number)
            most = max(most, telemetry.stats().memory)
        result = telemetry.flush(PATIENCE)
        stats = telemetry.stats()
    assert (result.exported, result.dropped, result.content_shed, result.pending) == (400, 0, 0, 0)
    assert (dict(stats.dropped), dict(stats.content_shed), stats.memory) == ({}, {}, 0)
    assert MIB // 4 < most <= MIB
    assert len({span.span_id for span in sink.spans}) == 400
    assert not any(CONTENT_SHED in span.attributes for span in sink.spans)


def test_while_the_disk_hangs_content_goes_and_every_span_stays(sink: OTLPSink, tmp_path: Path, disk: Disk) -> None:
    with configured(sink, tmp_path) as telemetry:
        call(0)
        assert disk.entered.wait(PATIENCE)
        begun = time.monotonic()
        for number in range(1, 150):
            call(number)
        # One wait for the disk, not one for each.
        assert time.monotonic() - begun < 10
        stats = telemetry.stats()
        assert stats.memory <= MIB
        assert dict(stats.dropped) == {}
        shed = stats.content_shed["memory-full"]
        assert 80 < shed < 150
        disk.answers.set()
        result = telemetry.flush(PATIENCE)
        assert (result.exported, result.dropped, result.content_shed) == (150, 0, shed)
    light = [span for span in sink.spans if span.attributes.get(CONTENT_SHED)]
    assert len(light) == shed
    assert light[0].attributes[INPUT_BYTES] > 20_000
    assert light[0].attributes[INPUT_ROLES] == ["user"]
    assert light[0].attributes["gen_ai.request.model"] == "gpt-4o"
    assert TEXT not in str(light[0].attributes)
    whole = [span for span in sink.spans if CONTENT_SHED not in span.attributes]
    # The oldest went first; the one that the worker had in hand stayed.
    assert {span.span_id for span in whole} == {
        span.span_id for span in (sink.spans[0], *sink.spans[-len(whole) + 1 :])
    }


def test_where_even_light_spans_are_too_many_the_oldest_go(sink: OTLPSink, tmp_path: Path, disk: Disk) -> None:
    with configured(sink, tmp_path) as telemetry:
        call(0)
        assert disk.entered.wait(PATIENCE)
        for number in range(600):
            with lo.span(f"step-{number}"):
                pass
        stats = telemetry.stats()
        assert stats.memory <= MIB
        dropped = stats.dropped["memory-full"]
        assert dropped > 200
        disk.answers.set()
        result = telemetry.flush(PATIENCE)
        assert (result.exported, result.dropped) == (601 - dropped, dropped)
    names = [span.name for span in sink.spans]
    assert names[1:] == [f"step-{number}" for number in range(dropped, 600)]


def test_a_forked_or_second_pipeline_counts_from_zero(sink: OTLPSink, tmp_path: Path) -> None:
    with configured(sink, tmp_path) as telemetry:
        call(0)
    with configured(sink, tmp_path) as second:
        assert (telemetry.stats().memory, second.stats().memory) == (0, 0)


class Hanging(SpanExporter):
    """A user's exporter that never comes back."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.go.wait(4 * PATIENCE)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.go.wait(4 * PATIENCE)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.go.set()


def test_an_exporter_that_hangs_holds_up_no_other(sink: OTLPSink, tmp_path: Path, hanging: Hanging) -> None:
    telemetry = lo.configure(
        exporters=[hanging, "otlp"],
        otlp_endpoint=sink.url,
        metrics="none",
        memory_limit=MIB,
        spool_directory=tmp_path,
    )
    for number in range(300):
        call(number)
    begun = time.monotonic()
    telemetry.flush(1.0)
    assert time.monotonic() - begun < 5
    sink.wait_for(300)
    stats = {one.name: one for one in telemetry.stats().destinations}
    assert (stats["otlp"].exported, dict(stats["otlp"].dropped)) == (300, {})
    held = stats["Hanging"]
    # Only a part of the memory is its own, and its oldest spans lost their content before any was lost.
    assert held.queued + sum(held.dropped.values()) == 300
    assert held.content_shed["memory-full"] > 100
    assert telemetry.stats().memory < MIB // 2
    assert dict(telemetry.stats().content_shed) == dict(held.content_shed)
    begun = time.monotonic()
    result = telemetry.shutdown(0.5)
    assert time.monotonic() - begun < 4
    held = next(one for one in telemetry.stats().destinations if one.name == "Hanging")
    assert result.pending == held.queued > 0
    assert sum(held.dropped.values()) + held.queued == 300
    assert set(held.dropped) == {"memory-full", "shutdown"}
    assert not [thread for thread in threading.enumerate() if not thread.daemon and "looopy" in thread.name]


def test_losses_are_told_in_the_log(
    sink: OTLPSink, tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "looopy_otel")
    telemetry = configured(sink, tmp_path)
    call(0)
    assert disk.entered.wait(PATIENCE)
    for number in range(150):
        call(number)
    until(lambda: any("kept without content (memory-full)" in message for message in caplog.messages))
    assert "memory_limit=" in caplog.messages[0]
    said = len(caplog.messages)
    for number in range(50):
        call(number)
    assert len(caplog.messages) == said
    disk.answers.set()
    telemetry.shutdown(PATIENCE)
    summary = caplog.messages[-1]
    shed = telemetry.stats().content_shed["memory-full"]
    assert summary.startswith("looopy-otel: at the end: ")
    assert f"{shed} spans were kept without content (memory-full)" in summary
    assert len(caplog.messages) == said + 1


def test_spans_that_are_left_on_disk_are_told_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "looopy_otel")
    telemetry = lo.configure(
        exporters="otlp", otlp_endpoint="http://127.0.0.1:9", metrics="none", spool_directory=tmp_path
    )
    call(0)
    result = telemetry.shutdown(1.0)
    assert (result.exported, result.spooled, result.dropped, result.pending) == (0, 1, 0, 0)
    assert "1 span is spooled on disk" in caplog.messages[-1]


def test_where_nothing_is_lost_nothing_is_said(
    sink: OTLPSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "looopy_otel")
    with configured(sink, tmp_path):
        call(0)
    assert caplog.messages == []

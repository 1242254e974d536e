"""Every span is somewhere: `flush` and `shutdown` tell of those that are still in an exporter's hands."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import looopy_otel as lo
from tests.export.patience import PATIENCE, until


class Slow(SpanExporter):
    """Keeps its caller until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.entered = threading.Event()
        self.got: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.go.wait(PATIENCE)
        self.got.extend(span.name for span in spans)
        return SpanExportResult.SUCCESS


@pytest.fixture
def slow() -> Iterator[Slow]:
    slow = Slow()
    yield slow
    slow.go.set()


def steps(count: int) -> None:
    for number in range(count):
        with lo.span(f"step-{number}"):
            pass


def test_a_flush_counts_what_an_exporter_has_not_finished(slow: Slow) -> None:
    with lo.configure(exporters=slow) as telemetry:
        steps(3)
        flushed = telemetry.flush(0.2)
        assert (flushed.exported, flushed.pending, flushed.dropped) == (0, 3, 0)
        assert telemetry.stats().destinations[0].queued == 3
        slow.go.set()
        flushed = telemetry.flush(PATIENCE)
        assert (flushed.exported, flushed.pending, flushed.dropped) == (3, 0, 0)


def test_a_shutdown_that_gives_up_tells_of_every_span(slow: Slow) -> None:
    telemetry = lo.configure(exporters=slow)
    steps(1)
    telemetry.flush(0.1)
    assert slow.entered.wait(PATIENCE)
    steps(2)
    result = telemetry.shutdown(0.2)
    assert (result.exported, result.pending, result.dropped) == (0, 1, 2)
    assert dict(telemetry.stats().dropped) == {"shutdown": 2}
    slow.go.set()
    until(lambda: telemetry.stats().exported == 1 and telemetry.stats().destinations[0].queued == 0)

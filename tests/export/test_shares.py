"""One holder of spans does not cost another its content, and content goes before spans, wherever either waits."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import looopy_otel as lo
from looopy_otel.core.semconv import CONTENT_SHED
from looopy_otel.export.deadline import LONGEST, seconds_of
from looopy_otel.export.weight import value_bytes
from tests.export.patience import PATIENCE
from tests.support.otlp_sink import Answer, OTLPSink

MIB = 1024 * 1024


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as sink:
        yield sink


def test_a_locked_store_takes_no_content_from_a_healthy_destination(sink: OTLPSink, tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    with lo.configure(
        exporters=["otlp", "local"],
        otlp_endpoint=sink.url,
        database=path,
        metrics="none",
        memory_limit=2 * MIB,
        spool_directory=tmp_path / "spool",
    ) as telemetry:
        with lo.span("first"):
            pass
        telemetry.flush(PATIENCE)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        for number in range(300):
            with lo.llm_span(model="m", input=f"{number}" + "z" * 20_000):
                pass
        telemetry.flush(2)
        connection.close()
        otlp, local = telemetry.stats().destinations
    assert (otlp.exported, dict(otlp.content_shed)) == (301, {})
    assert local.content_shed["memory-full"] > 100
    assert not any(CONTENT_SHED in span.attributes for span in sink.spans)


def test_without_a_directory_content_goes_before_spans(sink: OTLPSink, tmp_path: Path) -> None:
    sink.answer(then=Answer(status=503))
    (tmp_path / "file").touch()
    with lo.configure(
        exporters="otlp",
        otlp_endpoint=sink.url,
        metrics="none",
        memory_limit=4 * MIB,
        spool_directory=tmp_path / "file" / "spool",
        shutdown_timeout=0.5,
    ) as telemetry:
        for number in range(300):
            with lo.llm_span(model="m", input=f"{number}" + "".join(map(str, range(5000, 12_000)))):
                pass
        telemetry.flush(1)
        stats = telemetry.stats()
        assert dict(stats.dropped) == {}
        assert stats.memory <= 4 * MIB


def test_calls_are_traced_while_another_configuration_is_drained(sink: OTLPSink, tmp_path: Path) -> None:
    sink.answer(then=Answer(status=503))
    options = {"exporters": "otlp", "otlp_endpoint": sink.url, "metrics": "none", "spool_directory": tmp_path}
    lo.configure(shutdown_timeout=2.0, **options)  # type: ignore[arg-type]
    untraced: list[int] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.01):
            with lo.span("step") as span:
                if span.trace_id is None:
                    untraced.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    with lo.configure(**options):  # type: ignore[arg-type]
        ended.set()
        thread.join()
    assert untraced == []


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(float("inf"), LONGEST), (10**400, LONGEST), (-1, 0.0), (float("nan"), 5.0), (None, 5.0), ("x", 5.0), (2, 2.0)],
)
def test_any_timeout_can_be_waited_for(given: object, seconds: float) -> None:
    assert seconds_of(given, default=5.0) == seconds


def test_numbers_and_keys_weigh() -> None:
    assert value_bytes([0.5] * 10_000) > 240_000
    assert value_bytes({f"key-{number}": number for number in range(1000)}) > 100_000


def test_a_large_event_costs_the_event_alone(sink: OTLPSink, tmp_path: Path) -> None:
    with lo.configure(
        exporters="otlp", otlp_endpoint=sink.url, metrics="none", memory_limit=MIB, spool_directory=tmp_path
    ) as telemetry:
        with telemetry.tracer("mine").start_as_current_span("step") as span:
            span.add_event("read", {"text": "x" * 2 * MIB})
        result = telemetry.flush(PATIENCE)
    assert (result.exported, result.dropped, result.content_shed) == (1, 0, 1)

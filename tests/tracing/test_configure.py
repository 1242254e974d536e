"""`configure()`: one active configuration, drained when it is replaced, silent when it is disabled."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.core.types import FlushResult
from looopy_otel.store.sqlite import Store
from tests.tracing.conftest import attributes


def test_a_second_configure_drains_and_replaces_the_first() -> None:
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    lo.configure(exporters=first)
    with lo.span("one"):
        pass
    with lo.configure(exporters=second), lo.span("two"):
        pass
    assert [span.name for span in first.get_finished_spans()] == ["one"]
    assert [span.name for span in second.get_finished_spans()] == ["two"]


def test_a_configure_that_fails_leaves_the_first_in_place() -> None:
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter) as telemetry:
        with pytest.raises(lo.ConfigurationError, match="langfuse"):
            lo.configure(exporters="langfuse")
        with lo.span("one"):
            pass
        telemetry.flush()
        assert [span.name for span in exporter.get_finished_spans()] == ["one"]


def test_a_span_that_outlives_its_configuration_does_no_harm() -> None:
    exporter = InMemorySpanExporter()
    manager = lo.span("late")
    with lo.configure(exporters=exporter):
        manager.__enter__()
    manager.__exit__(None, None, None)
    assert lo.current().trace_id is None


def test_the_sdk_can_be_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter) as telemetry:
        with lo.span("one") as step:
            assert step.trace_id is None
        with telemetry.tracer("mine").start_as_current_span("two"):
            pass
        assert telemetry.flush() == FlushResult()
        assert telemetry.stats() == lo.Stats(internal_errors=telemetry.stats().internal_errors)
    assert exporter.get_finished_spans() == ()


def test_sampling_by_the_standard_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter), lo.span("outer") as outer, lo.span("inner") as inner:
        assert inner.trace_id == outer.trace_id
    assert exporter.get_finished_spans() == ()


def test_nothing_is_copied_of_what_is_not_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched:
        looks = 0

        def __repr__(self) -> str:
            Watched.looks += 1
            return "watched"

    for sampler, looked in (("always_off", False), ("always_on", True)):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        with lo.configure(exporters=InMemorySpanExporter()), lo.span("s", input=Watched()) as step:
            step.record(output=Watched(), metadata={"k": Watched()})
        assert (Watched.looks > 0) is looked


def test_half_of_the_traces_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter):
        for _ in range(200):
            with lo.span("outer"), lo.span("inner"):
                pass
    names = [span.name for span in exporter.get_finished_spans()]
    assert names.count("outer") == names.count("inner")
    assert 40 < names.count("outer") < 160


def test_flush_reports_what_happened_since_the_last_one() -> None:
    with lo.configure(exporters=InMemorySpanExporter()) as telemetry:
        for _ in range(3):
            with lo.span("s"):
                pass
        assert telemetry.flush() == FlushResult(exported=3)
        assert telemetry.flush() == FlushResult()
        assert telemetry.stats().exported == 3


class Failing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise RuntimeError("down")

    def shutdown(self) -> None:
        raise RuntimeError("down")


@pytest.mark.usefixtures("swallowed_faults")
def test_a_foreign_exporter_that_raises_is_counted_and_hurts_nobody() -> None:
    good = InMemorySpanExporter()
    with lo.configure(exporters=[Failing(), good]) as telemetry:
        with lo.span("s"):
            pass
        telemetry.flush()
        failing, fine = telemetry.stats().destinations
        assert sum(failing.dropped.values()) == 1
        assert fine.exported == 1


def test_the_local_store_is_the_default(tmp_path: Path) -> None:
    with lo.configure(database=tmp_path / "t.db") as telemetry:
        with lo.session("s-1"), lo.span("work", input="hello"):
            pass
        telemetry.flush()
        with Store(tmp_path / "t.db") as store:
            (trace,) = store.traces()
            (span,) = store.spans(trace.trace_id)
    assert (span.name, trace.session_id) == ("work", "s-1")
    assert span.draft is not None
    assert span.draft.input == "hello"


def test_redaction_is_the_default() -> None:
    exporter = InMemorySpanExporter()
    key = "sk-proj-" + "a1B2" * 12
    with lo.configure(exporters=exporter), pytest.raises(ValueError, match="sk-"), lo.span("s", input=f"key {key}"):
        raise ValueError(f"bad key {key}")
    (span,) = exporter.get_finished_spans()
    assert key not in span.to_json()
    assert "[REDACTED" in str(attributes(span)["langfuse.observation.input"])
    assert "[REDACTED" in str(span.status.description)


def test_metadata_mode_keeps_sizes_and_no_content() -> None:
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter, capture="metadata"):
        with pytest.raises(ValueError, match="private"), lo.span("s", input="private words"):
            raise ValueError("private words")
    (span,) = exporter.get_finished_spans()
    assert "private" not in span.to_json()
    assert attributes(span)["looopy.input.bytes"] == len("private words")
    assert attributes(span)["error.type"] == "ValueError"


def test_what_is_left_at_exit_is_sent(tmp_path: Path) -> None:
    script = f"""
        import looopy_otel as lo
        lo.configure(database={str(tmp_path / "t.db")!r})
        with lo.span("at-exit"):
            pass
    """
    started = time.monotonic()
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], check=True, timeout=60)
    assert time.monotonic() - started < 30
    with Store(tmp_path / "t.db") as store:
        assert [trace.name for trace in store.traces()] == ["at-exit"]

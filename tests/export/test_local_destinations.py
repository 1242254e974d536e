from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

from looopy_otel.core.settings import ConsoleDestination, CustomDestination, LocalDestination
from looopy_otel.core.usage import Usage
from looopy_otel.export.console import ConsoleExporter
from looopy_otel.export.custom import CustomExporter
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.local import LocalExporter
from looopy_otel.store.sqlite import Store
from tests.export.spans import RESOURCE, TRACE_ID, finished, llm_draft, outgoing

HEX = f"{TRACE_ID:032x}"


def test_the_store_keeps_the_draft_and_the_rest_of_the_span(tmp_path: Path) -> None:
    exporter = LocalExporter(LocalDestination(tmp_path / "traces.db"))
    parent = finished("agent.execute")
    own = finished("llm.call", {"custom": "x", "list": ("a", "b")})
    span = ReadableSpan(
        name=own.name,
        context=own.context,
        parent=parent.context,
        resource=RESOURCE,
        attributes=own.attributes,
        kind=own.kind,
        events=[Event("note", {"n": 1}, 5)],
        links=[Link(SpanContext(1, 2, is_remote=False), {"why": "resumed"})],
        status=Status(StatusCode.ERROR, "it broke"),
        start_time=own.start_time,
        end_time=own.end_time,
        instrumentation_scope=own.instrumentation_scope,
    )
    exporter.accept([Outgoing(parent), Outgoing(span, llm_draft())])
    assert (exporter.stats().exported, exporter.stats().dropped) == (2, {})
    exporter.close(time.monotonic())
    with Store(tmp_path / "traces.db", read_only=True) as store:
        stored = store.spans(HEX)[-1]
    assert stored.draft == llm_draft()
    assert parent.context is not None
    assert stored.parent_id == f"{parent.context.span_id:016x}"
    assert stored.attributes == {"custom": "x", "list": ["a", "b"]}
    assert (stored.kind, stored.status, stored.status_message) == ("CLIENT", "ERROR", "it broke")
    assert stored.events == ({"name": "note", "time": 5, "attributes": {"n": 1}},)
    assert stored.links == ({"trace_id": f"{1:032x}", "span_id": f"{2:016x}", "attributes": {"why": "resumed"}},)
    assert (stored.resource, stored.scope) == ({"service.name": "shop"}, "looopy_otel")


def test_a_store_that_cannot_be_written_is_counted_and_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    exporter = LocalExporter(LocalDestination(tmp_path / "file" / "traces.db"))
    exporter.accept(outgoing("one", "two"))
    assert dict(exporter.stats().dropped) == {"store": 2}
    assert "traces.db" in (exporter.stats().last_error or "")


def test_a_span_that_cannot_be_stored_costs_no_other(tmp_path: Path) -> None:
    exporter = LocalExporter(LocalDestination(tmp_path / "traces.db"))
    huge = llm_draft(usage=Usage(2**70, 1))
    exporter.accept([Outgoing(finished(), llm_draft()), Outgoing(finished(), huge), Outgoing(ReadableSpan("bare"))])
    exporter.accept([Outgoing(finished("\ud800"), llm_draft(input="\ud800")), Outgoing(finished())])
    assert (exporter.stats().exported, dict(exporter.stats().dropped)) == (3, {"unstorable": 2})
    exporter.close(time.monotonic())


def test_the_console_prints_a_short_block_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    exporter = ConsoleExporter(ConsoleDestination())
    exporter.accept([Outgoing(finished("llm.call", {"model": "gpt-4o", "text": "line\n\x1b[31m" + "x" * 1000}))])
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines[0] == "llm.call  0.001 s"
    assert HEX in lines[1]
    assert lines[2] == "  model = gpt-4o"
    assert lines[3].startswith("  text = line  [31mxxx")
    assert lines[3].endswith("x…")
    assert len(lines) == 4
    assert exporter.stats().exported == 1


def test_a_closed_standard_error_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    exporter = ConsoleExporter(ConsoleDestination())
    exporter.accept(outgoing("one"))
    assert dict(exporter.stats().dropped) == {"console": 1}


def custom(exporter: SpanExporter) -> CustomExporter:
    return CustomExporter(CustomDestination(exporter, name=type(exporter).__name__))


def test_a_users_exporter_gets_the_rendered_spans() -> None:
    memory = InMemorySpanExporter()
    exporter = custom(memory)
    exporter.accept(outgoing("one", "two"))
    assert [span.name for span in memory.get_finished_spans()] == ["one", "two"]
    assert exporter.stats().exported == 2
    assert exporter.flush(time.monotonic() + 20)
    exporter.close(time.monotonic() + 20)
    exporter.accept(outgoing("late"))
    assert dict(exporter.stats().dropped) == {"after-shutdown": 1}


class Broken(SpanExporter):
    def __init__(self, *, raises: bool) -> None:
        self.raises = raises

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.raises:
            raise OSError("broken")
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        raise OSError("broken")


@pytest.mark.parametrize("raises", [True, False])
def test_what_a_users_exporter_fails_at_is_counted(raises: bool, swallowed_faults: Counter[str]) -> None:
    exporter = custom(Broken(raises=raises))
    exporter.accept(outgoing("one"))
    exporter.close(time.monotonic() + 20)
    assert dict(exporter.stats().dropped) == {"exporter": 1}
    assert "Broken" in (exporter.stats().last_error or "")
    assert swallowed_faults["export.Broken"] == 1 + raises


def test_a_users_exporter_that_hangs_is_not_waited_for() -> None:
    hold = threading.Event()

    class Hanging(Broken):
        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return hold.wait(60)

        def shutdown(self) -> None:
            hold.wait(60)

    exporter = custom(Hanging(raises=False))
    begun = time.monotonic()
    assert not exporter.flush(begun + 0.05)
    exporter.close(time.monotonic() + 0.05)
    assert time.monotonic() - begun < 20
    hold.set()

"""The local store while another process has it locked: nothing is lost, nobody waits for it, every span is counted."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.core.semconv import CONTENT_SHED
from looopy_otel.core.settings import LocalDestination
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.local import LocalExporter
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.store.sqlite import Store
from tests.export.patience import PATIENCE, soon, until
from tests.export.spans import finished, llm_draft, outgoing


@pytest.fixture(params=["new", "written before"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A database in either journal mode: an empty one has none of ours yet."""
    path = tmp_path / "traces.db"
    if request.param != "new":
        Store(path).close()
    return path


@contextmanager
def locked(path: Path) -> Generator[Callable[[], None]]:
    """Holds the lock as another process would; gives what lets go of it."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield connection.close
    finally:
        connection.close()


def stored_names(path: Path) -> list[str]:
    with Store(path, read_only=True) as store:
        return [span.name for trace in store.traces() for span in store.spans(trace.trace_id)]


def step(name: str) -> None:
    with lo.span(name):
        pass


def test_a_flush_keeps_what_it_cannot_write_and_a_later_one_writes_it(path: Path) -> None:
    with lo.configure(exporters="local", database=path) as telemetry:
        step("one")
        with locked(path):
            flushed = telemetry.flush(0.5)
            assert (flushed.exported, flushed.pending, flushed.dropped) == (0, 1, 0)
            assert "locked" in (telemetry.stats().destinations[0].last_error or "")
        flushed = telemetry.flush(PATIENCE)
        assert (flushed.exported, flushed.pending, flushed.dropped) == (1, 0, 0)
    assert stored_names(path) == ["one"]


def test_a_flush_waits_for_the_lock_as_long_as_it_may(path: Path) -> None:
    with lo.configure(exporters="local", database=path) as telemetry, locked(path) as unlock:
        step("one")

        def unlock_after_a_try() -> None:
            until(lambda: telemetry.stats().destinations[0].last_error is not None)
            unlock()

        helper = threading.Thread(target=unlock_after_a_try)
        helper.start()
        assert telemetry.flush(PATIENCE).exported == 1
        helper.join()


def test_a_shutdown_obeys_its_timeout_and_loses_nothing_silently(path: Path) -> None:
    telemetry = lo.configure(exporters="local", database=path)
    step("one")
    with locked(path):
        begun = time.monotonic()
        result = telemetry.shutdown(0.1)
        assert time.monotonic() - begun < 3
        assert (result.exported, result.pending + result.dropped) == (0, 1)
        until(lambda: dict(telemetry.stats().dropped) == {"shutdown": 1})
        assert telemetry.stats().queued == 0


def test_a_shutdown_writes_what_waits_as_soon_as_the_lock_is_gone(path: Path) -> None:
    telemetry = lo.configure(exporters="local", database=path)
    step("one")
    with locked(path):
        telemetry.flush(0.3)
        assert telemetry.stats().destinations[0].queued == 1
    result = telemetry.shutdown(PATIENCE)
    assert (result.exported, result.pending, result.dropped) == (1, 0, 0)


def test_destinations_behind_it_are_served_meanwhile(path: Path) -> None:
    memory = InMemorySpanExporter()
    with lo.configure(exporters=["local", memory], database=path) as telemetry, locked(path) as unlock:
        for number in range(3):
            step(f"span-{number}")
            telemetry.flush(0.5)
        until(lambda: len(memory.get_finished_spans()) == 3)
        assert telemetry.stats().destinations[0].queued == 3
        unlock()
    assert sorted(stored_names(path)) == ["span-0", "span-1", "span-2"]


def test_the_next_batch_takes_along_what_waits(path: Path) -> None:
    exporter = LocalExporter(LocalDestination(path))
    with locked(path):
        exporter.accept(outgoing("one", "two"))
        exporter.accept(outgoing("three"))
        assert (exporter.stats().queued, exporter.stats().exported) == (3, 0)
        assert not exporter.flush(time.monotonic())
    exporter.accept(outgoing("four"))
    assert (exporter.stats().queued, exporter.stats().exported) == (0, 4)
    assert exporter.flush(time.monotonic())
    exporter.close(time.monotonic())
    assert stored_names(path) == ["one", "two", "three", "four"]


def test_what_waits_is_bounded_in_bytes_and_the_oldest_goes_first(path: Path) -> None:
    memory = MemoryBudget(50_000)
    exporter = LocalExporter(LocalDestination(path), memory)
    with locked(path):
        for number in range(4):
            exporter.accept(outgoing(str(number) * 20_000))
        # Names are cut, which is not enough here.
        assert (exporter.stats().queued, dict(exporter.stats().dropped)) == (2, {"memory-full": 2})
        assert 0 < memory.used <= 50_000
    exporter.close(soon())
    assert [name[0] for name in stored_names(path)] == ["2", "3"]
    assert memory.used == 0


def test_where_memory_is_short_content_goes_before_spans(path: Path) -> None:
    memory = MemoryBudget(8 * 70_000)
    exporter = LocalExporter(LocalDestination(path), memory)
    with locked(path):
        for number in range(6):
            draft = llm_draft(input=[{"role": "user", "content": "x" * 20_000}], output="y" * 20_000)
            exporter.accept([Outgoing(finished(f"span-{number}", {"long": "z" * 600, "short": "kept"}), draft)])
        stats = exporter.stats()
        assert (stats.queued, dict(stats.dropped), dict(stats.content_shed)) == (6, {}, {"memory-full": 5})
        assert memory.used <= 70_000
    exporter.close(soon())
    with Store(path, read_only=True) as store:
        stored = [span for trace in store.traces() for span in store.spans(trace.trace_id)]
    assert [span.name for span in stored] == [f"span-{number}" for number in range(6)]
    light, last = stored[0], stored[-1]
    assert dict(light.attributes) == {"short": "kept", CONTENT_SHED: True}
    assert light.draft is not None
    assert (light.draft.input, light.draft.output) == (None, None)
    assert light.draft.input_shape is not None
    assert light.draft.input_shape.roles == ("user",)
    assert light.draft.input_shape.bytes > 20_000
    assert last.draft is not None
    assert last.draft.output == "y" * 20_000


def test_a_span_that_comes_after_the_close_is_written_or_counted(path: Path) -> None:
    exporter = LocalExporter(LocalDestination(path))
    exporter.close(time.monotonic())
    exporter.accept(outgoing("late"))
    with locked(path):
        exporter.accept(outgoing("later"))
    assert (exporter.stats().exported, dict(exporter.stats().dropped)) == (1, {"shutdown": 1})
    assert stored_names(path) == ["late"]

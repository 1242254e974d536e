from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

import looopy_otel as lo
from looopy_otel.export import post as post_module
from looopy_otel.export import sender as sender_module
from looopy_otel.export.backoff import Backoff
from looopy_otel.export.batch import Batch
from looopy_otel.export.otlp import OTLPExporter
from looopy_otel.export.outbox import Outbox
from looopy_otel.export.verdict import Verdict, judge
from tests.export.patience import PATIENCE, soon, until
from tests.export.spans import destination, outgoing, rejected_files, spooled_files
from tests.support.otlp_sink import Answer, OTLPSink

QUICK = Backoff(first=0.01, most=0.05)
SLOW = Backoff(first=600.0, most=600.0)


class Build(Protocol):
    def __call__(self, url: str, *, backoff: Backoff = ..., **changes: Any) -> OTLPExporter: ...


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    built: list[OTLPExporter] = []

    def make(url: str, *, backoff: Backoff = QUICK, **changes: Any) -> OTLPExporter:
        exporter = OTLPExporter(destination(url, **changes), tmp_path, backoff=backoff)
        built.append(exporter)
        return exporter

    yield make
    for exporter in built:
        exporter.close(time.monotonic())


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("compressed", [True, False])
def test_a_batch_arrives_with_its_headers_and_leaves_no_file(tmp_path: Path, build: Build, compressed: bool) -> None:
    with OTLPSink() as sink:
        exporter = build(sink.traces_url, gzip=compressed, headers={"authorization": "Bearer abcdefgh"})
        exporter.accept(outgoing("one", "two"))
        assert exporter.flush(soon())
        (request,) = sink.requests
        assert [span.name for span in request.spans] == ["one", "two"]
        assert request.path == "/v1/traces"
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["authorization"] == "Bearer abcdefgh"
        assert request.headers["user-agent"].startswith("looopy-otel/")
        assert request.headers.get("content-encoding") == ("gzip" if compressed else None)
        stats = exporter.stats()
        assert (stats.name, stats.exported, stats.spooled, stats.queued, stats.dropped) == ("otlp", 2, 0, 0, {})
        assert stats.last_success == pytest.approx(time.time(), abs=PATIENCE)
    assert spooled_files(tmp_path) == []


def test_a_batch_that_cannot_be_read_for_now_is_sent_later(
    build: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: Callable[..., Any] = Path.open
    tries = iter(range(100))

    def open_later(path: Path, *how: Any, **further: Any) -> Any:
        if path.suffix == ".otlp" and next(tries) < 3:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, *how, **further)

    monkeypatch.setattr(Path, "open", open_later)
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        assert sink.span_names == ["one"]
        assert exporter.stats().dropped == {}
    assert spooled_files(tmp_path) == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_later_is_tried_again_and_arrives_once(build: Build, status: int) -> None:
    with OTLPSink(Answer(status), Answer(status)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        exporter.accept(outgoing("two"))
        assert exporter.flush(soon())
        assert sink.span_names == ["one", "two"]
        assert [request.status for request in sink.requests] == [status, status, 200, 200]
        stats = exporter.stats()
        assert (stats.exported, stats.dropped) == (2, {})
        assert str(status) in (stats.last_error or "")


def test_a_connection_that_is_reset_is_tried_again(build: Build) -> None:
    with OTLPSink(Answer(drop=True)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        assert sink.span_names == ["one"]


def test_an_endpoint_that_never_answers_is_given_up_after_the_timeout(build: Build) -> None:
    hold = threading.Event()
    with OTLPSink(Answer(hold=hold)) as sink:
        exporter = build(sink.traces_url, timeout=0.1)
        exporter.accept(outgoing("one"))
        sink.wait_for_requests(2)
        assert "no answer within 0.1 s" in (exporter.stats().last_error or "")
        hold.set()


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_what_will_never_be_accepted_is_set_aside_and_counted(tmp_path: Path, build: Build, status: int) -> None:
    with OTLPSink(Answer(status)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one", "two"))
        exporter.accept(outgoing("three"))
        assert exporter.flush(soon())
        assert sink.span_names == ["three"]
        stats = exporter.stats()
        assert (stats.exported, dict(stats.dropped)) == (1, {f"http-{status}": 2})
    assert len(rejected_files(tmp_path)) == 1


def test_no_secret_stands_in_errors_logs_and_file_names(
    tmp_path: Path, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    token = b64encode(b"pk-lf-public:sk-lf-secret").decode()
    with OTLPSink() as sink:
        sink.answer(then=Answer(401, body=f"unknown key sk-lf-secret in Basic {token}".encode()))
        exporter = build(sink.traces_url, headers={"authorization": f"Basic {token}"})
        with caplog.at_level(logging.WARNING, "looopy_otel"):
            exporter.accept(outgoing("one"))
            assert exporter.flush(soon())
    error = exporter.stats().last_error or ""
    assert "401" in error
    names = " ".join(str(path) for path in tmp_path.rglob("*"))
    for text in (error, caplog.text, names, repr(exporter.stats())):
        assert "sk-lf-secret" not in text
        assert token not in text


def test_the_log_says_what_is_wrong_and_does_not_flood(build: Build, caplog: pytest.LogCaptureFixture) -> None:
    with OTLPSink() as sink, caplog.at_level(logging.WARNING, "looopy_otel"):
        sink.answer(then=Answer(401))
        exporter = build(sink.traces_url)
        for _ in range(5):
            exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
    assert len(caplog.records) == 1
    assert "the keys are wrong or missing" in caplog.text


def test_retry_after_is_obeyed_even_in_a_hurry(build: Build) -> None:
    with OTLPSink(Answer(429, {"retry-after": "0.4"})) as sink:
        exporter = build(sink.traces_url, backoff=SLOW)
        begun = time.monotonic()
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        assert time.monotonic() - begun >= 0.4
        assert sink.span_names == ["one"]


def test_a_wait_of_nothing_is_no_leave_to_hammer(build: Build) -> None:
    with OTLPSink() as sink:
        sink.answer(then=Answer(503, {"retry-after": "0"}))
        exporter = build(sink.traces_url, backoff=SLOW)
        exporter.accept(outgoing("one"))
        until(lambda: exporter.stats().state == "retrying")
        assert not exporter.flush(time.monotonic() + 0.3)
        assert len(sink.requests) <= 2


def test_a_fault_in_judging_an_answer_costs_no_span(
    build: Build, swallowed_faults: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [KeyError("an answer as none before")]

    def broken(*what: Any, **further: Any) -> Verdict:
        if left:
            raise left.pop()
        return judge(*what, **further)

    monkeypatch.setattr(post_module, "judge", broken)
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        assert (exporter.stats().exported, exporter.stats().dropped) == (1, {})
    assert swallowed_faults == {"export.sender": 1}


def test_a_flush_cuts_a_long_pause_short(build: Build) -> None:
    with OTLPSink(Answer(503)) as sink:
        exporter = build(sink.traces_url, backoff=SLOW)
        exporter.accept(outgoing("one"))
        until(lambda: exporter.stats().last_error is not None)
        assert exporter.flush(soon())
        assert sink.span_names == ["one"]


def test_a_dead_endpoint_costs_disk_and_after_its_return_everything_arrives_in_order(
    tmp_path: Path, build: Build
) -> None:
    port = unused_port()
    exporter = build(f"http://127.0.0.1:{port}/v1/traces")
    names = [f"span-{number}" for number in range(20)]
    for name in names:
        exporter.accept(outgoing(name))
    until(lambda: exporter.stats().last_error is not None)
    assert not exporter.flush(time.monotonic() + 0.05)
    assert exporter.stats().spooled == 20
    assert "no connection" in (exporter.stats().last_error or "")
    with OTLPSink(port=port) as sink:
        assert exporter.flush(soon())
        assert sink.span_names == names
    assert exporter.stats().dropped == {}
    assert spooled_files(tmp_path) == []


def test_closing_with_a_dead_endpoint_does_not_wait_for_it_since_all_is_on_disk(tmp_path: Path, build: Build) -> None:
    exporter = build(f"http://127.0.0.1:{unused_port()}/v1/traces", backoff=SLOW)
    exporter.accept(outgoing("one"))
    begun = time.monotonic()
    exporter.close(begun + 60)
    assert time.monotonic() - begun < 30
    assert len(spooled_files(tmp_path)) == 1
    assert (exporter.stats().spooled, exporter.stats().dropped) == (1, {})


def test_closing_does_not_wait_where_the_endpoint_has_asked_to(tmp_path: Path, build: Build) -> None:
    with OTLPSink() as sink:
        sink.answer(then=Answer(429, {"retry-after": "200"}))
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        until(lambda: exporter.stats().state == "retrying")
        begun = time.monotonic()
        exporter.close(begun + 60)
        assert time.monotonic() - begun < 30
        assert len(sink.requests) == 1
    assert len(spooled_files(tmp_path)) == 1


def test_closing_obeys_its_deadline_while_the_endpoint_stalls(tmp_path: Path, build: Build) -> None:
    hold = threading.Event()
    with OTLPSink(Answer(hold=hold)) as sink:
        exporter = build(sink.traces_url, timeout=60.0)
        exporter.accept(outgoing("one"))
        sink.wait_for_requests(1)
        begun = time.monotonic()
        exporter.close(begun + 0.2)
        assert 0.2 <= time.monotonic() - begun < 10
        assert len(spooled_files(tmp_path)) == 1
        hold.set()


def test_without_a_writable_spool_batches_wait_in_memory_and_it_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    port = unused_port()
    exporter = OTLPExporter(destination(f"http://127.0.0.1:{port}/v1/traces"), tmp_path / "file", backoff=QUICK)
    exporter.accept(outgoing("one"))
    exporter.accept(outgoing("two"))
    assert (exporter.stats().queued, exporter.stats().spooled) == (2, 0)
    # The endpoint's failures do not cover up what is wrong with the disk.
    until(lambda: "no connection" in (exporter.stats().last_error or ""))
    assert (exporter.stats().last_error or "").startswith("spans wait in memory")
    assert len([record for record in caplog.records if "spans wait in memory" in record.message]) == 1
    with OTLPSink(port=port) as sink:
        assert exporter.flush(soon())
        assert sink.span_names == ["one", "two"]
    exporter.close(soon())


def test_what_an_earlier_exporter_left_is_sent_first(tmp_path: Path, build: Build) -> None:
    port = unused_port()
    earlier = build(f"http://127.0.0.1:{port}/v1/traces", backoff=SLOW)
    earlier.accept(outgoing("one"))
    earlier.close(soon())
    later = build(f"http://127.0.0.1:{port}/v1/traces")
    with OTLPSink(port=port) as sink:
        later.accept(outgoing("two"))
        assert later.flush(soon())
        assert sink.span_names == ["one", "two"]
    assert spooled_files(tmp_path) == []


def left_behind(build: Build, url: str, name: str) -> None:
    """Leaves a batch as a configuration does whose last span ends after it was replaced."""
    replaced = build(url)
    replaced.close(soon())
    replaced.accept(outgoing(name))


@pytest.mark.parametrize("end", ["flush", "close"])
def test_what_is_left_behind_later_is_sent_at_a_flush_and_at_the_close(tmp_path: Path, build: Build, end: str) -> None:
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        left_behind(build, sink.traces_url, "late")
        assert sink.span_names == ["one"]
        getattr(exporter, end)(soon())
        assert sink.span_names == ["one", "late"]
    assert spooled_files(tmp_path) == []


def test_what_is_left_behind_is_sent_by_a_sender_that_has_nothing_of_its_own(tmp_path: Path, build: Build) -> None:
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        left_behind(build, sink.traces_url, "late")
        assert exporter.flush(soon())
        assert sink.span_names == ["late"]
    assert spooled_files(tmp_path) == []


def test_an_idle_sender_looks_for_what_is_left_behind(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "ADOPT_SECONDS", 0.02)
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        left_behind(build, sink.traces_url, "late")
        sink.wait_for(2)
        assert sink.span_names == ["one", "late"]


def test_a_busy_sender_looks_for_what_is_left_behind(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "ADOPT_SECONDS", 0.5)
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
        left_behind(build, sink.traces_url, "late")

        def arrives() -> bool:
            exporter.accept(outgoing("one"))
            return "late" in sink.span_names

        until(arrives)


def test_a_span_that_ends_under_the_next_configuration_is_sent_by_it(tmp_path: Path) -> None:
    with OTLPSink() as sink:

        def configured() -> lo.Telemetry:
            return lo.configure(exporters="otlp", otlp_endpoint=sink.url, spool_directory=tmp_path)

        configured()
        outliving = lo.span("outliving")
        outliving.__enter__()
        with configured() as second:
            outliving.__exit__(None, None, None)
            second.flush(PATIENCE)
            assert sink.span_names == ["outliving"]


def test_a_partial_success_counts_what_was_left_out(build: Build) -> None:
    body = b"\x0a\x0b\x08\x01\x12\x07too old"
    with OTLPSink(Answer(200, body=body)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one", "two", "three"))
        assert exporter.flush(soon())
        stats = exporter.stats()
        assert (stats.exported, dict(stats.dropped)) == (2, {"partial-success": 1})
        assert "too old" in (stats.last_error or "")


def test_no_more_is_left_out_than_was_sent(build: Build) -> None:
    with OTLPSink(Answer(200, body=b"\x0a\x03\x08\xe8\x07")) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one", "two"))
        assert exporter.flush(soon())
        assert (exporter.stats().exported, exporter.stats().dropped) == (0, {"partial-success": 2})


def test_what_was_delivered_is_counted_before_it_is_gone(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    acknowledge = Outbox.acknowledge

    def looking(outbox: Outbox, batch: Batch) -> None:
        seen.append(exporter.stats().exported)
        acknowledge(outbox, batch)

    monkeypatch.setattr(Outbox, "acknowledge", looking)
    with OTLPSink() as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert exporter.flush(soon())
    assert seen == [1]


def test_two_projects_at_one_host_have_two_directories_and_a_new_secret_key_keeps_its_own(
    tmp_path: Path, build: Build
) -> None:
    def basic(pair: str) -> dict[str, str]:
        return {"authorization": f"Basic {b64encode(pair.encode()).decode()}"}

    port = unused_port()
    for pair in ("pk-a:sk-1", "pk-b:sk-2", "pk-a:sk-3"):
        exporter = build(f"http://127.0.0.1:{port}/v1/traces", headers=basic(pair), backoff=SLOW)
        exporter.accept(outgoing("one"))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_missing_ca_bundle_is_told(tmp_path: Path, build: Build) -> None:
    exporter = build("https://127.0.0.1:1/v1/traces", certificate=str(tmp_path / "missing.pem"))
    exporter.accept(outgoing("one"))
    until(lambda: exporter.stats().last_error is not None)
    assert "FileNotFoundError" in (exporter.stats().last_error or "")
    assert exporter.stats().spooled == 1


def test_no_thread_runs_before_the_first_batch(build: Build) -> None:
    before = set(threading.enumerate())

    def started() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread not in before]

    exporter = build(f"http://127.0.0.1:{unused_port()}/v1/traces")
    assert exporter.flush(soon())
    assert started() == []
    exporter.accept(outgoing("one"))
    assert started() == ["looopy-otel-otlp"]
    exporter.close(soon())
    assert started() == []


def test_where_no_thread_may_start_flushing_ships_on_its_own_thread(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("looopy-otel"):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with OTLPSink(Answer(503)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing("one"))
        assert len(spooled_files(tmp_path)) == 1
        assert exporter.flush(soon())
        assert sink.span_names == ["one"]
        exporter.accept(outgoing("two"))
        exporter.close(soon())
        assert sink.span_names == ["one", "two"]

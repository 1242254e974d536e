"""Celery, with a real worker and its prefork pool, whose processes run no exit handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.core.identity import current_identity
from looopy_otel.testing import CapturedSpans, capture_spans
from tests.process_life.running import PATIENCE, ROOT, SPANS
from tests.support.otlp_sink import OTLPSink

pytest.importorskip("celery")

PLAIN = {f"plain-{number}" for number in [*range(SPANS), 100, 200]}
NAMES = PLAIN | {"plain", "sender", "again-0", "again-1", "second-100"}


@contextmanager
def worker(directory: Path, environment: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """A worker with two processes that is ready for work; ended by SIGTERM when the block ends."""
    log = directory / "worker.log"
    command = ["-m", "celery", "-A", "tests.process_life.tasks", "worker", "-P", "prefork", "-c", "2", "-l", "INFO"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait_for(process, log, "ready.", 1)
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], log: Path, word: str, times: int) -> None:
    deadline = time.monotonic() + PATIENCE / 2
    while log.read_text().count(word) < times:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_tasks_go_on_from_where_they_were_sent_and_all_is_delivered(tmp_path: Path) -> None:
    broker = tmp_path / "broker"
    broker.mkdir()
    with OTLPSink() as sink:
        environment = {
            **os.environ,
            "BROKER": str(broker),
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "LOOOPY_OTEL_EXPORT_DELAY": "3600",
        }
        with worker(tmp_path, environment) as process:
            sending = [sys.executable, "-c", "from tests.process_life.tasks import main; main()"]
            subprocess.run(sending, cwd=ROOT, env=environment, check=True, timeout=PATIENCE)
            wait_for(process, tmp_path / "worker.log", "succeeded in", SPANS + 4)
        spans = sink.spans
    assert {span.name for span in spans} == NAMES
    assert len({span.span_id for span in spans}) == len(spans) == 2 * len(PLAIN) + 4
    (sender,) = [span for span in spans if span.name == "sender"]
    inside = [span for span in spans if span.trace_id == sender.trace_id and span is not sender]
    assert {span.name for span in inside} == NAMES - {"sender", "plain-200"}
    tops = [span for span in inside if not span.name.startswith("plain-")]
    assert {span.parent_id for span in tops} == {sender.span_id}
    assert {span.attributes.get("session.id") for span in inside} == {"s-1"}
    assert {span.attributes.get("user.id") for span in inside} == {"u-1"}
    (outside,) = [span for span in spans if span.name == "plain-200"]
    assert "session.id" not in outside.attributes


@pytest.fixture
def spans() -> Iterator[CapturedSpans]:
    with capture_spans() as captured:
        yield captured
    lo.uninstrument("celery")


def sent(**headers: Any) -> dict[str, Any]:
    """The headers with which a message goes out from here."""
    signals: Any = import_module("celery.signals")
    signals.before_task_publish.send(sender="task", headers=headers)
    return headers


def ran(headers: dict[str, Any], name: str) -> None:
    """Runs a task of that message, which makes a span."""
    signals: Any = import_module("celery.signals")
    task = SimpleNamespace(request=SimpleNamespace(**headers))
    signals.task_prerun.send(sender=name, task_id=name, task=task)
    with lo.span(name):
        pass
    signals.task_postrun.send(sender=name, task_id=name, task=task)


def test_a_trace_of_others_is_gone_on_from(spans: CapturedSpans) -> None:
    lo.instrument_celery()
    ran({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}, "theirs")
    parent = spans.span("theirs").parent
    assert parent is not None
    assert (parent.trace_id, parent.span_id) == (int("ab" * 16, 16), int("cd" * 8, 16))


@pytest.mark.parametrize("wrong", [{}, {"looopy.trace": 5}, {"looopy.trace": {"traceparent": 5}}, {"traceparent": "x"}])
def test_what_cannot_be_read_begins_a_trace(spans: CapturedSpans, wrong: dict[str, Any]) -> None:
    lo.instrument_celery()
    ran(wrong, "new")
    assert spans.span("new").parent is None


def test_the_identity_stays_here_where_that_is_asked_for(spans: CapturedSpans) -> None:
    lo.instrument_celery(identity=False)
    with lo.session(session_id="s-1", user_id="u-1"), lo.span("sender"):
        headers = sent()
    assert "s-1" not in str(headers)
    assert "u-1" not in str(headers)
    ran(headers, "inside")
    assert spans.outline() == ["sender", "  inside"]


@pytest.mark.parametrize("identity", [True, False])
def test_the_project_of_the_session_goes_along(spans: CapturedSpans, identity: bool) -> None:
    lo.instrument_celery(identity=identity)
    with lo.session(project="tenant-a"):
        headers = sent()
    signals: Any = import_module("celery.signals")
    task = SimpleNamespace(request=SimpleNamespace(**headers))
    signals.task_prerun.send(sender="task", task_id="1", task=task)
    assert current_identity().project == "tenant-a"
    signals.task_postrun.send(sender="task", task_id="1", task=task)
    assert current_identity().project is None


def test_a_message_that_goes_out_again_keeps_its_trace(spans: CapturedSpans) -> None:
    lo.instrument_celery()
    with lo.span("sender"):
        headers = sent()
    with lo.span("other"):
        assert sent(**headers) == headers


def test_uninstrument(spans: CapturedSpans) -> None:
    lo.instrument_celery()
    lo.instrument_celery()
    lo.uninstrument("celery")
    with lo.span("sender"):
        assert sent() == {}

"""The end of a process, in all its ways; and that nothing starts before there is something to do."""

from __future__ import annotations

import time

import pytest

from tests.process_life.running import arrived, black_hole, names, refusing, run
from tests.support.otlp_sink import OTLPSink

NEVER = {"LOOOPY_OTEL_EXPORT_DELAY": "3600"}
SOON = {"LOOOPY_OTEL_EXPORT_DELAY": "0.1"}
STRICT = ("-X", "dev", "-W", "error")


@pytest.mark.parametrize(
    ("mode", "code", "expected"),
    [
        ("ending", 0, names("last")),
        ("sys_exit", 3, names("last")),
        ("unhandled", 1, names("last") | {"failing"}),
        ("under_asyncio", 0, names("last")),
        ("in_exit_handlers", 0, names("late")),
        ("first_in_exit_handler", 0, names("late")),
        ("thread_pool", 0, names("work")),
    ],
)
def test_everything_is_delivered(mode: str, code: int, expected: set[str]) -> None:
    with OTLPSink() as sink:
        _, err = run("lives", mode, sink.url, code=code, options=STRICT, environment=NEVER)
        assert arrived(sink) == expected
    assert "Warning" not in err
    assert "can't start new thread" not in err


def test_daemon_threads_that_go_on_do_no_harm() -> None:
    with OTLPSink() as sink:
        _, err = run("lives", "in_daemon_threads", sink.url, options=STRICT, environment=NEVER)
        assert set(sink.span_names) >= names(*(f"before-{number}" for number in range(4)))
    assert "Traceback" not in err
    assert "Warning" not in err


def test_after_the_batch_delay_all_is_delivered_or_on_disk() -> None:
    with OTLPSink() as sink:
        run("lives", "os_exit", sink.url, environment=SOON)
        assert arrived(sink) == names("last")


def test_what_was_on_disk_is_delivered_by_the_next_start() -> None:
    url = refusing()
    run("lives", "os_exit", url, environment=SOON)
    with OTLPSink(port=int(url.rpartition(":")[2])) as sink:
        run("lives", "thread_pool", sink.url)
        assert arrived(sink) == names("last", "work")


def test_threads_start_at_the_first_span() -> None:
    with OTLPSink() as sink:
        out, _ = run("lives", "thread_counts", sink.url)
    assert out.split() == ["0", "0", "True", "0"]


@pytest.mark.parametrize("backend", ["black hole", "refusing"])
def test_dead_destinations_cost_the_timeout_at_most(backend: str) -> None:
    with black_hole() as silent:
        url = silent if backend == "black hole" else refusing()
        took = {mode: _seconds(mode, url) for mode in ("untraced", "two_dead")}
    assert took["two_dead"] - took["untraced"] < 2.0 + 1.5, took


def _seconds(mode: str, url: str) -> float:
    begun = time.monotonic()
    _, err = run("lives", mode, url)
    assert "Traceback" not in err
    return time.monotonic() - begun

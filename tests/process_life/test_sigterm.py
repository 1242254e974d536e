"""SIGTERM with ``handle_sigterm=True``: all is delivered, and the process ends by the signal."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.process_life.running import PATIENCE, arrived, black_hole, names, refusing, run, start
from tests.support.otlp_sink import OTLPSink

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals of POSIX")

NEVER = {"LOOOPY_OTEL_EXPORT_DELAY": "3600"}
"""Without the work at the end no span would leave the queue."""


def terminated(mode: str, url: str) -> tuple[subprocess.Popen[str], str, float]:
    """Runs a program, sends the signal when it is ready; gives its process, standard error, and seconds to the end."""
    with start("terminated", mode, url, environment=NEVER) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=PATIENCE)
    return process, err, time.monotonic() - begun


def test_all_is_delivered_and_the_process_ends_by_the_signal() -> None:
    with OTLPSink() as sink:
        process, err, _ = terminated("sleeping", sink.url)
        assert process.returncode == -signal.SIGTERM
        assert arrived(sink) >= names("done")
        assert err == ""


def test_an_open_generator_is_ended_as_at_exit() -> None:
    with OTLPSink() as sink:
        process, _, _ = terminated("generating", sink.url)
        assert process.returncode == -signal.SIGTERM
        assert arrived(sink) == {"generator"}


@pytest.mark.parametrize("mode", ["unasked", "after_shutdown"])
def test_nothing_is_installed_where_it_was_not_asked_for_or_is_over(mode: str) -> None:
    process, err, _ = terminated(mode, refusing())
    assert process.returncode == -signal.SIGTERM
    assert err == ""


def test_a_configuration_that_replaced_another_delivers() -> None:
    with OTLPSink() as sink:
        process, _, _ = terminated("reconfigured", sink.url)
        assert process.returncode == -signal.SIGTERM
        assert arrived(sink) == names("done")


def test_a_backend_that_never_answers_costs_the_timeout_at_most() -> None:
    with black_hole() as url:
        process, _, seconds = terminated("short", url)
        assert process.returncode == -signal.SIGTERM
        assert seconds < 3.0
    with OTLPSink(port=int(url.rpartition(":")[2])) as sink:
        run("lives", "ending", sink.url)
        assert arrived(sink) == names("done", "last")


@pytest.mark.parametrize(
    "mode",
    ["holding_our_lock", "holding_the_logging_lock", "in_exit_handler", "awaiting_threads"],
)
def test_wherever_the_main_thread_is(mode: str) -> None:
    with OTLPSink() as sink:
        _, err = run("terminated", mode, sink.url, code=-signal.SIGTERM, environment=NEVER)
        assert arrived(sink) == names("done")
        assert "Traceback" not in err


@pytest.mark.parametrize("mode", ["in_our_exit_handler"])
def test_while_the_exit_is_under_way(mode: str) -> None:
    with black_hole() as url:
        begun = time.monotonic()
        run("terminated", mode, url, code=-signal.SIGTERM, environment=NEVER)
        assert time.monotonic() - begun < 20.0
    with OTLPSink(port=int(url.rpartition(":")[2])) as sink:
        run("lives", "ending", sink.url)
        assert arrived(sink) == names("done", "last")


def test_while_the_main_thread_shuts_down() -> None:
    with black_hole() as url:
        begun = time.monotonic()
        run("terminated", "shutting_down", url, code=-signal.SIGTERM, environment=NEVER)
        assert time.monotonic() - begun < 20.0


def test_many_times_under_load() -> None:
    for _ in range(8):
        with OTLPSink() as sink:
            process, err, _ = terminated("under_load", sink.url)
            assert process.returncode == -signal.SIGTERM
            assert "Traceback" not in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_delivers_what_is_its_own() -> None:
    with OTLPSink() as sink:
        process, _, _ = terminated("in_forked_child", sink.url)
        assert process.returncode == -signal.SIGTERM
        assert arrived(sink) == names("parent", "child")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_workers_of_a_pool_that_is_terminated_deliver() -> None:
    with OTLPSink() as sink:
        run("terminated", "terminated_pool", sink.url, environment=NEVER)
        assert arrived(sink) == names("pool")


def test_another_thread_cannot_handle_it_and_is_told_so() -> None:
    _, err = run("terminated", "in_another_thread", refusing())
    assert "handle_sigterm=True has no effect: handlers of signals are set in the main thread only" in err


def test_a_handler_of_the_program_stays() -> None:
    with OTLPSink() as sink:
        _, err = run("terminated", "with_a_handler", sink.url, code=7, environment=NEVER)
        assert arrived(sink) == names("done")
    assert "handle_sigterm=True has no effect: SIGTERM has a handler already" in err


def test_where_the_signal_does_not_end_the_process_its_exit_code_says_so() -> None:
    with OTLPSink() as sink:
        process, _, _ = terminated("blocked_signal", sink.url)
        assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
        assert arrived(sink) == names("done")

"""A real collector that is killed, frozen and stopped under load: what was made arrives at what stands behind it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.patience import until
from tests.faults.application import Application, Calls, deliver_what_is_left
from tests.faults.test_endpoints import SHUTDOWN_SECONDS, SLACK_SECONDS, assert_unhindered
from tests.support.collector import Collector
from tests.support.fault_server import FaultServer

PAUSE = 0.002
BETWEEN = 100


@pytest.fixture
def behind() -> Iterator[FaultServer]:
    """What the collector sends to: stands for Langfuse."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def collector(tmp_path: Path, behind: FaultServer) -> Iterator[Collector]:
    with Collector(tmp_path, behind.url) as running:
        yield running


def application(collector: Collector, spool: Path) -> Application:
    return Application(collector.url, spool, shutdown_timeout=SHUTDOWN_SECONDS)


def ids(*calls: Calls) -> set[str]:
    return {one for made in calls for one in made.ids}


@pytest.mark.parametrize("end", ["killed", "stopped"])
def test_a_collector_that_restarts_under_load_gets_everything(
    tmp_path: Path, behind: FaultServer, collector: Collector, end: str
) -> None:
    with application(collector, tmp_path / "spool") as running:
        before = running.calls(BETWEEN, pause=PAUSE)
        running.flush_until_empty()
        made = [before]
        for _ in range(2):
            made.append(running.calls(BETWEEN, pause=PAUSE))
            if end == "killed":
                collector.kill()
            else:
                collector.stop()
            during = running.calls(BETWEEN, pause=PAUSE)
            assert_unhindered(before, during)
            until(lambda: running.stats()["last_error"] is not None)
            collector.start()
            made += [during, running.calls(BETWEEN, pause=PAUSE)]
        running.flush_until_empty()
        said = running.stats()
        assert (said["dropped"], said["errors"]) == ({}, {})
        collector.kill()
        made.append(running.calls(BETWEEN, pause=PAUSE))
        assert running.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS
    collector.start()
    deliver_what_is_left(collector.url, tmp_path / "spool")
    behind.wait_for(ids(*made))
    assert None not in {behind.accepted[one] for one in ids(*made)}


def test_a_frozen_collector_holds_nobody_up(tmp_path: Path, behind: FaultServer, collector: Collector) -> None:
    with application(collector, tmp_path / "spool") as running:
        before = running.calls(BETWEEN, pause=PAUSE)
        running.flush_until_empty()
        os.kill(collector.pid, signal.SIGSTOP)
        try:
            during = running.calls(BETWEEN, pause=PAUSE)
            assert_unhindered(before, during)
            until(lambda: running.stats()["last_error"] is not None)
        finally:
            os.kill(collector.pid, signal.SIGCONT)
        running.flush_until_empty()
        os.kill(collector.pid, signal.SIGSTOP)
        try:
            last = running.calls(BETWEEN, pause=PAUSE)
            assert running.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS
        finally:
            os.kill(collector.pid, signal.SIGCONT)
    deliver_what_is_left(collector.url, tmp_path / "spool")
    behind.wait_for(ids(before, during, last))

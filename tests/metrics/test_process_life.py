"""Metrics of processes that fork, and of processes that end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from looopy_otel.core import semconv
from tests.metrics.points import metrics, point, points_of, resource
from tests.metrics.workload import COST
from tests.support.otlp_sink import OTLPSink

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0


def start(mode: str, url: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.metrics.process", mode, url]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def run(mode: str, url: str) -> None:
    with start(mode, url) as process:
        assert process.wait(PATIENCE) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_counts_from_zero_as_an_instance_of_its_own(sink: OTLPSink) -> None:
    run("forked", sink.url)
    costs: dict[str, float] = defaultdict(float)
    for request in sink.metric_requests:
        for metric in (metric for name, metric in metrics(request).items() if name == semconv.METRIC_COST):
            instance = resource(request)[semconv.SERVICE_INSTANCE_ID]
            costs[instance] = max(costs[instance], sum(one.value for one in points_of(metric)))
    assert sorted(costs.values()) == [float(2 * COST), float(4 * COST)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_hold_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(port))
    with start("forked_with_port", "http://127.0.0.1:9") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"forked\n"
        assert process.wait(PATIENCE) == 0
        socket.create_server(("127.0.0.1", port)).close()
        # The child, which outlives its parent, ends with its standard input.


@pytest.mark.parametrize("mode", ["exiting", "first_call_at_exit"])
def test_what_is_measured_at_the_end_is_pushed(sink: OTLPSink, mode: str) -> None:
    run(mode, sink.url)
    assert point(sink, semconv.METRIC_COST).value == float(COST)


def test_a_dead_endpoint_does_not_block_the_exit() -> None:
    begun = time.monotonic()
    run("exiting", "http://127.0.0.1:9")
    assert time.monotonic() - begun < PATIENCE / 2

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from looopy_otel.export.backoff import Backoff
from looopy_otel.export.circuit import OPENS_AFTER, Circuit
from looopy_otel.export.otlp import OTLPExporter
from tests.export.patience import PATIENCE, soon, until
from tests.export.spans import destination, outgoing
from tests.support.fault_server import (
    Fault,
    FaultServer,
    answering,
    closing,
    deaf,
    dripping,
    garbage,
    resetting,
    stalling,
    stalling_after_headers,
    stalling_in_headers,
)

QUICK = Backoff(first=0.01, most=0.02)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def test_a_circuit_opens_after_failures_in_a_row_and_closes_at_an_answer() -> None:
    circuit = Circuit(QUICK)
    assert (circuit.state, circuit.since) == ("ok", None)
    for number in range(1, OPENS_AFTER + 3):
        assert 0 < circuit.failed() <= QUICK.most
        assert circuit.state == ("open" if number >= OPENS_AFTER else "retrying")
    opened = circuit.since
    assert opened == pytest.approx(time.time(), abs=PATIENCE)
    circuit.failed()
    assert circuit.since == opened
    assert circuit.failed(wait=7.5) == 7.5
    assert circuit.failed(wait=0.0) > 0
    circuit.answered()
    assert (circuit.state, circuit.is_open) == ("ok", False)
    assert circuit.failed() <= QUICK.first


def test_the_stats_say_how_an_endpoint_is(tmp_path: Path, server: FaultServer) -> None:
    server.fault = answering(503)
    exporter = OTLPExporter(destination(server.traces_url), tmp_path, backoff=QUICK)
    assert (exporter.stats().state, exporter.stats().state_since) == ("ok", None)
    exporter.accept(outgoing("one"))
    until(lambda: exporter.stats().state == "open")
    assert exporter.stats().state_since is not None
    server.fault = answering(200)
    assert exporter.flush(soon())
    assert exporter.stats().state == "ok"
    exporter.close(soon())


def test_an_open_circuit_is_probed_once_a_pause_however_much_arrives_and_a_flush_tries_once(
    tmp_path: Path, server: FaultServer
) -> None:
    server.fault = refuse = answering(503)
    exporter = OTLPExporter(destination(server.traces_url), tmp_path, backoff=Backoff(first=600.0, most=600.0))
    for tries in range(1, OPENS_AFTER + 1):
        exporter.accept(outgoing("one"))
        server.wait_for_requests(tries, refuse)
        exporter.flush(time.monotonic())
    until(lambda: exporter.stats().state == "open")
    until(lambda: not exporter.flush(time.monotonic()))
    came = server.requests()
    for _ in range(50):
        exporter.accept(outgoing("more"))
    assert server.requests() <= came + 1
    server.fault = answering(200)
    assert exporter.flush(soon())
    exporter.close(soon())


FAULTS = {
    "stalling": stalling,
    "deaf": deaf,
    "stalling in headers": stalling_in_headers,
    "stalling after headers": stalling_after_headers(503),
    "dripping": dripping(0.02),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_whole_request_keeps_one_time_limit(tmp_path: Path, server: FaultServer, name: str) -> None:
    server.fault = FAULTS[name]
    exporter = OTLPExporter(destination(server.traces_url, timeout=0.3), tmp_path, backoff=QUICK)
    exporter.accept(outgoing("one"))
    until(lambda: "no answer within 0.3 s" in (exporter.stats().last_error or ""))
    assert exporter.stats().spooled == 1
    server.fault = answering(200)
    server.cut()
    assert exporter.flush(soon())
    assert exporter.stats().exported == 1
    exporter.close(soon())


@pytest.mark.parametrize("fault", [resetting, closing, garbage])
def test_a_broken_connection_is_tried_again(tmp_path: Path, server: FaultServer, fault: Fault) -> None:
    server.fault = fault
    exporter = OTLPExporter(destination(server.traces_url), tmp_path, backoff=QUICK)
    exporter.accept(outgoing("one"))
    until(lambda: "no connection" in (exporter.stats().last_error or ""))
    server.fault = answering(200)
    assert exporter.flush(soon())
    assert (exporter.stats().exported, exporter.stats().dropped) == (1, {})
    exporter.close(soon())


def test_closing_does_not_wait_for_an_endpoint_that_drips(tmp_path: Path, server: FaultServer) -> None:
    server.fault = dripping(0.02)
    exporter = OTLPExporter(destination(server.traces_url, timeout=60.0), tmp_path, backoff=QUICK)
    exporter.accept(outgoing("one"))
    server.wait_for_requests(1)
    begun = time.monotonic()
    exporter.close(begun + 0.2)
    assert time.monotonic() - begun < 10
    server.cut()
    until(lambda: not any(thread.name == "looopy-otel-otlp" for thread in threading.enumerate()))

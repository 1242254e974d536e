"""Whatever the endpoint does: calls go on, memory and exit stay bounded, and every span arrives or is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tests.export.patience import until
from tests.faults.application import Application, Calls, deliver_what_is_left
from tests.support.fault_server import (
    Fault,
    FaultServer,
    answering,
    closing,
    deaf,
    dripping,
    garbage,
    healthy,
    limited,
    refusing,
    resetting,
    stalling,
    stalling_after_headers,
    stalling_in_headers,
)

MIB = 1024 * 1024
CALLS = 150
PAUSE = 0.002
SHUTDOWN_SECONDS = 2.0
SLACK_SECONDS = 3.0
"""What a busy machine may add to a deadline: the start of threads, the end of the interpreter."""
MEMORY_GROWTH = 40 * MIB

BAD_MODEL = "a-model-that-nobody-takes"

PASSING: dict[str, Fault] = {
    "answers 408": answering(408),
    "answers 429": answering(429),
    "answers 429 with Retry-After": answering(429, {"retry-after": "1"}),
    "answers 500": answering(500),
    "answers 502": answering(502, {"content-type": "text/html"}, b"<html>Bad Gateway</html>"),
    "answers 503": answering(503),
    "answers 503 with an absurd Retry-After": answering(503, {"retry-after": "-1e999"}),
    "does not read": deaf,
    "stalls before headers": stalling,
    "stalls in headers": stalling_in_headers,
    "stalls after headers of a refusal": stalling_after_headers(503),
    "drips headers": dripping(0.05),
    "resets in the body": resetting,
    "closes at once": closing,
    "answers garbage": garbage,
}
"""Faults after which everything has to arrive."""

FINAL: dict[str, tuple[Fault, str]] = {
    "answers 401": (answering(401), "http-401"),
    "answers 403": (answering(403), "http-403"),
    "answers 404": (answering(404), "http-404"),
    "redirects": (answering(308, {"location": "https://127.0.0.1:1/"}), "http-308"),
}
"""Refusals for good: what they meet is lost, and counted under a reason."""


def is_bad(span: WireSpan) -> bool:
    return any(pair.value.string_value == BAD_MODEL for pair in span.attributes)


@dataclass(frozen=True)
class Scene:
    """One server and the one spool that all its clients share."""

    server: FaultServer
    spool: Path

    def application(self) -> Application:
        return Application(self.server.url, self.spool, shutdown_timeout=SHUTDOWN_SECONDS)

    def missing(self, *calls: Calls) -> set[str]:
        return {one for made in calls for one in made.ids} - self.server.accepted.keys()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with FaultServer() as server:
        yield Scene(server, tmp_path / "spool")


def assert_unhindered(healthy_calls: Calls, faulty_calls: Calls) -> None:
    """The 99th percentile is about as in the healthy case; a call that had waited for the network would show."""
    ordinary, now = healthy_calls.quantile(0.99), faulty_calls.quantile(0.99)
    assert now < max(10 * ordinary, 0.1), f"p99 {now * 1e3:.2f} ms, healthy {ordinary * 1e3:.2f} ms"


def fail(server: FaultServer, fault: Fault | None) -> None:
    if fault is None:
        server.stop_listening()
    else:
        server.fault = fault


def heal(server: FaultServer, fault: Fault | None) -> None:
    if fault is None:
        server.listen()
    server.fault = healthy


@pytest.mark.parametrize(
    "fault", [pytest.param(None, id="refuses"), *(pytest.param(f, id=n) for n, f in PASSING.items())]
)
def test_a_fault_that_passes_costs_nothing(scene: Scene, fault: Fault | None) -> None:
    server = scene.server
    with scene.application() as application:
        before = application.calls(CALLS, pause=PAUSE)
        application.flush_until_empty()
        assert scene.missing(before) == set()
        resident = application.memory(restart=True)["resident"]

        fail(server, fault)
        first = application.calls(20)
        if fault is None:
            until(lambda: application.stats()["last_error"] is not None)
        else:
            server.wait_for_requests(1, fault)
        during = application.calls(CALLS, pause=PAUSE)
        assert_unhindered(before, during)

        heal(server, fault)
        application.flush_until_empty()
        assert scene.missing(first, during) == set()

        fail(server, fault)
        last = application.calls(CALLS)
        assert application.memory()["peak"] - resident < MEMORY_GROWTH
        assert application.stats()["dropped"] == {}
        assert application.stats()["errors"] == {}
        assert application.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS

    heal(server, fault)
    said = deliver_what_is_left(server.url, scene.spool)
    assert (said["dropped"], said["errors"], scene.missing(last)) == ({}, {}, set())
    assert None not in server.accepted.values()


@pytest.mark.parametrize(("fault", "reason"), [pytest.param(*rest, id=name) for name, rest in FINAL.items()])
def test_what_is_refused_for_good_is_counted(scene: Scene, fault: Fault, reason: str) -> None:
    server = scene.server
    with scene.application() as application:
        before = application.calls(CALLS, pause=PAUSE)
        application.flush_until_empty()
        server.fault = fault
        during = application.calls(CALLS, pause=PAUSE)
        assert_unhindered(before, during)
        application.flush_until_empty()
        said = application.stats()
        assert (said["dropped"], said["errors"]) == ({reason: CALLS}, {})
        server.fault = healthy
        after = application.calls(CALLS)
        application.flush_until_empty()
        assert scene.missing(before, after) == set()
        assert scene.missing(during) == set(during.ids)
        assert application.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS


def test_an_answer_that_never_ends_is_an_acknowledgement(scene: Scene) -> None:
    scene.server.fault = stalling_after_headers(200)
    with scene.application() as application:
        calls = application.calls(CALLS, pause=PAUSE)
        assert application.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS
    scene.server.fault = healthy
    deliver_what_is_left(scene.server.url, scene.spool)
    assert scene.missing(calls) == set()


@pytest.mark.parametrize("status", [400, 413])
def test_of_a_refused_batch_only_the_bad_spans_are_lost(scene: Scene, status: int) -> None:
    scene.server.fault = refusing(status, is_bad)
    with scene.application() as application:
        good = [application.calls(100)]
        bad = [application.calls(1, model=BAD_MODEL)]
        good.append(application.calls(50))
        bad.append(application.calls(1, model=BAD_MODEL))
        good.append(application.calls(100))
        application.flush_until_empty()
        said = application.stats()
        assert application.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS
    assert scene.missing(*good) == set()
    assert scene.missing(*bad) == {one for calls in bad for one in calls.ids}
    assert (said["dropped"], said["errors"]) == ({f"http-{status}": 2}, {})


@pytest.mark.parametrize("fault", [limited(spans=7), limited(body_bytes=20_000)], ids=["by count", "by size"])
def test_requests_that_are_too_large_are_divided_until_they_fit(scene: Scene, fault: Fault) -> None:
    scene.server.fault = fault
    with scene.application() as application:
        calls = application.calls(CALLS, 2000)
        application.flush_until_empty()
        said = application.stats()
    assert (scene.missing(calls), said["dropped"], said["errors"]) == (set(), {}, {})
    assert None not in scene.server.accepted.values()


def test_a_span_that_fits_nowhere_is_the_only_one_lost(scene: Scene) -> None:
    scene.server.fault = limited(body_bytes=20_000)
    with scene.application() as application:
        small, huge, others = application.calls(50), application.calls(1, 200_000), application.calls(50)
        application.flush_until_empty()
        said = application.stats()
    assert scene.missing(small, others) == set()
    assert len(scene.missing(huge)) == sum(said["dropped"].values())


def test_an_endpoint_that_keeps_failing_and_recovering_gets_everything(scene: Scene) -> None:
    server = scene.server
    made: list[Calls] = []
    with scene.application() as application:
        for fault in (
            answering(503),
            resetting,
            stalling,
            None,
            garbage,
            closing,
            answering(429, {"retry-after": "0"}),
        ):
            fail(server, fault)
            made.append(application.calls(30, pause=PAUSE))
            heal(server, fault)
            made.append(application.calls(30, pause=PAUSE))
        application.flush_until_empty()
        said = application.stats()
        assert application.exit() < SHUTDOWN_SECONDS + SLACK_SECONDS
    assert (scene.missing(*made), said["dropped"], said["errors"]) == (set(), {}, {})


def test_an_endpoint_that_comes_up_later_gets_everything_unasked(scene: Scene) -> None:
    scene.server.stop_listening()
    with scene.application() as application:
        calls = application.calls(CALLS, pause=PAUSE)
        until(lambda: application.stats()["last_error"] is not None)
        scene.server.listen()
        scene.server.wait_for(set(calls.ids), timeout=30.0)
        assert application.stats()["dropped"] == {}

"""Spans go over verified TLS to the configured host alone, with the configured headers alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import looopy_otel as lo
from tests.support.backend import Backend, Reply, collector
from tests.support.certificates import self_signed

KEY = "secret-of-the-header"


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOOPY_OTEL_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setenv("LOOOPY_OTEL_METRICS", "none")
    return tmp_path / "spool"


def send(endpoint: str) -> tuple[lo.Stats, lo.FlushResult]:
    """Sends one span; what became of it."""
    headers = {"authorization": f"Bearer {KEY}", "x-tenant": "one"}
    with lo.configure(otlp_endpoint=endpoint, otlp_headers=headers, exporters="otlp") as telemetry:
        with lo.span("only"):
            pass
        result = telemetry.flush(3.0)
        return telemetry.stats(), result


def test_a_certificate_that_nobody_vouches_for_gets_no_span(spool: Path, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    with Backend(collector, made.server_context()) as backend:
        stats, result = send(backend.url)
        assert backend.requests == []
    assert (result.exported, result.dropped, result.spooled) == (0, 0, 1)
    assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in str(stats.destinations[0].last_error)


def test_a_certificate_of_another_host_gets_no_span(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = self_signed(tmp_path, "DNS:other.example")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(made.certificate))
    with Backend(collector, made.server_context()) as backend:
        _, result = send(backend.url)
        assert backend.requests == []
    assert (result.exported, result.spooled) == (0, 1)


def test_a_certificate_that_is_vouched_for_gets_them(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = self_signed(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(made.certificate))
    with Backend(collector, made.server_context()) as backend:
        _, result = send(backend.url)
        assert len(backend.requests) == 1
    assert (result.exported, result.spooled) == (1, 0)


@pytest.fixture
def elsewhere() -> Iterator[Backend]:
    with Backend(collector) as backend:
        yield backend


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(spool: Path, elsewhere: Backend, status: int) -> None:
    target = f"{elsewhere.url}/v1/traces"
    with Backend(lambda _: Reply(status, {"location": target})) as backend:
        stats, result = send(backend.url)
    assert elsewhere.requests == []
    assert result.exported == 0
    assert "it redirects" in str(stats.destinations[0].last_error)


def test_only_the_configured_headers_are_sent(
    spool: Path, isolated_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (isolated_environment / ".netrc").write_text("machine 127.0.0.1 login netrc-user password netrc-password\n")
    (isolated_environment / ".netrc").chmod(0o600)
    with Backend(collector) as backend:
        send(backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        lo_headers = [dict(request.headers) for request in backend.requests]
        with lo.configure(otlp_endpoint=backend.url, exporters="otlp"), lo.span("without credentials"):
            pass
        bare = backend.requests[-1].headers
    (sent,) = lo_headers
    own = {"content-type", "content-encoding", "user-agent", "authorization", "x-tenant"}
    http = {"host", "accept", "accept-encoding", "connection", "content-length", "transfer-encoding"}
    assert own <= sent.keys() <= own | http
    assert sent["authorization"] == f"Bearer {KEY}"
    assert bare.keys() <= {"content-type", "user-agent"} | http


def test_a_proxy_of_the_environment_is_used(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Backend(lambda _: Reply()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        _, result = send("http://collector.example:4318")
        assert [request.path for request in proxy.requests] == ["http://collector.example:4318/v1/traces"]
    assert result.exported == 1


@pytest.mark.parametrize(
    "proxy",
    [
        f"http://alice:{KEY}/word@127.0.0.1:3128",
        f"http://alice:123/{KEY}@127.0.0.1:3128",
        f"http://alice:123#{KEY}@127.0.0.1:3128",
        f"ftp://alice:{KEY}@127.0.0.1:3128",
    ],
)
def test_a_proxy_that_is_none_is_named_by_its_variable_alone_and_costs_no_span(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    stats, result = send("http://collector.example:4318")
    assert (result.exported, result.dropped, result.spooled) == (0, 0, 1)
    error = str(stats.destinations[0].last_error)
    assert "HTTP_PROXY names no proxy" in error
    assert KEY not in error + caplog.text

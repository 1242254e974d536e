"""Real servers with real workers: gunicorn with four processes, uvicorn with and without; stopped by SIGTERM."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.process_life.running import ROOT
from tests.support.child_process import ChildProcess, free_ports
from tests.support.otlp_sink import OTLPSink

REQUESTS = 80
EXPECTED = {f"request-{number}" for number in range(REQUESTS)}

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals of POSIX")


def environment(sink: OTLPSink, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "LOOOPY_OTEL_EXPORT_DELAY": "3600",
        "PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)]),
        **more,
    }


@contextmanager
def serving(sink: OTLPSink, directory: Path, *command: str, **more: str) -> Generator[tuple[str, ChildProcess]]:
    """Runs a server on a free port until the block ends; gives its URL."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    full = [sys.executable, "-m", *(part.replace("PORT", str(port)) for part in command)]
    process = ChildProcess("server", full, directory, environment(sink, **more), f"{url}/0")
    with process:
        yield url, process


def ask(url: str) -> set[str]:
    """Sends the requests, many at once, each on a connection of its own; gives the processes that answered."""

    def get(number: int) -> str:
        return httpx.get(f"{url}/{number}", timeout=30.0, trust_env=False).raise_for_status().text

    with ThreadPoolExecutor(8) as pool:
        return set(pool.map(get, range(REQUESTS)))


def all_once(sink: OTLPSink) -> None:
    """Every request is one span, besides those that asked whether the server is up."""
    spans = [span for span in sink.spans if span.name.startswith("request-")]
    assert {span.name for span in spans} == EXPECTED
    counted = [span.name for span in spans if span.name != "request-0"]
    assert len({span.span_id for span in spans}) == len(spans)
    assert len(counted) == REQUESTS - 1


@pytest.mark.parametrize("handle", ["0", "1"])
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each", "preload"])
def test_all_of_gunicorns_workers_deliver(tmp_path: Path, preload: tuple[str, ...], handle: str) -> None:
    pytest.importorskip("gunicorn")
    command = ("gunicorn", "-w", "4", "-b", "127.0.0.1:PORT", *preload, "tests.process_life.web:wsgi")
    with OTLPSink() as sink:
        with serving(sink, tmp_path, *command, HANDLE_SIGTERM=handle) as (url, process):
            workers = ask(url)
            assert process.stop() == 0
        all_once(sink)
        assert "Traceback" not in process.log_end(400)
    assert len(workers) > 1


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
def test_uvicorn_delivers_at_the_end_of_the_lifespan(tmp_path: Path, workers: tuple[str, ...]) -> None:
    for package in ("uvicorn", "starlette"):
        if find_spec(package) is None:
            pytest.skip(f"needs {package}")
    command = ("uvicorn", "--port", "PORT", *workers, "tests.process_life.web:asgi")
    with OTLPSink() as sink:
        with serving(sink, tmp_path, *command) as (url, process):
            ask(url)
            process.stop()
        all_once(sink)
        assert "lifespan" in sink.span_names
        assert "Traceback" not in process.log_end(400)

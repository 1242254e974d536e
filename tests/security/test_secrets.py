"""No secret of the settings stands in a repr, a log line, an error, the stats or on a disk."""

from __future__ import annotations

import json
import logging
import traceback
from pathlib import Path
from typing import Any

import pytest

import looopy_otel as lo
from looopy_otel.core.config import resolve
from looopy_otel.core.settings import Options
from tests.support.backend import Backend, Reply, Request

SECRET = "s3cr3t-that-nobody-may-see"
OPTIONS: dict[str, Any] = {
    "exporters": ["langfuse", "otlp"],
    "otlp_headers": {"authorization": f"Bearer {SECRET}", "x-api-key": SECRET},
    "langfuse_public_key": "pk-lf-1",
    "langfuse_secret_key": SECRET,
    "langfuse_projects": {"tenant-a": {"public_key": "pk-lf-2", "secret_key": f"{SECRET}-a"}},
}


def with_credentials(url: str) -> str:
    return url.replace("://", f"://user:{SECRET}@") + f"/v1/traces?token={SECRET}"


def test_reprs() -> None:
    options = Options(**OPTIONS, otlp_endpoint=with_credentials("http://127.0.0.1:9"))
    settings = resolve(options, {})
    shown = [repr(settings), str(settings), repr(settings.destinations), *map(repr, settings.destinations)]
    assert SECRET not in "".join(shown)
    assert SECRET not in repr(Options(**OPTIONS))


def test_a_handle(tmp_path: Path) -> None:
    with lo.configure(**OPTIONS, otlp_endpoint="http://127.0.0.1:9", spool_directory=tmp_path) as telemetry:
        assert SECRET not in repr(telemetry) + repr(telemetry.settings) + repr(telemetry.stats())


@pytest.mark.parametrize(
    "wrong",
    [
        {"langfuse_secret_key": SECRET.encode()},
        {"langfuse_secret_key": [SECRET]},
        {"otlp_headers": f"authorization={SECRET}"},
        {"otlp_headers": {"authorization": SECRET + "\n"}},
        {"otlp_headers": {"authorization": [SECRET]}},
        {"otlp_endpoint": f"ftp://user:{SECRET}@host/"},
        {"otlp_endpoint": f"http://user:{SECRET}@ho st/?token={SECRET}"},
        {"otlp_endpoint": f"ho st?token={SECRET}"},
        {"langfuse_base_url": f"user:{SECRET}@host"},
        {"langfuse_projects": {"a": {"public_key": "pk", "secret_key": [SECRET]}}},
        {"langfuse_projects": {"a": {"public_key": SECRET}}},
        {"langfuse_projects": {"a": SECRET}},
        {"langfuse_projects": [SECRET]},
    ],
)
def test_errors_of_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(lo.ConfigurationError) as raised:
        resolve(Options(**{**OPTIONS, **wrong}), {})
    assert SECRET not in "".join(traceback.format_exception(raised.value)[-3:])
    assert SECRET not in str(raised.value)


def test_errors_of_wrong_variables(tmp_path: Path) -> None:
    projects = tmp_path / "projects.json"
    projects.write_text(json.dumps({"a": {"public_key": "pk", "secret_key": SECRET}}) + SECRET)
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": SECRET,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"user:{SECRET}@host?token={SECRET}",
        "LANGFUSE_SECRET_KEY": SECRET,
        "LOOOPY_OTEL_LANGFUSE_PROJECTS": str(projects),
    }
    with pytest.raises(lo.ConfigurationError) as raised:
        resolve(Options(), environ)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("status", [200, 302, 400, 401, 413, 500, 503])
def test_what_an_endpoint_says_of_it(
    status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It echoes every header that it got, as debugging proxies do."""

    def echo(request: Request) -> Reply:
        said = json.dumps(dict(request.headers)) + request.path
        headers = {"content-type": "text/plain", "location": f"https://u:{SECRET}@x/?{SECRET}"}
        return Reply(status, headers, said.encode())

    caplog.set_level(logging.DEBUG, "looopy_otel")
    monkeypatch.setenv("LANGFUSE_BASE_URL", "")
    with Backend(echo) as backend:
        options: dict[str, Any] = {
            **OPTIONS,
            "langfuse_base_url": backend.url,
            "otlp_endpoint": with_credentials(backend.url),
        }
        with lo.configure(**options, metrics="none", spool_directory=tmp_path) as telemetry:
            with lo.session(project="tenant-a"), lo.span("one"):
                pass
            with lo.span("two"):
                pass
            telemetry.flush(1.0)
            stats = telemetry.stats()
            telemetry.shutdown(1.0)
    assert len({request.path.partition("?")[0] for request in backend.requests}) == 2
    assert SECRET not in repr(stats)
    assert SECRET not in caplog.text
    for path in tmp_path.rglob("*"):
        assert SECRET not in str(path)
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()

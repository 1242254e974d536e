"""`looopy-otel doctor`: what it says of a healthy backend, of each fault, and of what it must not say."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from looopy_otel.cli.checks import langfuse as langfuse_checks
from tests.cli.command import Command, Done
from tests.support.backend import HTML, JSON, PUBLIC_KEY, SECRET_KEY, Backend, Langfuse, Reply, collector
from tests.support.certificates import self_signed
from tests.support.require import require_packages

KEY = "secret-of-the-header"
TEXT = {"content-type": "text/plain"}


class Doctor:
    """Runs the command with these variables set, and sees to it that no secret is printed."""

    def __init__(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        self._command = command
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, **variables: str) -> Done:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)
        done = self._command("doctor", *arguments)
        for secret in (SECRET_KEY, KEY):
            assert secret not in done.out + done.err
        return done

    def langfuse(self, url: str, *arguments: str, **variables: str) -> Done:
        keys = {"LANGFUSE_PUBLIC_KEY": PUBLIC_KEY, "LANGFUSE_SECRET_KEY": SECRET_KEY, "LANGFUSE_BASE_URL": url}
        return self(*arguments, **{**keys, **variables})

    def otlp(self, endpoint: str, *arguments: str, **variables: str) -> Done:
        return self(
            *arguments,
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=endpoint,
            OTEL_EXPORTER_OTLP_HEADERS=f"x-api-key={KEY}",
            **variables,
        )


@pytest.fixture
def doctor(command: Command, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    return Doctor(command, monkeypatch)


def steps(done: Done) -> dict[str, str]:
    """The status of each step of the last section."""
    found = re.findall(r"^(ok|warning|failed|skipped) +(read back|[a-z]+) ", str(done.out), re.MULTILINE)
    return {step: status for status, step in found}


def test_a_machine_where_nothing_is_configured(doctor: Doctor, database: Path) -> None:
    done = doctor()
    assert done.code == 0
    assert f"database                {database}  (LOOOPY_OTEL_DB)\n" in done.out
    assert "service_name            looopy-agent  (default)\n" in done.out
    assert steps(done)["write"] == steps(done)["read back"] == "ok"
    assert done.out.endswith("All is well.\n")
    assert done.err == ""


def test_a_store_that_cannot_be_written(doctor: Doctor, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = doctor("--db", str(tmp_path / "file" / "traces.db"))
    assert done.code == 1
    assert steps(done)["write"] == "failed"
    assert "(--db)" in done.out
    assert "Likely cause: local: the store cannot be written: " in done.out


def test_a_langfuse_that_is_well(doctor: Doctor) -> None:
    require_packages("langfuse")
    with Backend(Langfuse()) as backend:
        done = doctor.langfuse(backend.url)
        link = f"{backend.url}/project/p-1/traces/"
    assert done.code == 0
    assert done.out.endswith("All is well.\n")
    assert re.search(rf"{re.escape(link)}[0-9a-f]{{32}}\n", done.out)
    assert "read back  2 of 2 spans after" in done.out
    assert "(by its SDK)" in done.out
    assert "authorization=Basic ***, x-langfuse-ingestion-version=4  (LANGFUSE_PUBLIC_KEY and " in done.out


def test_only_the_probe_holds_spans(doctor: Doctor) -> None:
    with Backend(Langfuse()) as backend:
        assert doctor.langfuse(backend.url).code == 0
        posts = [len(request.plain_body) for request in backend.requests if request.method == "POST"]
    empty, padded, *probes = posts
    assert empty == 0
    assert padded == 4 * 1024 * 1024
    assert probes


def test_a_langfuse_without_its_sdk_is_read_by_http(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_langfuse(name: str) -> None:
        return None

    monkeypatch.setattr(langfuse_checks, "find_spec", without_langfuse)
    with Backend(Langfuse()) as backend:
        done = doctor.langfuse(backend.url)
    assert done.code == 0
    assert "pip install 'looopy-otel[langfuse]'" in done.out


def test_an_older_langfuse_is_read_by_its_traces(doctor: Doctor) -> None:
    with Backend(Langfuse(version=3)) as backend:
        done = doctor.langfuse(backend.url)
    assert done.code == 0
    assert steps(done)["read back"] == "ok"


def test_a_langfuse_whose_worker_is_down(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(langfuse_checks, "PATIENCE", 1.0)
    with Backend(Langfuse(shows=False)) as backend:
        done = doctor.langfuse(backend.url)
    assert done.code == 1
    assert steps(done)["probe"] == "ok"
    assert steps(done)["read back"] == "failed"
    assert "worker, queue or storage is down" in done.out
    assert f"{backend.url}/project/p-1/traces/" in done.out


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({"LANGFUSE_PUBLIC_KEY": SECRET_KEY, "LANGFUSE_SECRET_KEY": PUBLIC_KEY}, "the two keys are swapped"),
        ({"LANGFUSE_SECRET_KEY": "sk-lf-deleted"}, "the keys are unknown to this Langfuse"),
        ({"LANGFUSE_SECRET_KEY": '"sk-lf-quoted"'}, "there are quotes or blanks around a key"),
    ],
)
def test_wrong_keys(doctor: Doctor, variables: Mapping[str, str], cause: str) -> None:
    with Backend(Langfuse()) as backend:
        done = doctor.langfuse(backend.url, **variables)
    assert done.code == 1
    assert (steps(done)["path"], steps(done)["auth"], steps(done)["probe"]) == ("ok", "failed", "skipped")
    assert f"Likely cause: langfuse: {cause}" in done.out


def test_keys_of_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    from looopy_otel.cli.checks.endpoint import Route, _auth_cause  # pyright: ignore[reportPrivateUsage]
    from looopy_otel.core.config import resolve

    environ = {"LANGFUSE_PUBLIC_KEY": PUBLIC_KEY, "LANGFUSE_SECRET_KEY": SECRET_KEY}
    destination: Any = resolve(environ=environ).destinations[0]
    cause = _auth_cause(Route(destination, "LANGFUSE_PUBLIC_KEY"), 401, True)
    assert "the keys are of no project in EU" in cause
    assert "US https://us.cloud.langfuse.com" in cause


@pytest.mark.parametrize(
    ("reply", "step", "cause"),
    [
        (Reply(401, TEXT, f"no {KEY}".encode()), "auth", "the credentials are wrong or have expired: look at OTEL_"),
        (Reply(403, TEXT, b"no"), "auth", "the credentials may not write here"),
        (Reply(403, HTML, b"<html>"), "path", "a login page or a proxy answers"),
        (Reply(404, TEXT, b"no"), "path", "nothing takes POST at /v1/traces"),
        (Reply(200, HTML, b"<html>"), "path", "a login page or a proxy answers"),
        (Reply(405, TEXT, b"no"), "path", "nothing takes POST at /v1/traces"),
        (Reply(413, TEXT), "path", "too large"),
        (Reply(415, TEXT), "path", "gRPC is at 4317, HTTP at 4318"),
        (
            Reply(302, {"location": f"https://u:{KEY}@new.example/?k={KEY}"}),
            "path",
            "it redirects to https://new.example/",
        ),
        (Reply(407, TEXT), "path", "a proxy asks for credentials"),
        (Reply(503, TEXT, b"overloaded"), "path", "the backend is up but fails (503)"),
    ],
)
def test_what_else_may_answer(doctor: Doctor, reply: Reply, step: str, cause: str) -> None:
    with Backend(lambda _: reply) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces")
    assert done.code == 1
    assert steps(done)[step] == "failed"
    assert steps(done)["probe"] == "skipped"
    assert re.search(rf"^Likely cause: otlp: .*{re.escape(cause)}", done.out, re.MULTILINE)


def test_the_path_forgotten(doctor: Doctor) -> None:
    with Backend(collector) as backend:
        done = doctor.otlp(backend.url)
    assert done.code == 1
    assert f"{backend.url}/v1/traces does: set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to that" in done.out


def test_a_web_page_at_any_path_is_not_recommended(doctor: Doctor) -> None:
    with Backend(lambda _: Reply(200, HTML, b"<html>")) as backend:
        done = doctor.otlp(f"{backend.url}/app")
        assert "/app/v1/traces" in [request.path for request in backend.requests]
    assert done.code == 1
    assert "no OTLP endpoint: an OTLP endpoint usually ends in /v1/traces" in done.out
    assert "to that" not in done.out


def test_clocks_apart_are_a_warning(doctor: Doctor) -> None:
    with Backend(lambda _: Reply(date="Mon, 01 Jan 2024 00:00:00 GMT")) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces")
    assert done.code == 0
    assert steps(done)["clock"] == "warning"
    assert "s ahead of the backend" in done.out
    assert "Warning: otlp: spans will stand at wrong times" in done.out
    assert done.out.endswith("It works.\n")


def test_large_bodies_refused_are_a_warning(doctor: Doctor) -> None:
    with Backend(lambda request: Reply(413 if len(request.body) > 1_000_000 else 200)) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces")
    assert done.code == 0
    assert steps(done)["size"] == "warning"
    assert "client_max_body_size" in done.out


def test_a_probe_that_is_refused(doctor: Doctor) -> None:
    def answer(request: Any) -> Reply:
        size = len(request.plain_body)
        return Reply(400, TEXT, b"bad span") if 0 < size < 1_000_000 else Reply()

    with Backend(answer) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces")
    assert done.code == 1
    assert steps(done)["probe"] == "failed"
    assert "takes requests but not this trace" in done.out
    assert "bad span" in done.out


def test_an_untrusted_certificate(doctor: Doctor, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    with Backend(collector, made.server_context()) as backend:
        refused = doctor.otlp(f"{backend.url}/v1/traces")
        assert backend.requests == []
        trusted = doctor.otlp(f"{backend.url}/v1/traces", OTEL_EXPORTER_OTLP_CERTIFICATE=str(made.certificate))
    assert refused.code == 1
    assert steps(refused)["tls"] == "failed"
    assert "the certificate is self-signed: set OTEL_EXPORTER_OTLP_CERTIFICATE" in refused.out
    assert trusted.code == 0
    assert re.search(r"^ok +tls +TLSv1\.[23], certificate valid until \d{4}-\d\d-\d\d", trusted.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "days", "status", "said"),
    [
        ("DNS:other.example", 30, "failed", "the certificate is not made for this address"),
        ("IP:127.0.0.1", 3, "warning", "expires in 2 days"),
    ],
)
def test_a_certificate_that_does_not_fit(
    doctor: Doctor, tmp_path: Path, name: str, days: int, status: str, said: str
) -> None:
    made = self_signed(tmp_path, name, days=days)
    with Backend(collector, made.server_context()) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces", OTEL_EXPORTER_OTLP_CERTIFICATE=str(made.certificate))
    assert steps(done)["tls"] == status
    assert said in done.out


def test_https_where_http_is_spoken(doctor: Doctor) -> None:
    with Backend(collector) as backend:
        done = doctor.otlp(f"https://127.0.0.1:{backend.port}/v1/traces")
    assert done.code == 1
    assert steps(done)["tls"] == "failed"
    assert "does not speak TLS: http:// instead of https://?" in done.out


@contextmanager
def speaking(data: bytes | None) -> Generator[int]:
    """A port whose server says the same to everybody at once, or nothing at all."""
    server = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            held.append(connection)
            if data is not None:
                connection.sendall(data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for connection in held:
            connection.close()


def test_a_port_of_grpc(doctor: Doctor) -> None:
    # The settings frame that an HTTP/2 server begins with.
    with speaking(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00@\x00") as port:
        done = doctor.otlp(f"http://127.0.0.1:{port}/v1/traces")
    assert done.code == 1
    assert steps(done)["path"] == "failed"
    assert "a gRPC port" in done.out


def test_a_port_that_never_answers(doctor: Doctor) -> None:
    started = time.monotonic()
    with speaking(None) as port:
        done = doctor.otlp(f"http://127.0.0.1:{port}/v1/traces")
    assert done.code == 1
    assert "it takes the connection but does not answer" in done.out
    assert time.monotonic() - started < 30


def test_a_port_where_nobody_listens_and_a_host_that_is_none(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = doctor.otlp(f"http://127.0.0.1:{port}/v1/traces")
    assert done.code == 1
    assert f"nothing listens at 127.0.0.1:{port}" in done.out
    done = doctor.otlp("http://no-such-host.invalid:4318/v1/traces")
    assert done.code == 1
    assert steps(done)["address"] == "failed"
    assert "there is no host 'no-such-host.invalid'" in done.out


def test_several_places_with_the_same_fault_share_one_line(doctor: Doctor) -> None:
    with Backend(lambda _: Reply(503, TEXT)) as backend:
        done = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=backend.url)
    assert done.code == 1
    assert "Likely cause: otlp, metrics: the backend is up but fails (503)" in done.out


def test_metrics_are_pushed_to_where_they_go(doctor: Doctor) -> None:
    with Backend(collector) as backend:
        done = doctor(OTEL_EXPORTER_OTLP_ENDPOINT=backend.url)
        paths = {request.path for request in backend.requests}
    assert done.code == 0
    assert paths == {"/v1/traces", "/v1/metrics"}


def test_the_port_for_prometheus(doctor: Doctor, database: Path) -> None:
    require_packages("prometheus_client")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        variables = {"OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1", "OTEL_EXPORTER_PROMETHEUS_PORT": port}
        done = doctor(LOOOPY_OTEL_METRICS="prometheus", **variables)
        assert done.code == 0
        assert steps(done)["port"] == "warning"
    assert "is free" in doctor().out


def test_a_spool_that_cannot_be_written_or_that_others_may_read(doctor: Doctor, tmp_path: Path) -> None:
    with Backend(collector) as backend:
        (tmp_path / "file").touch()
        done = doctor.otlp(f"{backend.url}/v1/traces", LOOOPY_OTEL_SPOOL_DIR=str(tmp_path / "file" / "spool"))
        assert done.code == 1
        assert "Likely cause: spool: " in done.out
        assert steps(done)["probe"] == "ok"
        open_to_all = tmp_path / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o755)
        done = doctor.otlp(f"{backend.url}/v1/traces", LOOOPY_OTEL_SPOOL_DIR=str(open_to_all))
        assert done.code == 0
        assert steps(done)["mode"] == "warning"
        assert f"chmod 700 {open_to_all}" in done.out


def test_tracing_switched_off(doctor: Doctor, database: Path) -> None:
    done = doctor(OTEL_SDK_DISABLED="true")
    assert done.code == 1
    assert "OTEL_SDK_DISABLED=true turns tracing off" in done.out


def test_a_destination_that_is_not_configured(doctor: Doctor) -> None:
    done = doctor("--to", "langfuse")
    assert (done.code, done.out) == (1, "")
    assert "LANGFUSE_PUBLIC_KEY" in done.err
    done = doctor("--to", "langfuse", "--json")
    assert done.code == 1
    assert "LANGFUSE_PUBLIC_KEY" in json.loads(done.out)["causes"][0]


def test_json(doctor: Doctor) -> None:
    with Backend(collector) as backend:
        well = doctor.otlp(f"{backend.url}/v1/traces", "--json")
    gone = doctor.otlp(f"{backend.url}/v1/traces", "--json")
    document = json.loads(well.out)
    assert (well.code, document["ok"], document["causes"]) == (0, True, [])
    assert [section["name"] for section in document["sections"]] == ["tracing", "spool", "otlp"]
    assert {"name": "otlp headers", "value": "x-api-key=***", "source": "OTEL_EXPORTER_OTLP_HEADERS"} in document[
        "settings"
    ]
    document = json.loads(gone.out)
    assert (gone.code, document["ok"]) == (1, False)
    assert "nothing listens" in document["causes"][0]


def test_a_proxy_of_the_environment_is_used_and_named(doctor: Doctor) -> None:
    with Backend(lambda _: Reply(403, {**HTML, "via": "1.1 squid"}, b"<html>denied")) as proxy:
        done = doctor.otlp(
            "http://collector.example:4318/v1/traces", HTTP_PROXY=f"http://user:{KEY}@127.0.0.1:{proxy.port}"
        )
        assert proxy.requests[0].path == "http://collector.example:4318/v1/traces"
    assert done.code == 1
    assert "a login page or a proxy answers (by 1.1 squid)" in done.out
    assert f"http://***@127.0.0.1:{proxy.port}  (HTTP_PROXY)" in done.out


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}, {}])
def test_the_real_command_in_an_empty_home(environment: Mapping[str, str], isolated_environment: Path) -> None:
    with Backend(Langfuse()) as backend:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "looopy_otel", "doctor"],
            env={
                "HOME": str(isolated_environment),
                "PYTHONIOENCODING": "ascii",
                "LANGFUSE_PUBLIC_KEY": PUBLIC_KEY,
                "LANGFUSE_SECRET_KEY": SECRET_KEY,
                "LANGFUSE_BASE_URL": backend.url,
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert SECRET_KEY not in done.stdout
    assert done.stdout.endswith("All is well.\n")


def test_an_api_that_fails_is_told_of(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(langfuse_checks, "PATIENCE", 1.0)
    healthy = Langfuse()

    def answer(request: Any) -> Reply:
        return Reply(500, JSON, SECRET_KEY.encode()) if request.method == "GET" else healthy(request)

    with Backend(answer) as backend:
        done = doctor.langfuse(backend.url)
    assert done.code == 1
    assert "its API answers 500" in done.out


def test_the_projects_of_tenants_are_tried_one_by_one(doctor: Doctor, tmp_path: Path) -> None:
    projects = tmp_path / "projects.json"
    with Backend(Langfuse()) as backend:
        keys = {"public_key": PUBLIC_KEY, "secret_key": SECRET_KEY, "base_url": backend.url}
        wrong = {**keys, "public_key": "pk-lf-other"}
        projects.write_text(json.dumps({"tenant-a": keys, "tenant-b": wrong}))
        done = doctor(LOOOPY_OTEL_LANGFUSE_PROJECTS=str(projects))
    assert done.code == 1
    cause = "the keys are unknown to this Langfuse, or deleted: look at LOOOPY_OTEL_LANGFUSE_PROJECTS"
    assert f"Likely cause: langfuse:tenant-b: {cause}" in done.out
    assert done.out.count("spans are accepted, trace") == 1


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:abc", "http://[::1", f"http://alice:{KEY}/word@127.0.0.1:3128"])
def test_a_proxy_that_is_none(doctor: Doctor, proxy: str, as_json: tuple[str, ...]) -> None:
    done = doctor.otlp("http://collector.example:4318/v1/traces", *as_json, HTTP_PROXY=proxy)
    assert (done.code, done.err) == (1, "")
    assert "HTTP_PROXY names no proxy" in done.out


def test_a_proxy_that_is_down(doctor: Doctor) -> None:
    done = doctor.otlp("http://collector.example:4318/v1/traces", HTTP_PROXY="http://127.0.0.1:9")
    assert "the proxy 127.0.0.1:9 cannot be reached: start it, or look at HTTP_PROXY and NO_PROXY" in done.out


@pytest.mark.parametrize("location", ["http://[bad", "http://h:abc/x", "//h:99999/x", "ftp://h/x", ""])
def test_a_redirect_to_what_is_no_url(doctor: Doctor, location: str) -> None:
    with Backend(lambda _: Reply(302, {"location": location}, b"")) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces")
    assert (done.code, done.err) == (1, "")
    assert "it redirects, to what is no URL" in done.out
    assert "to that" not in done.out


def test_a_check_that_fails_itself_is_told_of_without_what_it_says(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError(KEY)

    monkeypatch.setattr("looopy_otel.cli.checks.exchange._exchanged", broken)
    with Backend(collector) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces", "--json")
    assert (done.code, done.err) == (1, "")
    assert "this check itself has failed (ZeroDivisionError in " in json.loads(done.out)["causes"][0]


def test_a_spool_that_programs_refuse(doctor: Doctor, command: Command, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with Backend(collector) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces", LOOOPY_OTEL_SPOOL_DIR=str(tmp_path / "link"))
    assert done.code == 1
    assert f"spans wait in memory only, and are lost with the process: {tmp_path / 'link'} is a symbolic" in done.out
    assert "Not used: new spans wait in memory only" in command("spool", "status").out
    assert "symbolic link" in json.loads(command("spool", "status", "--json").out)["problem"]


@pytest.mark.parametrize(
    ("variables", "cause"),
    [
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "OTEL_TRACES_SAMPLER=parentbased_always_off keeps every"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "OTEL_TRACES_SAMPLER_ARG=0 keeps"),
        ({"LOOOPY_OTEL_INSTRUMENTATION_SCOPES": "!looopy_otel"}, "LOOOPY_OTEL_INSTRUMENTATION_SCOPES leaves out"),
    ],
)
def test_nothing_would_be_traced(doctor: Doctor, database: Path, variables: Mapping[str, str], cause: str) -> None:
    done = doctor(**variables)
    assert done.code == 1
    assert f"Likely cause: tracing: {cause}" in done.out


def test_a_header_outside_of_ascii_is_sent_as_programs_send_it(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=K\xe9")
    with Backend(collector) as backend:
        done = doctor(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{backend.url}/v1/traces")
    assert done.code == 0


@pytest.mark.parametrize(
    ("variable", "text", "cause"),
    [
        ("SSL_CERT_FILE", None, "SSL_CERT_FILE names a file that cannot be read"),
        ("SSL_CERT_FILE", "no certificate", "SSL_CERT_FILE names a file without certificates in PEM form"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "no certificate", "OTEL_EXPORTER_OTLP_CERTIFICATE names a file without"),
    ],
)
def test_a_bundle_that_is_none(doctor: Doctor, tmp_path: Path, variable: str, text: str | None, cause: str) -> None:
    bundle = tmp_path / "bundle.pem"
    if text is not None:
        bundle.write_text(text)
    with Backend(collector) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces", **{variable: str(bundle)})
    assert done.code == 1
    assert f"Likely cause: otlp: {cause}" in done.out


def test_a_slash_too_many(doctor: Doctor) -> None:
    with Backend(lambda request: Reply(404) if request.path.endswith("/") else collector(request)) as backend:
        done = doctor.otlp(f"{backend.url}/v1/traces/")
        assert f"{backend.url}/v1/traces does: set OTEL_EXPORTER_OTLP_TRACES_ENDPOINT to that" in done.out
    assert done.code == 1


def test_a_file_of_keys_that_others_may_read(doctor: Doctor, tmp_path: Path) -> None:
    projects = tmp_path / "projects.json"
    with Backend(Langfuse()) as backend:
        keys = {"public_key": PUBLIC_KEY, "secret_key": SECRET_KEY, "base_url": backend.url}
        projects.write_text(json.dumps({"tenant-a": keys}))
        projects.chmod(0o644)
        done = doctor(LOOOPY_OTEL_LANGFUSE_PROJECTS=str(projects))
        assert f"others may read it: chmod 600 {projects}" in done.out
        projects.chmod(0o600)
        assert "chmod 600" not in doctor(LOOOPY_OTEL_LANGFUSE_PROJECTS=str(projects)).out


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:99999"}, "its port must be a number from 1 to 65535"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:0"}, "its port must be a number from 1 to 65535"),
        (
            {"LOOOPY_OTEL_MEMORY_LIMIT": "64MB"},
            "must be a whole number of bytes from 1048576 to 1099511627776, such as 67108864",
        ),
    ],
)
def test_settings_that_are_wrong(doctor: Doctor, variables: Mapping[str, str], problem: str) -> None:
    assert problem in doctor(**variables).err

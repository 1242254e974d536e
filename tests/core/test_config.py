"""Settings: explicit, then environment, then default; every wrong value named at once."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from looopy_otel.core.config import database_path, litellm_environment, resolve
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.settings import (
    ConsoleDestination,
    CustomDestination,
    Deployment,
    HTTPDestination,
    LocalDestination,
    Options,
)

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-2"}
BASIC = "Basic " + b64encode(b"pk-lf-1:sk-lf-2").decode()


class Exporter:
    def export(self, spans: object) -> None: ...
    def shutdown(self) -> None: ...


def test_nothing_said_means_the_local_store_and_redaction() -> None:
    settings = resolve(environ={})
    assert [type(destination) for destination in settings.destinations] == [LocalDestination]
    assert (settings.capture, settings.history, settings.service_name) == ("redacted", "full", "looopy-agent")
    assert settings.sampler == "parentbased_always_on"
    assert not settings.disabled


def test_automatic_takes_langfuse_when_its_keys_are_set() -> None:
    (langfuse,) = resolve(environ=KEYS).destinations
    assert langfuse == HTTPDestination(
        name="langfuse",
        endpoint="https://cloud.langfuse.com/api/public/otel/v1/traces",
        headers={"authorization": BASIC, "x-langfuse-ingestion-version": "4"},
        dialects=("langfuse",),
    )


def test_automatic_takes_both_when_both_are_set() -> None:
    names = [d.name for d in resolve(environ={**KEYS, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}).destinations]
    assert names == ["langfuse", "otlp"]


@pytest.mark.parametrize(
    "base",
    [
        "https://lf.example",
        "https://lf.example/",
        "https://lf.example/api/public/otel",
        "https://lf.example/api/public/otel/v1/traces",
    ],
)
def test_a_langfuse_url_in_any_of_its_forms(base: str) -> None:
    (langfuse,) = resolve(environ={**KEYS, "LANGFUSE_HOST": base}).destinations
    assert isinstance(langfuse, HTTPDestination)
    assert langfuse.endpoint == "https://lf.example/api/public/otel/v1/traces"


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/v1/traces"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c/x"}, "http://c/x/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/custom"}, "http://c/custom"),
    ],
)
def test_otlp_endpoints(variables: dict[str, str], endpoint: str) -> None:
    (otlp,) = resolve(environ=variables).destinations
    assert isinstance(otlp, HTTPDestination)
    assert (otlp.name, otlp.endpoint, otlp.dialects) == ("otlp", endpoint, ("genai",))


@pytest.mark.parametrize("path", ["/api/public/otel", "/api/public/otel/v1/traces", "/api/public/otel/"])
def test_an_otlp_endpoint_that_is_a_langfuse_speaks_its_dialect(path: str) -> None:
    (otlp,) = resolve(environ={"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://lf.example{path}"}).destinations
    assert isinstance(otlp, HTTPDestination)
    assert otlp.endpoint == "https://lf.example/api/public/otel/v1/traces"
    assert otlp.dialects == ("langfuse",)
    assert otlp.headers["x-langfuse-ingestion-version"] == "4"


def test_the_same_langfuse_project_twice_is_one_destination() -> None:
    environ = {
        **KEYS,
        "LANGFUSE_BASE_URL": "https://lf.example",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://lf.example/api/public/otel",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization={BASIC.replace(' ', '%20')}",
    }
    assert [d.name for d in resolve(environ=environ).destinations] == ["langfuse"]


@pytest.mark.parametrize(
    "twin",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://LF.example:443/api/public/otel"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://lf.example/api/public/otel/v1/traces"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://pk-lf-1:sk-lf-2@lf.example/api/public/otel"},
    ],
)
def test_one_project_written_in_two_ways_is_one_destination(twin: dict[str, str]) -> None:
    environ = {
        **KEYS,
        "LANGFUSE_BASE_URL": "https://lf.example",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=basic%20{BASIC.partition(' ')[2]}",
        **twin,
    }
    settings = resolve(Options(dialects={"otlp": "langfuse"}), environ)
    assert [d.name for d in settings.destinations] == ["langfuse"]


def test_credentials_in_a_url_become_a_header() -> None:
    (otlp,) = resolve(Options(exporters="otlp", otlp_endpoint="http://u:p%40ss@c:4318"), {}).destinations
    assert isinstance(otlp, HTTPDestination)
    assert otlp.endpoint == "http://c:4318/v1/traces"
    assert otlp.headers == {"authorization": "Basic " + b64encode(b"u:p@ss").decode()}
    with pytest.raises(ConfigurationError) as raised:
        resolve(Options(exporters="otlp", otlp_endpoint="ftp://u:s3cret@c"), {})
    assert "s3cret" not in str(raised.value)


def test_standard_otlp_variables() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-a=1,x-b=two%20words",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        "OTEL_EXPORTER_OTLP_CERTIFICATE": __file__,
    }
    (otlp,) = resolve(environ=environ).destinations
    assert isinstance(otlp, HTTPDestination)
    assert otlp.headers == {"x-a": "1", "x-b": "two words"}
    assert (otlp.timeout, otlp.gzip, otlp.certificate) == (3.0, False, __file__)


def test_resource_and_deployment() -> None:
    environ = {
        "OTEL_SERVICE_NAME": "from-name",
        "OTEL_RESOURCE_ATTRIBUTES": (
            "service.name=from-resource,service.version=2,deployment.environment.name=prod,team=a%2Cb"
        ),
        "LANGFUSE_RELEASE": "r1",
    }
    settings = resolve(environ=environ)
    assert settings.service_name == "from-name"
    assert settings.deployment == Deployment(environment="prod", release="r1", version="2")
    assert settings.resource_attributes["team"] == "a,b"
    explicit = resolve(Options(service_name="x", service_version="9", environment="e", release="r"), environ)
    assert explicit.service_name == "x"
    assert explicit.deployment == Deployment(environment="e", release="r", version="9")


@pytest.mark.parametrize(
    ("value", "capture"),
    [
        ("NO_CONTENT", "metadata"),
        ("event_only", "metadata"),
        ("false", "metadata"),
        ("SPAN_ONLY", "redacted"),
        ("SPAN_AND_EVENT", "redacted"),
        ("true", "redacted"),
    ],
)
def test_the_standard_capture_variable(value: str, capture: str) -> None:
    standard = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": value}
    assert resolve(environ=standard).capture == capture
    assert resolve(environ={**standard, "LOOOPY_OTEL_CAPTURE": "full"}).capture == "full"
    assert resolve(Options(capture="metadata"), {**standard, "LOOOPY_OTEL_CAPTURE": "full"}).capture == "metadata"


def test_exporters_in_every_form() -> None:
    exporter = Exporter()
    settings = resolve(Options(exporters=["console", exporter, "local", exporter]), {})
    console, custom, local = settings.destinations
    assert isinstance(console, ConsoleDestination)
    assert isinstance(custom, CustomDestination)
    assert (custom.name, custom.dialects) == ("Exporter", ("genai", "langfuse", "seed"))
    assert isinstance(local, LocalDestination)
    assert resolve(Options(exporters=exporter), {}).destinations[0] == custom
    assert resolve(Options(exporters="none"), {}).destinations == ()
    assert [d.name for d in resolve(environ={"LOOOPY_OTEL_EXPORTERS": "console, local"}).destinations] == [
        "console",
        "local",
    ]


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"otlp_endpoint": "http://c:4318"}, {}),
        ({"otlp_endpoint": "http://c:4318"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}),
        ({"tracer_provider": "global"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c"}),
        ({}, {}),
    ],
)
def test_a_protocol_that_others_speak_is_no_problem(options: dict[str, Any], environ: dict[str, str]) -> None:
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **environ}
    (otlp,) = resolve(Options(exporters="otlp", metrics="none", **options), environ).destinations
    assert isinstance(otlp, HTTPDestination)
    assert otlp.endpoint.endswith("/v1/traces")


def test_dialects_are_chosen_by_destination() -> None:
    (otlp,) = resolve(Options(exporters="otlp", dialects={"otlp": "seed"}), {}).destinations
    assert isinstance(otlp, HTTPDestination)
    assert otlp.dialects == ("seed",)


@pytest.mark.parametrize(
    ("options", "environ", "words"),
    [
        ({"exporters": "langfus"}, {}, ["'langfus'", "'local'"]),
        ({"exporters": "langfuse"}, {}, ["LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY"]),
        ({"exporters": "langfuse"}, {"LANGFUSE_PUBLIC_KEY": "p"}, ["set LANGFUSE_SECRET_KEY"]),
        ({"exporters": 5}, {}, ["5", "SpanExporter"]),
        ({"capture": "all"}, {}, ["capture='all'", "full, redacted, metadata"]),
        ({}, {"LOOOPY_OTEL_CAPTURE": "all"}, ["LOOOPY_OTEL_CAPTURE='all'"]),
        ({"history": "none"}, {}, ["history='none'", "full, delta"]),
        ({"exporters": "otlp", "dialects": {"otlp": "sed"}}, {}, ["dialects['otlp']='sed'", "seed"]),
        ({"exporters": "otlp", "dialects": {"langfuse": "seed"}}, {}, ["langfuse is not among the exporters (otlp)"]),
        ({"exporters": "otlp", "otlp_endpoint": "collector:4318"}, {}, ["OTLP endpoint", "http://"]),
        (
            {"exporters": "otlp"},
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"},
            ["grpc", "looopy-otel[grpc]"],
        ),
        ({"exporters": "otlp"}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http"}, ["'http'", "http/protobuf"]),
        ({"exporters": "otlp", "otlp_endpoint": "http://c:abc"}, {}, ["'http://c:abc", "port must be a number"]),
        ({"exporters": "otlp", "otlp_endpoint": "http://c:99999"}, {}, ["http://c:99999", "port must be a number"]),
        ({"exporters": "otlp", "otlp_endpoint": "http://[::1"}, {}, ["http://[::1", "URL"]),
        ({"exporters": "otlp"}, {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere.pem"}, ["/nowhere.pem", "no such file"]),
        ({"exporters": "otlp"}, {"OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"}, ["'deflate'", "gzip or none"]),
        ({"exporters": "otlp", "otlp_headers": {"x y": "1"}}, {}, ["'x y'"]),
        ({"exporters": "otlp", "otlp_headers": {"x": "a\nb"}}, {}, ["'x'", "one line"]),
        ({"exporters": "otlp", "otlp_headers": {"x": 5}}, {}, ["'x'"]),
        ({"exporters": "otlp", "otlp_headers": "a=b"}, {}, ["otlp_headers", "mapping"]),
        ({"exporters": "otlp", "dialects": "seed"}, {}, ["dialects='seed'", "{'otlp': 'seed'}"]),
        ({"environment": 5}, {}, ["environment=5", "text"]),
        ({"release": 5, "service_version": 6}, {}, ["release=5", "service_version=6"]),
        ({}, {"OTEL_TRACES_SAMPLER": "sometimes"}, ["OTEL_TRACES_SAMPLER='sometimes'"]),
        ({}, {"OTEL_TRACES_SAMPLER_ARG": "2"}, ["OTEL_TRACES_SAMPLER_ARG='2'", "from 0 to 1"]),
        ({}, {"OTEL_RESOURCE_ATTRIBUTES": "abc"}, ["OTEL_RESOURCE_ATTRIBUTES", "key=value"]),
        ({}, {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "maybe"}, ["'maybe'", "NO_CONTENT"]),
    ],
)
def test_wrong_settings_are_named(options: dict[str, Any], environ: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        resolve(Options(**options), environ)
    assert all(word in str(raised.value) for word in words), str(raised.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        resolve(Options(capture="x", history="y"), {"OTEL_TRACES_SAMPLER": "z"})
    assert str(raised.value).count("\n- ") == 3


def test_secrets_are_in_no_repr_and_no_error() -> None:
    settings = resolve(Options(otlp_headers={"authorization": "Bearer s3cret"}, exporters=["langfuse", "otlp"]), KEYS)
    assert "s3cret" not in repr(settings)
    assert "sk-lf-2" not in repr(settings)
    assert BASIC not in repr(settings)
    assert "s3cret" not in repr(Options(otlp_headers={"authorization": "s3cret"}, langfuse_secret_key="s3cret"))
    with pytest.raises(ConfigurationError) as raised:
        resolve(
            Options(exporters="otlp"),
            {"OTEL_EXPORTER_OTLP_HEADERS": "s3cret", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
        )
    assert "s3cret" not in str(raised.value)


def test_where_the_local_store_is(tmp_path: Path) -> None:
    assert database_path(tmp_path / "a.db", {"LOOOPY_OTEL_DB": "/b.db"}) == tmp_path / "a.db"
    assert database_path(None, {"LOOOPY_OTEL_DB": "/b.db"}) == Path("/b.db")
    assert database_path(None, {}).name == "traces.db"


def test_the_proxy_from_the_environment() -> None:
    assert litellm_environment({}) == ("http://localhost:4000", None)
    assert litellm_environment({"LITELLM_URL": "http://p", "LITELLM_API_KEY": "sk"}) == ("http://p", "sk")


def test_the_query_of_an_endpoint_is_in_no_repr() -> None:
    settings = resolve(Options(exporters="otlp", otlp_endpoint="http://c:4318/?token=s3cret"), {})
    assert "s3cret" not in repr(settings)

"""`langfuse_projects=` and its environment form: which destinations they make, and what is said of mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from looopy_otel.core.config import resolve
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.settings import HTTPDestination, Options
from looopy_otel.telemetry import configure

A = {"public_key": "pk-a", "secret_key": "sk-a"}
B = {"public_key": "pk-b", "secret_key": "sk-b"}
DEFAULT = {"LANGFUSE_PUBLIC_KEY": "pk-0", "LANGFUSE_SECRET_KEY": "sk-0"}


def destinations(projects: Mapping[str, Any] | None = None, **environ: str) -> list[HTTPDestination]:
    found = resolve(Options(langfuse_projects=projects), environ).destinations
    return [one for one in found if isinstance(one, HTTPDestination)]


def problems(projects: Any = None, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        resolve(Options(langfuse_projects=projects), environ)
    return str(caught.value)


def test_each_project_is_a_destination_beside_the_default() -> None:
    made = destinations({"tenant-a": A, "tenant-b": B | {"base_url": "https://eu.example"}}, **DEFAULT)
    assert [one.label for one in made] == ["langfuse", "langfuse:tenant-a", "langfuse:tenant-b"]
    assert [one.projects for one in made] == [{None}, {"tenant-a"}, {"tenant-b"}]
    assert made[2].endpoint == "https://eu.example/api/public/otel/v1/traces"
    assert "tenant-a" in repr(made[1])
    assert "sk-" not in repr(made)


def test_without_keys_of_its_own_there_is_no_default() -> None:
    assert [one.label for one in destinations({"tenant-a": A})] == ["langfuse:tenant-a"]


def test_a_project_with_the_keys_of_the_default_is_no_second_destination() -> None:
    (made,) = destinations({"main": {"public_key": "pk-0", "secret_key": "sk-0"}}, **DEFAULT)
    assert (made.label, made.projects) == ("langfuse", {None, "main"})


def test_two_names_of_one_project_are_one_destination() -> None:
    (made,) = destinations({"one": A, "other": A})
    assert (made.label, made.projects) == ("langfuse:one", {"one", "other"})


def test_an_otlp_endpoint_that_is_the_same_langfuse_is_no_second_destination() -> None:
    (made,) = destinations(
        {"tenant-a": A | {"base_url": "https://lf.example"}},
        OTEL_EXPORTER_OTLP_ENDPOINT="https://lf.example/api/public/otel",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Basic%20cGstYTpzay1h",
    )
    assert made.projects == {"tenant-a", None}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("projects.json", '{"tenant-a": {"public_key": "pk-a", "secret_key": "sk-a"}}'),
        ("projects.toml", '[tenant-a]\npublic_key = "pk-a"\nsecret_key = "sk-a"\n'),
    ],
)
def test_a_file_says_the_same_as_the_argument(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    assert destinations(LOOOPY_OTEL_LANGFUSE_PROJECTS=str(file)) == destinations({"tenant-a": A})


def test_the_argument_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "projects.json"
    file.write_text('{"tenant-a": {"public_key": "pk-a", "secret_key": "sk-a"}}')
    made = destinations({"tenant-b": B}, LOOOPY_OTEL_LANGFUSE_PROJECTS=str(file))
    assert [one.label for one in made] == ["langfuse:tenant-b"]


def test_every_problem_is_named_in_one_error_without_a_secret() -> None:
    said = problems(
        {
            "a": "sk-lf-1",
            "b": {"public_key": "pk-b", "secret": "sk-lf-2"},
            "c": A | {"base_url": "ftp://sk-lf-3@host"},
            " d ": A,
            "d": B,
            "": B,
            "e": {"public_key": 1, "secret_key": "sk-lf-4"},
        }
    )
    for part in ("['a']: must be a mapping", "'secret' is unknown", "['b']: needs", "['c'] base_url", "['d']: this"):
        assert f"langfuse_projects{part}" in said or part in said
    assert "['']: a project's name" in said
    assert "['e']: needs" in said
    assert "LANGFUSE_PUBLIC_KEY" not in said
    assert "sk-lf" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("{", "is neither TOML (*.toml) nor JSON"),
        ("[1]", "must be a mapping"),
        ('{"a": {"public_key": "p", "secret_key": "sk-lf-1"}, "a": {}}', "says 'a' twice"),
        ('{"a": {"public_key": "p"}}', "needs public_key and secret_key"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "projects.json"
    if text is not None:
        file.write_text(text)
    message = problems(LOOOPY_OTEL_LANGFUSE_PROJECTS=str(file))
    assert f"LOOOPY_OTEL_LANGFUSE_PROJECTS ({file})" in message
    assert said in message
    assert "sk-lf" not in message


def test_a_file_of_keys_that_others_may_read_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "projects.json"
    path.write_text('{"a": {"public_key": "pk-lf-a", "secret_key": "sk-lf-a"}}')
    path.chmod(0o640)
    environ = {"LOOOPY_OTEL_LANGFUSE_PROJECTS": str(path)}
    (warning,) = resolve(environ=environ).warnings
    assert warning.endswith(f"others may read it: chmod 600 {path}")
    path.chmod(0o600)
    assert resolve(environ=environ).warnings == ()


def test_configure_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "projects.json"
    path.write_text('{"a": {"public_key": "pk-lf-a", "secret_key": "sk-lf-a"}}')
    path.chmod(0o644)
    monkeypatch.setenv("LOOOPY_OTEL_LANGFUSE_PROJECTS", str(path))
    with configure(metrics="none"):
        assert f"chmod 600 {path}" in caplog.text

"""What the README says, holds: its Python runs, its links lead somewhere, its tables name what exists."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from looopy_otel.core.config import resolve
from looopy_otel.core.settings import Dialect
from looopy_otel.providers import RecordedRequest, Reply, ScriptedServer
from tests.support.model_server import ModelServer
from tests.support.require import require_packages

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CHANGELOG.md",
    "examples/README.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
WRAPPING = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "wrapping.md").read_text(encoding="utf-8"), re.DOTALL)


def answer(request: RecordedRequest) -> Reply:
    """Calls the first tool that is offered with arguments of the right types, then answers."""
    tools: list[dict[str, Any]] = request.setting("tools") or []
    if not tools or request.setting("messages")[-1]["role"] == "tool":
        return Reply(text="Hello!", usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12})
    function = tools[0]["function"]
    return Reply(tool_calls=[(function["name"], dict.fromkeys(function["parameters"]["properties"], 7))])


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_its_python_runs_as_written(number: int) -> None:
    with ScriptedServer(answer) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", BLOCKS[number].replace("http://localhost:4000", server.url)],
            capture_output=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "LITELLM_URL": server.url},
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", range(len(WRAPPING)))
def test_the_python_of_the_wrapping_page_runs_as_written(number: int) -> None:
    require_packages("openai", "anthropic", "litellm", "langgraph", "agents", "pydantic_ai", "tenacity")
    with ModelServer() as server:
        done = subprocess.run(
            [sys.executable, "-c", WRAPPING[number]],
            capture_output=True,
            encoding="utf-8",
            env={
                **os.environ,
                "PYTHONIOENCODING": "utf-8",
                "OPENAI_BASE_URL": f"{server.url}/v1",
                "OPENAI_API_KEY": "sk-test",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            },
            check=False,
            timeout=110,
        )
    assert done.returncode == 0, done.stderr


def test_there_are_blocks_to_run() -> None:
    assert len(BLOCKS) >= 6
    assert len(WRAPPING) >= 6


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    here = ROOT / page
    links = re.findall(r"\]\(([^)#]+)\)", here.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (here.parent / link).exists()] == []


def test_it_starts_with_the_two_commands() -> None:
    commands = [line for line in README.splitlines() if line.startswith(("make ", "#"))][:3]
    assert [line.split("  ")[0] for line in commands] == ["# looopy-otel", "make demo", "make test"]


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_it_names_every_dialect(dialect: str) -> None:
    assert f"`{dialect}`" in README


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LANGFUSE_BASE_URL", "nowhere"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("LOOOPY_OTEL_EXPORTERS", "carrier-pigeon"),
        ("LOOOPY_OTEL_CAPTURE", "some"),
        ("LOOOPY_OTEL_HISTORY", "short"),
    ],
)
def test_its_variables_are_read(variable: str, value: str) -> None:
    assert f"`{variable}`" in README
    keys = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}
    with pytest.raises(ValueError, match=value):
        resolve(environ={**keys, variable: value})


def test_the_packages_of_the_architecture_page_are_those_of_the_tree() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE))
    assert named == {path.parent.name for path in (ROOT / "looopy_otel").glob("*/__init__.py")}


def test_the_files_of_the_architecture_page_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = re.findall(r"`((?:[a-z]+/)+(?:[a-z_]+\.py)?)`", page.partition("## Where things are")[2])
    assert len(files) >= 10
    assert [name for name in files if not (ROOT / "looopy_otel" / name).exists()] == []

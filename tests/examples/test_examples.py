"""Every example runs as its reader would run it, against a scripted server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.offline import answer
from looopy_otel.core.semconv import LITELLM_SESSION_HEADER
from looopy_otel.providers import ScriptedServer

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "offline")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(answer) as running:
        yield running


def run(script: str, *arguments: str, **environment: str) -> str:
    """Runs a script of `examples/`; gives what it printed, and fails on an exit code or a warning."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / script), *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def test_quick_start(server: ScriptedServer) -> None:
    assert run("quick_start.py", LITELLM_URL=server.url) == (
        "Event: task\nEvent: status-update\nEvent: status-update\nDone!\nSee the trace: looopy-otel show last\n"
    )


def test_factories(server: ScriptedServer) -> None:
    assert run("factories.py", LITELLM_URL=server.url).splitlines() == [
        "gpt-4",
        "gpt-4-turbo-preview",
        "gpt-3.5-turbo",
        "claude-3-opus-20240229",
        "claude-3-sonnet-20240229",
        "claude-3-haiku-20240307",
        "amazon.nova-micro-v1:0",
        "amazon.nova-lite-v1:0",
        "ollama/llama2",
        "ollama/mistral",
        "ollama/codellama",
        "Answer: Hello! How can I help you?",
    ]


def test_custom_configuration(server: ScriptedServer) -> None:
    shown = run("custom_configuration.py", LITELLM_URL=server.url, LITELLM_API_KEY="sk-secret-key")
    assert "Answer: Hello! How can I help you?" in shown
    assert "sk-secret-key" not in shown
    sent = server.requests[0].json
    assert {name: sent[name] for name in ("model", "temperature", "max_tokens", "top_p")} == {
        "model": "gpt-4",
        "temperature": 0.7,
        "max_tokens": 2000,
        "top_p": 0.9,
    }
    assert (sent["presence_penalty"], sent["frequency_penalty"]) == (0.1, 0.1)


def test_environment_variables(server: ScriptedServer) -> None:
    shown = run("environment_variables.py", LITELLM_URL=server.url, LITELLM_API_KEY="sk-1234")
    assert shown == "Answer: Hello! How can I help you?\n" * 2
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer sk-1234"] * 2


def test_tool_calling(server: ScriptedServer) -> None:
    assert run("tool_calling.py", LITELLM_URL=server.url) == (
        'Tool call: get_weather {"location":"NYC"}\nAnswer: It is sunny in NYC, 21 °C.\n'
    )
    assert server.requests[1].json["messages"][-1]["content"] == "Sunny, 21 °C in NYC"


def test_session_tracking(server: ScriptedServer) -> None:
    shown = run("session_tracking.py", LITELLM_URL=server.url)
    assert shown.startswith("One call: Hello! How can I help you?\nOne run: 42 * 58 is 2436.\n")
    one, task, *conversation = [request.headers[LITELLM_SESSION_HEADER] for request in server.requests]
    assert one == "task-123"
    assert task.startswith("task_")
    assert conversation == ["chat-42", "chat-42"]


def test_error_handling(server: ScriptedServer) -> None:
    refused, timeout, key = run("error_handling.py", LITELLM_URL=server.url).split("\n\n")[:3]
    assert refused.splitlines()[:2] == ["--- Connection refused", "LiteLLM API error: ECONNREFUSED (127.0.0.1:9)"]
    assert "litellm --model gpt-3.5-turbo --port 4000" in refused
    assert timeout.splitlines()[:2] == ["--- Timeout", "Request timed out: LiteLLM request timeout after 0.05s"]
    assert "timeout=120.0" in timeout
    assert "LiteLLM API error: 401 Unauthorized" in key
    assert "LITELLM_API_KEY" in key


def test_dynamic_model(server: ScriptedServer) -> None:
    assert run("dynamic_model.py", LITELLM_URL=server.url) == (
        "gpt-3.5-turbo-0125: Hello! How can I help you?\ngpt-4-0613: Hello! How can I help you?\n"
    )


def test_custom_timeout(server: ScriptedServer) -> None:
    assert run("custom_timeout.py", LITELLM_URL=server.url) == "Hello! How can I help you?\n"
    assert server.requests[0].streamed


def test_low_temperature(server: ScriptedServer) -> None:
    assert run("low_temperature.py", LITELLM_URL=server.url) == "Answer: Hello! How can I help you?\n"
    assert server.requests[0].json["temperature"] == 0.1


def test_observability(server: ScriptedServer) -> None:
    lines = run("observability.py", LITELLM_URL=server.url).splitlines()
    assert lines[:5] == [
        "Model: gpt-4-0613",
        "Prompt tokens: 150",
        "Completion tokens: 75",
        "Total tokens: 225",
        "Cost: $0.0068",
    ]
    assert "llm.call" in lines
    for line in (
        "langfuse.observation.type = generation",
        "gen_ai.system = openai",
        "gen_ai.request.model = gpt-4",
        "gen_ai.response.model = gpt-4-0613",
        "gen_ai.usage.prompt_tokens = 150",
        "gen_ai.usage.completion_tokens = 75",
        "gen_ai.usage.total_tokens = 225",
    ):
        assert f"  {line}" in lines
    assert [line for line in lines if line.startswith("  gen_ai.prompt = ") and "Hello!" in line]
    assert [line for line in lines if line.startswith("  gen_ai.completion = ") and "How can I help you?" in line]


LITELLM_AGENT_OUTPUT = """\
🚀 LiteLLM Agent Example

======================================================================

📡 LiteLLM URL: {url}
🔑 API Key: {key}

======================================================================

💬 User: Calculate 15 * 23 + 47
======================================================================

[1] 📡 Event: task
    Task ID: {task}
    Status: submitted

[2] 📡 Event: status-update
    Status: working

🔧 Executing: calculate
   Arguments: {{ expression: '15 * 23 + 47' }}
   Result: 392

[3] 📡 Event: status-update
    Status: completed
    Message: The result of 15 × 23 + 47 is 392.
    ✅ FINAL EVENT

======================================================================
✅ Completed! Total events: 3
======================================================================
"""  # noqa: RUF001


@pytest.mark.parametrize(("environment", "key"), [({}, "none"), ({"LITELLM_API_KEY": "sk-1234"}, "***")])
def test_litellm_agent_prints_exactly_this(server: ScriptedServer, environment: dict[str, str], key: str) -> None:
    shown = run("litellm_agent.py", LITELLM_URL=server.url, **environment)
    task = re.search(r"Task ID: (task_\d{13}_\w+)\n", shown)
    assert task is not None
    assert shown == LITELLM_AGENT_OUTPUT.format(url=server.url, key=key, task=task[1])


def test_what_an_example_traced_is_shown_by_the_command_line(server: ScriptedServer) -> None:
    run("litellm_agent.py", LITELLM_URL=server.url)
    done = subprocess.run(
        [sys.executable, "-m", "looopy_otel", "show", "last"],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=True,
        timeout=60,
    )
    assert done.stdout.count("llm.call (generation)") == 2
    assert "Tokens: 150 → 75 (225 total)" in done.stdout
    assert "Cost: $0.0068" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_every_example_runs_without_a_proxy(name: str) -> None:
    assert run("offline.py", name)


def test_the_launcher_lists_the_examples() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "offline.py"), "nothing"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert ", ".join(NAMES) in done.stderr


def test_every_example_is_on_the_page_about_them() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"[{name}.py]({name}.py)" not in page] == []

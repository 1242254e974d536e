"""`looopy-otel demo`: the run, its trace, and where the trace went."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from looopy_otel.providers import Reply, ScriptedServer
from looopy_otel.store.sqlite import Store
from tests.cli.command import Command
from tests.cli.stories import figure
from tests.support.otlp_sink import OTLPSink

ROOT = Path(__file__).parents[2]

TRACE = """\
Trace ID · MOMENT

agent.execute (agent)  litellm-agent · TIME
│   Tokens: 384 → 96 (480 total)
│   Cost: $0.0145
├── agent.iteration (chain)  #1 · TIME
│   ├── llm.call (generation)  TIME
│   │   Model: gpt-4-0613 (requested: gpt-4)
│   │   Tokens: 150 → 75 (225 total)
│   │   Cost: $0.0068
│   └── tool.execute (tool)  calculate · TIME
└── agent.iteration (chain)  #2 · TIME
    └── llm.call (generation)  TIME
        Model: gpt-4-0613 (requested: gpt-4)
        Tokens: 234 → 21 (255 total)
        Cost: $0.0077
"""

OUTPUT = (
    """\
🚀 LiteLLM Agent Example

======================================================================

📡 LiteLLM URL: http://127.0.0.1:PORT
🔑 API Key: none

======================================================================

💬 User: Calculate 15 * 23 + 47
======================================================================

[1] 📡 Event: task
    Task ID: TASK
    Status: submitted

[2] 📡 Event: status-update
    Status: working

🔧 Executing: calculate
   Arguments: { expression: '15 * 23 + 47' }
   Result: 392

[3] 📡 Event: status-update
    Status: completed
    Message: The result of 15 × 23 + 47 is 392.
    ✅ FINAL EVENT

======================================================================
✅ Completed! Total events: 3
======================================================================

"""  # noqa: RUF001
    + TRACE
    + """
Stored in STORE
See it again: looopy-otel show last

The model was scripted. For a real one: looopy-otel demo --url http://localhost:4000 --model MODEL
"""
)


def without_chance(text: str) -> str:
    """Replaces what differs from run to run by its name."""
    for pattern, name in (
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"task_\d{13}_[a-z0-9]+", "TASK"),
        (r"\b[0-9a-f]{32}\b", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "MOMENT"),
        (r"\d+(\.\d+)? m?s$", "TIME"),
        (r"Stored in /\S+", "Stored in STORE"),
    ):
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text


def test_it_prints_exactly_this(command: Command, database: Path) -> None:
    done = command("demo")
    assert (done.code, done.err) == (0, "")
    assert without_chance(done.out) == OUTPUT
    assert f"Stored in {database}\n" in done.out


def test_the_readme_shows_what_it_prints() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.partition("`make demo` ends like this:\n\n```\n")[2].partition("```")[0]
    assert without_chance(shown) == OUTPUT[OUTPUT.index("💬") :]


def test_the_trace_can_be_seen_again(command: Command, database: Path) -> None:
    demo = command("demo").out
    again = command("show", "last").out
    assert without_chance(again) == TRACE
    assert again in demo
    assert command("demo", "--db", str(database)).out.count(f"looopy-otel show last --db {database}\n") == 1
    assert len(json.loads(command("traces", "--agent", "litellm-agent", "--json").out)) == 2


def test_nothing_of_a_key_or_a_header_is_stored(command: Command, database: Path) -> None:
    with ScriptedServer([Reply(text="392")]) as server:
        command("demo", "--url", server.url, "--api-key", "sk-very-secret-key-1234567890")
        assert server.requests[0].headers["authorization"] == "Bearer sk-very-secret-key-1234567890"
    assert "very-secret" not in command("show", "last", "--json").out


def test_against_a_proxy(command: Command, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_API_KEY", "sk-1234")
    with ScriptedServer([Reply(text="It is 392.")]) as server:
        done = command("demo", "--url", f"{server.url}/v1/", "--model", "claude-3-opus")
        assert [request.json["model"] for request in server.requests] == ["claude-3-opus"]
        assert server.requests[0].headers["authorization"] == "Bearer sk-1234"
    assert done.code == 0
    assert "🔑 API Key: ***\n" in done.out
    assert "    Message: It is 392.\n" in done.out
    assert "Model: claude-3-opus\n        Tokens not reported\n        Cost unknown\n" in done.out
    assert "The model was scripted" not in done.out


def test_a_tool_that_fails_is_a_result_that_the_model_sees(command: Command, database: Path) -> None:
    script = [Reply(tool_calls=[("calculate", {"expression": "1 / 0"})]), Reply(text="That cannot be divided.")]
    with ScriptedServer(script) as server:
        done = command("demo", "--url", server.url)
    assert done.code == 0
    assert "   Arguments: { expression: '1 / 0' }\n   Error: division by zero\n" in done.out
    assert "tool.execute (tool)  calculate · failed · " in done.out
    assert "✅ Completed! Total events: 3\n" in done.out


def test_a_model_that_never_answers_is_a_failure(command: Command, database: Path) -> None:
    with ScriptedServer([Reply(tool_calls=[("calculate", {"expression": "1 + 1"})])]) as server:
        done = command("demo", "--url", server.url)
    assert done.code == 1
    assert "❌ Failed! Total events: 3\n" in done.out
    assert "Error: the run did not complete: stopped after 20 iterations" in done.err


def test_a_proxy_that_is_not_there(command: Command, database: Path) -> None:
    with ScriptedServer([Reply()]) as server:
        url = server.url
    done = command("demo", "--url", url)
    assert done.code == 1
    assert done.err.startswith("Error: LiteLLM API error: ECONNREFUSED")
    assert "litellm --model gpt-3.5-turbo --port 4000" in done.err
    assert "    Status: failed\n    Message: LiteLLM API error: ECONNREFUSED" in done.out
    assert "    ❌ FINAL EVENT\n" in done.out
    assert "❌ Failed! Total events: 3\n" in done.out
    assert "llm.call (generation)  error · " in done.out
    assert done.out.count("LiteLLMConnectionError") == 1
    assert "$" not in done.out


def test_a_wrong_key(command: Command, database: Path) -> None:
    with ScriptedServer([Reply(status=401, text="Invalid key")]) as server:
        done = command("demo", "--url", server.url, "--api-key", "sk-wrong")
    assert done.code == 1
    assert "LiteLLM API error: 401 Unauthorized" in done.err
    assert "LITELLM_API_KEY" in done.err
    assert "sk-wrong" not in done.out + done.err


def test_a_url_that_is_none(command: Command, database: Path) -> None:
    done = command("demo", "--url", "localhost:4000")
    assert (done.code, done.out) == (1, "")
    assert "http:// or https://" in done.err


def test_a_wrong_setting(command: Command, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOOPY_OTEL_CAPTURE", "some")
    done = command("demo")
    assert (done.code, done.out) == (1, "")
    assert "LOOOPY_OTEL_CAPTURE='some'" in done.err


@pytest.mark.parametrize("arguments", [("--model", "gpt-4"), ("--api-key", "sk-1")])
def test_options_of_a_proxy_need_its_url(command: Command, database: Path, arguments: tuple[str, str]) -> None:
    done = command("demo", *arguments)
    assert (done.code, done.out) == (2, "")
    assert "--url" in done.err


def test_it_is_also_sent_where_the_environment_says(
    command: Command, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OTLPSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        done = command("demo")
        names = sorted(span.name for span in sink.wait_for(6))
    assert f"Stored in {database}\nSent to otlp: 6 spans to {sink.url}/v1/traces\n" in done.out
    assert names == ["agent.execute", "agent.iteration", "agent.iteration", "llm.call", "llm.call", "tool.execute"]
    assert without_chance(command("show", "last").out) == TRACE


def test_a_backend_that_is_down_costs_nothing_but_a_line(
    command: Command, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OTLPSink() as sink:
        url = sink.url
    monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
    monkeypatch.setenv("LANGFUSE_SECRET_KEY", "sk-lf-very-secret")
    monkeypatch.setenv("LANGFUSE_BASE_URL", url)
    done = command("demo")
    assert done.code == 0
    assert "Not taken yet by langfuse: " in done.out
    assert "very-secret" not in done.out + done.err


@pytest.mark.parametrize(("variable", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_SAMPLER", "always_off")])
def test_where_tracing_is_off_it_says_so(
    command: Command, database: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    done = command("demo")
    assert done.code == 0
    assert "Nothing was recorded: OTEL_SDK_DISABLED or OTEL_TRACES_SAMPLER turns tracing off.\n" in done.out


def test_a_store_that_cannot_be_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = command("demo", "--db", str(tmp_path / "file" / "traces.db"))
    assert done.code == 1
    assert "✅ Completed! Total events: 3\n" in done.out
    assert "Error: the trace could not be stored: " in done.err
    assert "--db" in done.err


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "looopy_otel", *arguments],
        capture_output=True,
        env={**os.environ, **environment},
        check=False,
        timeout=60,
    )


def test_a_stream_that_knows_only_ascii(database: Path) -> None:
    for arguments in (("demo",), ("show", "last", "--content"), ("traces",)):
        done = run(*arguments, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()
        assert b"150 -> 75" in done.stdout or b"384 -> 96" in done.stdout
        assert b"?" not in done.stdout


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}, {}])
def test_without_colour(database: Path, environment: dict[str, str]) -> None:
    for arguments in (("demo",), ("show",), ("traces",), ("--help",)):
        done = run(*arguments, **environment)
        assert done.returncode == 0
        assert b"\x1b" not in done.stdout


def test_a_reader_that_leaves_early(database: Path) -> None:
    run("demo")
    command = [sys.executable, "-m", "looopy_otel", "show", "last", "--content"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


PROBE = """
import sys
from looopy_otel.__main__ import main
try:
    main()
except SystemExit:
    loaded = sorted(name for name in sys.modules if name.startswith(("opentelemetry", "httpx", "genai_prices")))
    print(loaded, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [("--version",), ("traces",), ("show", "last"), ("traces", "--json")])
def test_reading_traces_loads_no_sdk(database: Path, arguments: tuple[str, ...]) -> None:
    with Store(database) as store:
        store.insert(figure())
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        # Logfire, where it is installed, comes with pydantic as its plugin, and brings OpenTelemetry along.
        env={**os.environ, "PYDANTIC_DISABLE_PLUGINS": "__all__"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == "[]\n"


def test_the_version(command: Command) -> None:
    done = command("--version")
    assert done.code == 0
    assert re.fullmatch(r"looopy-otel \d+\.\d+\.\S+\n", done.out)

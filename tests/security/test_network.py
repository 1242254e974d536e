"""Which addresses a whole program talks to: those that are configured, and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.backend import PUBLIC_KEY, SECRET_KEY, Backend, Langfuse, collector

WATCHED = """
import json, sys
seen = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        seen.append([event, str(arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[:2])])
sys.addaudithook(watch)
{program}
print("SEEN" + json.dumps(seen))
"""
IDLE = """
import looopy_otel as lo
import looopy_otel.agent, looopy_otel.providers, looopy_otel.testing
telemetry = lo.configure()
assert seen == [], seen
"""
CALLS = """
from looopy_otel.agent import AgentLoop
from looopy_otel.providers import Reply, ScriptedProvider
AgentLoop(agent_id="a", llm_provider=ScriptedProvider([Reply(text="Hello!")])).run("Hi")
telemetry.shutdown()
"""
DOCTOR = """
sys.argv = ["looopy-otel", "doctor"]
from looopy_otel.__main__ import main
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
"""


def seen(program: str) -> set[tuple[str, str]]:
    """The connections and look-ups of a program."""
    command = [sys.executable, "-c", WATCHED.format(program=program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.rpartition("SEEN")[2])
    return {(event, where) for event, where in found}


def test_with_nothing_configured_there_is_none(isolated_environment: Path) -> None:
    assert seen(IDLE + CALLS + DOCTOR) == set()


def test_only_the_configured_endpoints(isolated_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Backend(Langfuse()) as langfuse, Backend(collector) as otlp:
        monkeypatch.setenv("LANGFUSE_PUBLIC_KEY", PUBLIC_KEY)
        monkeypatch.setenv("LANGFUSE_SECRET_KEY", SECRET_KEY)
        monkeypatch.setenv("LANGFUSE_BASE_URL", langfuse.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", otlp.url)
        found = seen(IDLE + CALLS + DOCTOR)
        addresses = {str(("127.0.0.1", backend.port)) for backend in (langfuse, otlp)}
        assert langfuse.requests
        assert otlp.requests
    assert {where for event, where in found if event == "socket.connect"} == addresses
    looked_up = {where for event, where in found if event != "socket.connect"}
    assert looked_up <= addresses

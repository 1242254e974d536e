"""The hint that says how to start the proxy: its commands start one that takes the key they made."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from looopy_otel.providers import LiteLLM, LiteLLMAPIError, LiteLLMConnectionError, Reply, ScriptedServer
from tests.support.proxy import START_TIMEOUT, find_executable
from tests.support.require import ENVIRONMENT, absent

pytestmark = pytest.mark.proxy

HELLO = [{"role": "user", "content": "Hello!"}]


@dataclass(frozen=True, slots=True)
class Hinted:
    """A proxy that was started as the hint says.

    Attributes:
        url: Where it listens.
        key: The master key that the hint's command made.
    """

    url: str
    key: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hinted_commands(url: str) -> list[str]:
    """The shell commands of the hint that a refused connection carries."""
    with pytest.raises(LiteLLMConnectionError) as caught:
        LiteLLM.gpt35_turbo(url).call_sync(messages=HELLO)
    found = re.search(r"start the LiteLLM proxy: (.*?), with the same key in LITELLM_API_KEY", caught.value.hint)
    assert found is not None
    return found.group(1).split("; ")


def wait_until_alive(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        assert process.poll() is None, f"the proxy ended by itself: {log.read_text(errors='replace')[-2000:]}"
        assert time.monotonic() < deadline, f"the proxy did not start: {log.read_text(errors='replace')[-2000:]}"
        try:
            if httpx.get(f"{url}/health/liveliness", timeout=5.0, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)  # nothing listens yet


@pytest.fixture
def upstream() -> Iterator[ScriptedServer]:
    with ScriptedServer([Reply(text="It works.")]) as server:
        yield server


@pytest.fixture
def hinted(upstream: ScriptedServer, tmp_path: Path) -> Iterator[Hinted]:
    executable = Path(find_executable())
    shell = shutil.which("bash")
    if shell is None or shutil.which("openssl") is None:
        absent("proxy", "the hint's commands need bash and openssl")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    install, make_key, start = hinted_commands(url)
    assert install == "pip install 'litellm[proxy]'"
    assert start.endswith(" --port 4000")
    key, log = tmp_path / "key", tmp_path / "proxy.log"
    start = start.replace("--port 4000", f"--host 127.0.0.1 --port {port}")
    script = f'{make_key}; printf %s "$LITELLM_MASTER_KEY" > {key}; exec {start}'
    with log.open("wb") as output:
        process = subprocess.Popen(
            [shell, "-c", script],
            env={
                "PATH": f"{executable.parent}{os.pathsep}{ENVIRONMENT.get('PATH', os.defpath)}",
                "HOME": str(tmp_path),
                "OPENAI_API_KEY": "sk-upstream",
                "OPENAI_BASE_URL": f"{upstream.url}/v1",
                "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                "LITELLM_TELEMETRY": "False",
            },
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until_alive(process, url, log)
        yield Hinted(url, key.read_text())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10.0)


def test_the_hint_starts_a_proxy_that_takes_its_key_and_no_other(hinted: Hinted, upstream: ScriptedServer) -> None:
    assert re.fullmatch(r"sk-[0-9a-f]{32}", hinted.key)
    assert LiteLLM.gpt35_turbo(hinted.url, hinted.key).call_sync(messages=HELLO).message.content == "It works."
    with pytest.raises(LiteLLMAPIError):
        LiteLLM.gpt35_turbo(hinted.url, "sk-another").call_sync(messages=HELLO)
    assert len(upstream.requests) == 1

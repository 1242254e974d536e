"""A real LiteLLM proxy on loopback whose models are a scripted upstream, and what the proxy recorded of each call."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx

from looopy_otel.providers import RecordedRequest, Reply, ScriptedServer
from tests.support.anthropic_upstream import AnthropicUpstream
from tests.support.require import ENVIRONMENT, absent

VERSION: Final = "1.106.2"
MASTER_KEY: Final = "sk-loopback-master-0123456789"
EXAMPLE_CONFIG: Final = Path(__file__).parents[2] / "examples" / "litellm_config.yaml"
START_TIMEOUT: Final = 150.0
ADDED_METADATA: Final = frozenset({"headers", "trace_id", "used_client_oauth_token"})
"""What the proxy itself adds to the metadata of a request."""

RECORDER: Final = '''
"""Writes one JSON line for each call that the proxy has finished."""

import json
import os

from litellm.integrations.custom_logger import CustomLogger


class Recorder(CustomLogger):
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.write("success", kwargs)

    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.write("failure", kwargs)

    def write(self, outcome, kwargs):
        params = kwargs.get("litellm_params") or {}
        request = params.get("proxy_server_request") or {}
        line = {
            "outcome": outcome,
            "payload": kwargs.get("standard_logging_object") or {},
            "session": params.get("litellm_session_id"),
            "headers": request.get("headers") or {},
        }
        with open(os.environ["RECORDER_FILE"], "a") as file:
            file.write(json.dumps(line, default=str) + "\\n")


recorder = Recorder()
'''


@dataclass(frozen=True, slots=True)
class ProxyRecord:
    """One call as the proxy's own logging saw it.

    Attributes:
        outcome: ``success`` or ``failure``.
        session: LiteLLM's session id of the call.
        trace: LiteLLM's trace id of the call, from its standard logging payload.
        tags: The request tags, LiteLLM's own ``User-Agent`` ones left out.
        metadata: The ``metadata`` object of the request body.
        headers: The request's headers, without the credentials.
        model: The model that answered.
        model_group: The model that was asked for.
        cost: USD as the proxy computed it.
        call_id: ``x-litellm-call-id`` of the response.
        tokens: Prompt and completion tokens.
        payload: The whole standard logging payload.
    """

    outcome: str
    session: str | None
    trace: str | None
    tags: tuple[str, ...]
    metadata: dict[str, Any]
    headers: dict[str, str]
    model: str | None
    model_group: str | None
    cost: float | None
    call_id: str | None
    tokens: tuple[int, int]
    payload: dict[str, Any]


class Upstream:
    """The model behind the proxy: plays what the test says. `requests` are those since the last `play`."""

    def __init__(self) -> None:
        self._next: Callable[[RecordedRequest], Reply] = lambda _: Reply(text="ok")
        self._server = ScriptedServer(lambda request: self._next(request))
        self._seen = 0

    @property
    def url(self) -> str:
        """Base URL with ``/v1``, as OpenAI's clients want it."""
        return f"{self._server.url}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """What the proxy asked since the last `play`."""
        return self._server.requests[self._seen :]

    def play(self, *replies: Reply) -> None:
        """Answers the next requests with these, in order; the last one repeats."""
        left = list(replies)
        self.play_by(lambda _: left.pop(0) if len(left) > 1 else left[0])

    def play_by(self, script: Callable[[RecordedRequest], Reply]) -> None:
        """Answers each request with what `script` makes of it."""
        self._next = script
        self._seen = len(self._server.requests)

    def wait_for_disconnects(self, count: int) -> bool:
        """Waits until the proxy closed so many connections early since the upstream started."""
        return self._server.wait_for_disconnects(count)

    @property
    def disconnects(self) -> int:
        """Connections that the proxy closed early since the upstream started."""
        return self._server.disconnects

    def close(self) -> None:
        """Stops the upstream."""
        self._server.close()


class LiteLLMProxy:
    """A real proxy with the configuration of the examples; only the upstreams' addresses are others.

    Beside the example's models there are ``support-bot`` (an alias of gpt-4o-mini), ``in-house`` (a model that
    has no price) and ``retrying`` (gpt-4o-mini that the proxy tries three times). The example's three retries are off.

    Args:
        directory: An empty directory for its files.
    """

    def __init__(self, directory: Path) -> None:
        executable = find_executable()
        self.upstream = Upstream()
        self.claude = AnthropicUpstream()
        self.key = MASTER_KEY
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._records = directory / "records.jsonl"
        self._log = directory / "proxy.log"
        config = _write_config(directory, self.upstream.url)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [executable, "--config", config, "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]],
                env=_environment(directory, self.upstream, self.claude, self._records),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def records(self) -> list[ProxyRecord]:
        """What the proxy has logged so far, in order."""
        text = self._records.read_text(encoding="utf-8") if self._records.exists() else ""
        return [_record(json.loads(line)) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def wait_for_records(
        self, wanted: Callable[[ProxyRecord], bool], count: int = 1, timeout: float = 30.0
    ) -> Sequence[ProxyRecord]:
        """Waits until the proxy has logged `count` calls for which `wanted` is true; it logs after it answers.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while len(found := [record for record in self.records() if wanted(record)]) < count:
            assert time.monotonic() < deadline, f"{len(found)} of {count} records came; the log ends:\n{self.log_end()}"
            time.sleep(0.05)  # the other process offers nothing to wait on but its file
        return found

    def log_end(self, lines: int = 40) -> str:
        """The last lines of what the proxy printed."""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Stops the proxy with everything it started, and the upstreams."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal_number)
                try:
                    self._process.wait(10.0)
                except subprocess.TimeoutExpired:
                    continue
        self.upstream.close()
        self.claude.close()

    def __enter__(self) -> LiteLLMProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            assert self._process.poll() is None, f"the proxy ended by itself; its log ends:\n{self.log_end()}"
            assert time.monotonic() < deadline, f"the proxy did not start; its log ends:\n{self.log_end()}"
            try:
                if httpx.get(f"{self.url}/health/liveliness", timeout=5.0, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)  # nothing listens yet


def find_executable() -> str:
    """Where the proxy's command is: ``LOOOPY_OTEL_LITELLM_BIN``, else the venv that ``.ci/run`` builds.

    Skips the test where it is in neither place, or fails it where the proxy is required.
    """
    cache = ENVIRONMENT.get("XDG_CACHE_HOME") or str(Path(ENVIRONMENT.get("HOME", "~")).expanduser() / ".cache")
    built = Path(cache) / "looopy-otel" / f"litellm-{VERSION}" / "bin" / "litellm"
    chosen = ENVIRONMENT.get("LOOOPY_OTEL_LITELLM_BIN") or str(built)
    if not os.access(chosen, os.X_OK):
        absent(
            "proxy", f"{chosen} is not there; run .ci/run once, or set LOOOPY_OTEL_LITELLM_BIN to a litellm {VERSION}"
        )
    return chosen


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_config(directory: Path, upstream: str) -> Path:
    """The example's file as it is, and one more with what tests need; JSON is YAML."""
    chained = {"api_key": "sk-upstream", "api_base": upstream, "max_retries": 0}
    models = {
        "support-bot": {"model": "openai/gpt-4o-mini", **chained},
        "in-house": {"model": "openai/in-house-1", **chained},
        "retrying": {"model": "openai/gpt-4o-mini", **chained, "num_retries": 2},
    }
    extra = {
        "model_list": [{"model_name": name, "litellm_params": params} for name, params in models.items()],
        "router_settings": {"num_retries": 0, "disable_cooldowns": True, "retry_after": 0},
        "litellm_settings": {"callbacks": ["recorder.recorder"]},
    }
    (directory / "recorder.py").write_text(RECORDER, encoding="utf-8")
    (directory / "extra.yaml").write_text(json.dumps(extra), encoding="utf-8")
    config = directory / "config.yaml"
    config.write_text(json.dumps({"include": [str(EXAMPLE_CONFIG), "extra.yaml"]}), encoding="utf-8")
    return config


def _environment(directory: Path, openai: Upstream, anthropic: AnthropicUpstream, records: Path) -> dict[str, str]:
    """Nothing of the surroundings but the path; no look at the network for prices, no reports home."""
    return {
        "PATH": ENVIRONMENT.get("PATH", os.defpath),
        "HOME": str(directory),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": openai.url,
        "ANTHROPIC_API_KEY": "sk-upstream",
        "ANTHROPIC_BASE_URL": anthropic.url,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
        "RECORDER_FILE": str(records),
    }


def _record(line: dict[str, Any]) -> ProxyRecord:
    payload: dict[str, Any] = line["payload"]
    logged: dict[str, Any] = payload.get("metadata") or {}
    sent: dict[str, Any] = logged.get("requester_metadata") or {}
    return ProxyRecord(
        outcome=line["outcome"],
        session=line["session"],
        trace=payload.get("trace_id"),
        tags=tuple(tag for tag in payload.get("request_tags") or () if not tag.startswith("User-Agent")),
        metadata={key: value for key, value in sent.items() if key not in ADDED_METADATA},
        headers=line["headers"],
        model=payload.get("model"),
        model_group=payload.get("model_group"),
        cost=payload.get("response_cost"),
        call_id=payload.get("litellm_call_id") or payload.get("id"),
        tokens=(payload.get("prompt_tokens") or 0, payload.get("completion_tokens") or 0),
        payload=payload,
    )

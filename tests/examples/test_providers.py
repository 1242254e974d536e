"""One example for each vendor, run as its reader would run it, against a server on loopback that speaks its wire."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_server import Answer, ModelServer
from tests.support.otlp_sink import OTLPSink
from tests.support.require import require_packages

require_packages("openai", "litellm")

EXAMPLES = Path(__file__).parents[2] / "examples" / "providers"
NAMES = {"azure_openai", "bedrock", "cohere_chat", "gemini", "ollama_local"}
"""None is that of a package, which a script's own directory would hide."""
HELLO = "Hello to you."


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as running:
        yield running


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(Answer(text=HELLO, usage=(11, 7))) as running:
        yield running


def run(name: str, sink: OTLPSink, **environment: str) -> Mapping[str, Any]:
    """Runs an example; gives the attributes of its one span."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        capture_output=True,
        encoding="utf-8",
        env={
            **os.environ,
            "PYTHONIOENCODING": "utf-8",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "true",
            **environment,
        },
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == HELLO
    (span,) = sink.wait_for(spans=1, timeout=10)
    assert span.name == "llm.call"
    return span.attributes


def check(call: Mapping[str, Any], *, provider: str, model: str) -> None:
    assert (call["gen_ai.provider.name"], call["gen_ai.request.model"]) == (provider, model)
    assert (call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]) == (11, 7)
    assert (call["llm.outcome"], call["llm.usage.source"]) == ("completed", "reported")
    assert (call["server.address"], call["gen_ai.operation.name"]) == ("127.0.0.1", "chat")


def test_bedrock(server: ModelServer, sink: OTLPSink) -> None:
    call = run("bedrock", sink, BEDROCK_BASE_URL=f"{server.url}/openai/v1", AWS_BEARER_TOKEN_BEDROCK="k")
    check(call, provider="aws.bedrock", model="openai.gpt-oss-20b-1:0")
    assert server.last.path == "/openai/v1/chat/completions"
    assert server.last.headers["authorization"] == "Bearer k"


def test_azure(server: ModelServer, sink: OTLPSink) -> None:
    call = run("azure_openai", sink, AZURE_OPENAI_ENDPOINT=server.url, AZURE_OPENAI_API_KEY="k")
    check(call, provider="azure.ai.openai", model="gpt-4o-mini")
    assert call["gen_ai.system"] == "azure"
    assert server.last.path.startswith("/openai/deployments/gpt-4o-mini/chat/completions")
    assert server.last.headers["api-key"] == "k"


def test_google(server: ModelServer, sink: OTLPSink) -> None:
    call = run("gemini", sink, GEMINI_BASE_URL=f"{server.url}/v1beta/openai/", GEMINI_API_KEY="k")
    check(call, provider="gcp.gemini", model="gemini-2.5-flash")
    assert call["gen_ai.system"] == "google"
    assert server.last.path == "/v1beta/openai/chat/completions"


def test_ollama(server: ModelServer, sink: OTLPSink) -> None:
    call = run("ollama_local", sink, OLLAMA_BASE_URL=server.url)
    check(call, provider="ollama", model="llama3.2")
    assert server.last.path == "/v1/chat/completions"


class _Cohere(BaseHTTPRequestHandler):
    """Cohere's v2 chat: https://docs.cohere.com/reference/chat."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert self.path == "/v2/chat", self.path
        assert asked["messages"][0]["role"] == "user"
        body = json.dumps(
            {
                "id": "c-1",
                "finish_reason": "COMPLETE",
                "message": {"role": "assistant", "content": [{"type": "text", "text": HELLO}]},
                "usage": {
                    "billed_units": {"input_tokens": 11, "output_tokens": 7},
                    "tokens": {"input_tokens": 11, "output_tokens": 7},
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def cohere() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Cohere)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v2/chat"
    server.shutdown()
    thread.join()
    server.server_close()


def test_cohere(cohere: str, sink: OTLPSink) -> None:
    call = run("cohere_chat", sink, COHERE_API_BASE=cohere, COHERE_API_KEY="k")
    check(call, provider="cohere", model="cohere_chat/command-r7b-12-2024")
    assert call["gen_ai.system"] == "cohere"


def test_every_example_has_a_test() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == NAMES

"""An OTLP/HTTP endpoint on loopback that answers as it is told and keeps what it was sent."""

from __future__ import annotations

import gzip
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATIENCE = 20.0


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    hold: threading.Event | None = None
    reset: bool = False


@dataclass(frozen=True)
class Received:
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def message(self) -> ExportTraceServiceRequest:
        body = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return ExportTraceServiceRequest.FromString(body)

    @property
    def spans(self) -> list[Span]:
        return [
            span for resource in self.message.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]


class Sink:
    """Scripted answers are used up in order; then `answer` holds. Use with ``with``."""

    def __init__(self, *script: Answer, answer: Answer | None = None, port: int = 0) -> None:
        self.script = deque(script)
        self.answer = answer or Answer()
        self.requests: list[Received] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/traces"

    @property
    def span_names(self) -> list[str]:
        """Names of the spans in accepted requests, in order of arrival."""
        with self._changed:
            return [span.name for request in self.requests if 200 <= request.status < 300 for span in request.spans]

    def wait_for(self, met: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(met, PATIENCE), f"not met; {len(self.requests)} requests"

    def next_answer(self) -> Answer:
        with self._changed:
            return self.script.popleft() if self.script else self.answer

    def keep(self, received: Received) -> None:
        with self._changed:
            self.requests.append(received)
            self._changed.notify_all()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _handler(sink: Sink) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = sink.next_answer()
            headers = {name.lower(): value for name, value in self.headers.items()}
            sink.keep(Received(self.path, headers, body, 0 if answer.reset else answer.status))
            if answer.hold is not None:
                answer.hold.wait(PATIENCE)
            if answer.reset:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

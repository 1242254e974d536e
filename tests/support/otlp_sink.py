"""A place on loopback that takes spans by OTLP/HTTP, as Langfuse or a collector would, and shows what arrived."""

from __future__ import annotations

import gzip
import socket
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.spans import Span, decode
from tests.support.tree import Node, build

METRICS_PATH: Final = "/v1/metrics"
LANGFUSE_PATH: Final = "/api/public/otel"
DEFAULT_TIMEOUT: Final = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sink says to one request.

    Attributes:
        status: The HTTP status; spans of requests with another than 2xx are not taken.
        headers: Sent besides ``content-type`` and ``content-length``.
        body: The body; None for the one that a Langfuse or a collector would send.
        hold: When given, the answer waits until this event is set.
        drop: True to close the connection without an answer.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    hold: threading.Event | None = None
    drop: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived.

    Attributes:
        method: The HTTP method.
        path: With the query, if any.
        headers: Lower-case names.
        body: As sent, still compressed.
        message: The decoded export request; empty when `error` is set.
        status: What the sink answered; 0 when it closed the connection instead.
        error: Why the body could not be decoded, or None.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    message: ExportTraceServiceRequest
    status: int
    error: str | None = None

    @property
    def accepted(self) -> bool:
        """True when the sender was told that all is well."""
        return 200 <= self.status < 300

    @property
    def spans(self) -> list[Span]:
        """The request's spans."""
        return decode(self.message)


@dataclass(frozen=True, slots=True)
class ReceivedMetrics:
    """One request with metrics as it arrived.

    Attributes:
        path: With the query, if any.
        headers: Lower-case names.
        body: As sent, still compressed.
        message: The decoded export request.
        status: What the sink answered; 0 when it closed the connection instead.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes
    message: ExportMetricsServiceRequest
    status: int

    @property
    def accepted(self) -> bool:
        """True when the sender was told that all is well."""
        return 200 <= self.status < 300


class OTLPSink:
    """An OTLP/HTTP sink on loopback, on daemon threads; close it, or use it in a ``with`` block.

    Requests with metrics, told by their path, are kept and answered apart from those with spans.

    Args:
        answers: What the first requests get, one each; see `answer`.
        port: Where it listens; 0 for any free port.
    """

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        self._changed = threading.Condition()
        self._requests: list[Received] = []
        self._answers: deque[Answer] = deque(answers)
        self._default = Answer()
        self._metric_requests: list[ReceivedMetrics] = []
        self._metric_answers: deque[Answer] = deque()
        self._metric_default = Answer()
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="otlp-sink", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; every path is taken."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def traces_url(self) -> str:
        """The URL that spans are posted to."""
        return f"{self.url}/v1/traces"

    @property
    def metrics_url(self) -> str:
        """The URL that metrics are posted to."""
        return f"{self.url}{METRICS_PATH}"

    @property
    def metric_requests(self) -> list[ReceivedMetrics]:
        """All requests with metrics so far, in order of arrival."""
        with self._changed:
            return list(self._metric_requests)

    @property
    def requests(self) -> list[Received]:
        """All requests so far, in order of arrival."""
        with self._changed:
            return list(self._requests)

    @property
    def spans(self) -> list[Span]:
        """The spans of all accepted requests, in order of arrival."""
        return [span for request in self.requests if request.accepted for span in request.spans]

    @property
    def span_names(self) -> list[str]:
        """The names of all accepted spans, in order of arrival."""
        return [span.name for span in self.spans]

    def trees(self) -> list[Node]:
        """The accepted spans as trees, one per local root, in order of start."""
        return build(self.spans)

    def answer(self, *answers: Answer, then: Answer | None = None) -> None:
        """Says what the next requests get, one each, and `then` what all later ones get (200 by default)."""
        with self._changed:
            self._answers = deque(answers)
            self._default = then or Answer()

    def answer_metrics(self, *answers: Answer, then: Answer | None = None) -> None:
        """As `answer`, for requests with metrics."""
        with self._changed:
            self._metric_answers = deque(answers)
            self._metric_default = then or Answer()

    def wait_for_metrics(self, count: int, timeout: float = DEFAULT_TIMEOUT) -> list[ReceivedMetrics]:
        """Waits until at least so many requests with metrics came, accepted or not.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._metric_requests) >= count, timeout)
        assert enough, f"{len(self.metric_requests)} of {count} requests with metrics came"
        return self.metric_requests

    def wait_for(self, spans: int, timeout: float = DEFAULT_TIMEOUT) -> list[Span]:
        """Waits until at least so many spans were accepted.

        Returns:
            All accepted spans.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.spans) >= spans, timeout)
        assert enough, f"{len(self.spans)} of {spans} spans came: {[span.name for span in self.spans]}"
        return self.spans

    def wait_for_requests(self, count: int, timeout: float = DEFAULT_TIMEOUT) -> list[Received]:
        """Waits until at least so many requests came, accepted or not.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self._requests) >= count, timeout)
        assert enough, f"{len(self.requests)} of {count} requests came"
        return self.requests

    def close(self) -> None:
        """Stops listening and closes every connection; a second call does nothing."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    def __enter__(self) -> OTLPSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def take(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Records one request and says what to answer; called by the server's threads."""
        if path.partition("?")[0].endswith(METRICS_PATH):
            return self._take_metrics(path, headers, body)
        message, error = _parse(headers, body)
        with self._changed:
            answer = self._answers.popleft() if self._answers else self._default
            if error is not None and answer.status == 200:
                answer = Answer(400, body=error.encode())
            status = 0 if answer.drop else answer.status
            self._requests.append(Received(method, path, headers, body, message, status, error))
            self._changed.notify_all()
        return answer

    def _take_metrics(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        message = ExportMetricsServiceRequest.FromString(_plain(headers, body))
        with self._changed:
            answer = self._metric_answers.popleft() if self._metric_answers else self._metric_default
            status = 0 if answer.drop else answer.status
            self._metric_requests.append(ReceivedMetrics(path, headers, body, message, status))
            self._changed.notify_all()
        return answer


def _plain(headers: Mapping[str, str], body: bytes) -> bytes:
    return gzip.decompress(body) if "gzip" in headers.get("content-encoding", "") else body


def _parse(headers: Mapping[str, str], body: bytes) -> tuple[ExportTraceServiceRequest, str | None]:
    try:
        return ExportTraceServiceRequest.FromString(_plain(headers, body)), None
    except (OSError, EOFError, DecodeError) as error:
        return ExportTraceServiceRequest(), f"{type(error).__name__}: {error}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, sink: OTLPSink, port: int) -> None:
        self.sink = sink
        self._connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        if isinstance(request, socket.socket):
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        if isinstance(request, socket.socket):
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was faster

    def handle_error(self, request: object, client_address: object) -> None:
        return None  # a client that goes away in the middle is part of many tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        assert isinstance(self.server, _Server)
        answer = self.server.sink.take(self.command, self.path, headers, body)
        if answer.hold is not None:
            answer.hold.wait()
        if answer.drop:
            self.close_connection = True
            return
        self._reply(answer)

    def _reply(self, answer: Answer) -> None:
        langfuse = LANGFUSE_PATH in self.path
        body = answer.body
        if body is None:  # Langfuse answers with its queue job, as JSON; a collector with the protocol's own message
            body = b'{"id":"job-1"}' if langfuse else ExportTraceServiceResponse().SerializeToString()
        self.send_response(answer.status)
        self.send_header("content-type", "application/json" if langfuse else "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None

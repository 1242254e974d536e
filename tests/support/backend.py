"""An HTTP server on loopback that plays a backend, or what stands in its place, by a function from request to reply."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PUBLIC_KEY: Final = "pk-lf-1234"
SECRET_KEY: Final = "sk-lf-very-secret-5678"
PROTOBUF: Final = {"content-type": "application/x-protobuf"}
JSON: Final = {"content-type": "application/json"}
HTML: Final = {"content-type": "text/html; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole; `headers` has lower-case names."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def plain_body(self) -> bytes:
        """The body, decompressed."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `date` replaces the header of that name."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: PROTOBUF)
    body: bytes = b""
    date: str | None = None


class Backend:
    """Serves until it is closed; use it in a ``with`` block.

    Args:
        answer: Called on the server's threads.
        certificate: What it speaks TLS with; None for plain HTTP.

    Attributes:
        requests: All so far, in order of arrival.
    """

    def __init__(self, answer: Callable[[Request], Reply], certificate: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self._tls = certificate is not None
        self._server = _Server(self, certificate)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, backend: Backend, certificate: ssl.SSLContext | None) -> None:
        self.backend = backend
        self._certificate = certificate
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._certificate is None:
            super().finish_request(request, client_address)
            return
        # On the connection's own thread: a client that never shakes hands holds up nobody else.
        with self._certificate.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: object, client_address: object) -> None:
        return None  # a client that refuses our certificate, or goes away, is part of many tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    _date: str | None = None

    def _serve(self) -> None:
        assert isinstance(self.server, _Server)
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        self.server.backend.requests.append(request)
        reply = self.server.backend.answer(request)
        self._date = reply.date
        self.send_response(reply.status)
        for name, value in {**reply.headers, "content-length": str(len(reply.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = _serve

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self._date or super().date_time_string(timestamp)

    def log_message(self, format: str, *args: object) -> None:
        return None


def collector(request: Request) -> Reply:
    """A collector's OTLP receiver."""
    if request.path not in ("/v1/traces", "/v1/metrics"):
        return Reply(404, {"content-type": "text/plain"}, b"404 page not found\n")
    return (
        Reply() if request.method == "POST" else Reply(405, {"content-type": "text/plain"}, b"405 method not allowed")
    )


class Langfuse:
    """What of a Langfuse a client sees: OTLP, the project of the keys, observations; a `Backend`'s answer.

    Args:
        shows: False for one whose worker is down: it accepts all and shows nothing.
        version: 4, or 3 for one that knows traces only.
    """

    def __init__(self, *, shows: bool = True, version: int = 4) -> None:
        self._shows = shows
        self._version = version
        self._stored: dict[str, list[Any]] = {}

    def __call__(self, request: Request) -> Reply:
        credentials = b64encode(f"{PUBLIC_KEY}:{SECRET_KEY}".encode()).decode()
        parts = urlsplit(request.path)
        if request.headers.get("authorization") != f"Basic {credentials}":
            return _json({"error": "Unauthorized", "message": "Invalid credentials. Confirm the host."}, 401)
        if parts.path == "/api/public/otel/v1/traces" and request.method == "POST":
            return self._take(request)
        if parts.path == "/api/public/projects":
            return _json({"data": [{"id": "p-1", "name": "project", "metadata": {"kind": "test"}}]})
        if parts.path == "/api/public/v2/observations" and self._version >= 4:
            found = self._stored.get(parse_qs(parts.query)["traceId"][0], [])
            return _json({"data": found, "meta": {}})
        trace_id = parts.path.removeprefix("/api/public/traces/")
        if self._version < 4 and trace_id in self._stored:
            return _json({"id": trace_id, "observations": self._stored[trace_id]})
        return Reply(404, HTML, b"<!DOCTYPE html><title>404: This page could not be found</title>")

    def _take(self, request: Request) -> Reply:
        message = ExportTraceServiceRequest.FromString(request.plain_body)
        spans = [span for batch in message.resource_spans for scope in batch.scope_spans for span in scope.spans]
        for span in spans if self._shows else ():
            moment = "2026-01-01T00:00:00.000Z"
            self._stored.setdefault(span.trace_id.hex(), []).append(
                {
                    "id": span.span_id.hex(),
                    "traceId": span.trace_id.hex(),
                    "startTime": moment,
                    "endTime": moment,
                    "projectId": "p-1",
                    "parentObservationId": None,
                    "type": "SPAN",
                    "isRootObservation": not span.parent_span_id,
                }
            )
        return _json({"id": "job-1"} if spans else {})


def _json(value: object, status: int = 200) -> Reply:
    return Reply(status, JSON, json.dumps(value).encode())

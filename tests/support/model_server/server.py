"""The loopback HTTP server of the tests that call models through real SDKs."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, TracebackType
from typing import Any, Final, cast

from tests.support.model_server import anthropic_messages, openai_chat, openai_responses
from tests.support.model_server.answer import Answer, Event, Recorded, Script

_Gone = (BrokenPipeError, ConnectionResetError, ConnectionAbortedError, ValueError)

_GREETING: Final = Answer()


class ModelServer:
    """Answers OpenAI's chat completions, responses and embeddings and Anthropic's messages, streamed or not.

    Args:
        script: What to answer.

    Attributes:
        requests: What was asked, in order of arrival.
        stalled: Set when a stream has come to its stall.
    """

    def __init__(self, script: Script = _GREETING) -> None:
        self.script = script
        self.requests: list[Recorded] = []
        self.stalled = threading.Event()
        self._gone = threading.Condition()
        self._disconnects = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``: the base URL of an Anthropic client; an OpenAI client's ends with ``/v1``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port."""
        return self._server.server_address[1]

    @property
    def last(self) -> Recorded:
        """The last request."""
        return self.requests[-1]

    @property
    def disconnects(self) -> int:
        """How many clients went away before their stream was over."""
        return self._disconnects

    def wait_for_disconnects(self, count: int = 1, timeout: float = 10.0) -> bool:
        """Waits until so many clients went away; False when `timeout` seconds pass before."""
        with self._gone:
            return self._gone.wait_for(lambda: self._disconnects >= count, timeout)

    def close(self) -> None:
        """Stops: stalled streams end, connections are closed."""
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def answer_to(self, request: Recorded) -> Answer:
        """Notes a request and says what to answer."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests) - 1
            script = self.script
            if isinstance(script, Answer):
                return script
        if callable(script):
            return script(request)
        return script[min(number, len(script) - 1)]

    def note_connection(self, connection: socket.socket, *, opened: bool) -> None:
        """Keeps count of open connections."""
        with self._lock:
            (self._connections.add if opened else self._connections.discard)(connection)

    def note_disconnect(self) -> None:
        """Counts a client that went away."""
        with self._gone:
            self._disconnects += 1
            self._gone.notify_all()

    def wait_at(self, gate: threading.Event, connection: socket.socket) -> bool:
        """Waits for a gate; False where the client goes away or the server closes before."""
        self.stalled.set()
        while not gate.wait(0.01):
            readable, _, _ = select.select([connection], [], [], 0)
            if self._closing.is_set() or (readable and not connection.recv(1, socket.MSG_PEEK)):
                return False
        return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 512

    def __init__(self, owner: ModelServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients go away at will here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def _owner(self) -> ModelServer:
        return cast("_Server", self.server).owner

    def setup(self) -> None:
        super().setup()
        self._owner.note_connection(self.connection, opened=True)

    def finish(self) -> None:
        self._owner.note_connection(self.connection, opened=False)
        with contextlib.suppress(*_Gone):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._send_json(200, {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1}]}, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        request = Recorded(
            "POST", self.path, {name.lower(): value for name, value in self.headers.items()}, _object_of(body)
        )
        answer = self._owner.answer_to(request)
        if answer.cut_after == 0:
            self._cut()
        elif answer.status >= 400:
            self._send_json(answer.status, _error_body(self.path, answer.text), answer.headers)
        elif answer.body is not None:
            self._send(answer.status, answer.body, answer.headers)
        elif request.streamed:
            with contextlib.suppress(*_Gone):
                self._stream(answer, request)
        else:
            if answer.stall_before is not None and not self._stall(answer):
                return
            self._send_json(answer.status, _plain(self.path)(answer, request), answer.headers)

    def _stream(self, answer: Answer, request: Recorded) -> None:
        self.send_response(answer.status)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self._send_headers(answer.headers)
        kind = _format(self.path)
        for number, event in enumerate(_limited(kind, answer, request)):
            if answer.cut_after == number:
                return self._cut()
            if answer.stall_before == number and not self._stall(answer):
                return
            if number == 1 and answer.slow_first:
                time.sleep(answer.slow_first)
            if number and answer.pace:
                time.sleep(answer.pace)
            self._write_event(event)
        self.wfile.write(b"0\r\n\r\n")

    def _write_event(self, event: Event) -> None:
        name, data = event
        text = data if isinstance(data, str) else json.dumps(data)
        frame = (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
        payload = frame.encode()
        try:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
        except _Gone:
            self.close_connection = True
            self._owner.note_disconnect()
            raise

    def _stall(self, answer: Answer) -> bool:
        if self._owner.wait_at(answer.gate, self.connection):
            return True
        self.close_connection = True
        self._owner.note_disconnect()
        return False

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _send_json(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self._send(status, json.dumps(body).encode(), headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        with contextlib.suppress(*_Gone):
            self.send_response(status)
            if "content-type" not in headers:
                self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self._send_headers(headers)
            self.wfile.write(body)

    def _send_headers(self, headers: Mapping[str, str]) -> None:
        for name, value in {"x-request-id": "req_1", "request-id": "req_1", **headers}.items():
            self.send_header(name, value)
        self.end_headers()


def _limited(kind: ModuleType, answer: Answer, request: Recorded) -> Iterator[Event]:
    """The events of a stream, as far as they go."""
    for number, event in enumerate(kind.events(answer, request)):
        if answer.end_after == number:
            return
        if answer.error_after == number:
            yield kind.error(answer.text)
            return
        yield event


def _format(path: str) -> ModuleType:
    route = path.partition("?")[0]
    if route.endswith("/messages"):
        return anthropic_messages
    return openai_responses if route.endswith("/responses") else openai_chat


def _plain(path: str) -> Callable[[Answer, Recorded], Mapping[str, Any]]:
    route = path.partition("?")[0]
    if route.endswith("/embeddings"):
        return openai_chat.embeddings
    if route.endswith("/count_tokens"):
        return lambda answer, _: {"input_tokens": answer.usage[0] if answer.usage else 0}
    return _format(path).plain


def _error_body(path: str, message: str) -> Mapping[str, Any]:
    if _format(path) is anthropic_messages:
        return {"type": "error", "error": {"type": "api_error", "message": message}}
    return {"error": {"message": message, "type": "api_error", "code": None, "param": None}}


def _object_of(body: bytes) -> Mapping[str, Any]:
    try:
        value: Any = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]

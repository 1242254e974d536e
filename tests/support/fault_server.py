"""An OTLP/HTTP endpoint on loopback that misbehaves as told, and knows by id every span that it ever accepted."""

from __future__ import annotations

import gzip
import hashlib
import random
import re
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

OK: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
METRICS_PATH: Final = "/v1/metrics"
DEFAULT_TIMEOUT: Final = 20.0
_TICK: Final = 0.02
_LARGEST_HEAD: Final = 64 * 1024
_LETTERS: Final = "".join(random.Random(7).choices("abcdefghijklmnopqrstuvwxyz    ", k=2_000_003))
_CONTENT: Final = re.compile(r"\[\[(\d+)\|([a-z ]*)\|([0-9a-f]{16})\]\]")


class _Gone(Exception):
    """The client has closed its connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read whole.

    Attributes:
        path: Where it was sent to.
        headers: Lower-case names.
        body: As sent, still compressed.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def spans(self) -> list[WireSpan]:
        """What was sent; no spans in a request with metrics.

        Raises:
            DecodeError: If it is no such message.
        """
        if self.path.endswith(METRICS_PATH):
            return []
        zipped = "gzip" in self.headers.get("content-encoding", "")
        message = ExportTraceServiceRequest.FromString(gzip.decompress(self.body) if zipped else self.body)
        return [span for batch in message.resource_spans for scope in batch.scope_spans for span in scope.spans]


@dataclass(slots=True)
class Connection:
    """One client's connection, in the hands of a fault.

    Attributes:
        server: Whose it is.
        socket: The raw connection, with a request waiting in it.
    """

    server: FaultServer
    socket: socket.socket
    _unread: bytes = field(default=b"", repr=False)

    def request(self) -> Request:
        """Reads the waiting request."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        return Request(first.split(" ")[1], headers, self._exactly(int(headers.get("content-length", "0"))))

    def some_of_the_body(self) -> None:
        """Reads the head and at most the first bytes of the body."""
        self._until(b"\r\n\r\n")

    def accept(self) -> None:
        """Takes the waiting request and says so."""
        self.server.take(self.request())
        self.send(OK)

    def answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"no") -> None:
        """Refuses with a status."""
        said = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.send(f"HTTP/1.1 {status} No\r\ncontent-length: {len(body)}\r\n{said}\r\n".encode() + body)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def hold(self) -> None:
        """Says nothing (more) until the client has gone or the server is closed."""
        while not self.server.is_closed:
            if select.select([self.socket], [], [], _TICK)[0] and not self.socket.recv(65536):
                raise _Gone

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    def close(self) -> None:
        """Ends the connection in order."""
        raise _Gone

    def waits(self) -> bool:
        """Waits for a request; False when the client or the server has gone instead."""
        while not self.server.is_closed:
            if select.select([self.socket], [], [], _TICK)[0]:
                return bool(self.socket.recv(1, socket.MSG_PEEK))
        return False

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._unread:
            self._more()
            assert len(self._unread) < _LARGEST_HEAD or mark in self._unread
        found, _, self._unread = self._unread.partition(mark)
        return found

    def _exactly(self, length: int) -> bytes:
        pieces = [self._unread]
        missing = length - len(self._unread)
        while missing > 0:
            pieces.append(self._read(missing))
            missing -= len(pieces[-1])
        whole = b"".join(pieces)
        self._unread = whole[length:]
        return whole[:length]

    def _more(self) -> None:
        self._unread += self._read(4096)

    def _read(self, most: int) -> bytes:
        data = self.socket.recv(min(most, 1 << 20))
        if not data:
            raise _Gone
        return data


Fault = Callable[[Connection], None]
"""Deals with one request that waits in a connection."""


def healthy(connection: Connection) -> None:
    """Takes everything."""
    connection.accept()


def answering(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"no") -> Fault:
    """Refuses everything with a status."""

    def fault(connection: Connection) -> None:
        connection.request()
        connection.answer(status, headers, body)

    return fault


def stalling(connection: Connection) -> None:
    """Reads the request and says nothing."""
    connection.request()
    connection.hold()


def deaf(connection: Connection) -> None:
    """Does not even read."""
    while not connection.server.is_closed and connection.server.fault is deaf:
        time.sleep(_TICK)
    connection.close()


def stalling_in_headers(connection: Connection) -> None:
    """Begins the head of an answer and stops."""
    connection.request()
    connection.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    connection.hold()


def stalling_after_headers(status: int = 200) -> Fault:
    """Sends the head of an answer, and never its body."""

    def fault(connection: Connection) -> None:
        request = connection.request()
        if status == 200:
            connection.server.take(request)
        connection.send(f"HTTP/1.1 {status} So\r\ncontent-length: 100\r\n\r\n".encode())
        connection.hold()

    return fault


def dripping(seconds: float) -> Fault:
    """Sends an endless head, one byte at a time; no single wait is long."""

    def fault(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 503 No\r\nx-drip: ")
        while not connection.server.is_closed:
            connection.send(b"x")
            time.sleep(seconds)

    return fault


def resetting(connection: Connection) -> None:
    """Resets the connection in the middle of the request's body."""
    connection.some_of_the_body()
    connection.reset()


def closing(connection: Connection) -> None:
    """Closes the connection without a word."""
    connection.close()


def garbage(connection: Connection) -> None:
    """Answers with what is no HTTP."""
    connection.request()
    connection.send(b"\x00\xff\x16\x03SSH-2.0-nothing\r\n\r\n" * 8)
    connection.close()


def refusing(status: int, bad: Callable[[WireSpan], bool]) -> Fault:
    """Refuses each request that holds a bad span, as a whole."""

    def fault(connection: Connection) -> None:
        request = connection.request()
        found = [span for span in request.spans if bad(span)]
        if found:
            connection.answer(status)
        else:
            connection.server.take(request)
            connection.send(OK)

    return fault


def limited(*, spans: int | None = None, body_bytes: int | None = None) -> Fault:
    """Answers 413 to requests with more spans, or longer bodies, than that."""

    def fault(connection: Connection) -> None:
        request = connection.request()
        too_many = spans is not None and len(request.spans) > spans
        if too_many or (body_bytes is not None and len(request.body) > body_bytes):
            connection.answer(413)
        else:
            connection.server.take(request)
            connection.send(OK)

    return fault


class FaultServer:
    """The endpoint; `fault` may be changed at any time and counts from the next request on.

    Args:
        fault: What is done with requests.
        port: Where it listens; 0 for any free port.

    Attributes:
        fault: What is done with requests.
    """

    def __init__(self, fault: Fault = healthy, *, port: int = 0) -> None:
        self.fault: Fault = fault
        self._changed = threading.Condition()
        self._accepted: dict[str, int | None] = {}
        self._repeats = 0
        self._requests: Counter[Fault] = Counter()
        self._closed = threading.Event()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._port = port
        self.listen()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def traces_url(self) -> str:
        """The URL that spans are posted to."""
        return f"{self.url}/v1/traces"

    @property
    def is_closed(self) -> bool:
        """True from `close` on."""
        return self._closed.is_set()

    @property
    def accepted(self) -> dict[str, int | None]:
        """Every span that was accepted: its id in hex, and the number of the content that came whole with it."""
        with self._changed:
            return dict(self._accepted)

    @property
    def repeats(self) -> int:
        """How many accepted spans came again."""
        with self._changed:
            return self._repeats

    def requests(self, fault: Fault | None = None) -> int:
        """How many requests came, or how many a given fault has dealt with."""
        with self._changed:
            return self._requests.total() if fault is None else self._requests[fault]

    def wait_for_requests(self, count: int, fault: Fault | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until that many requests came, or came to a given fault.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: self.requests(fault) >= count, timeout)
        assert came, f"{self.requests(fault)} of {count} requests came"

    def wait_for(self, ids: set[str], timeout: float = DEFAULT_TIMEOUT) -> None:
        """Waits until all these spans were accepted.

        Raises:
            AssertionError: If they did not come within `timeout` seconds.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: ids <= self._accepted.keys(), timeout)
            missing = len(ids - self._accepted.keys())
        assert came, f"{missing} of {len(ids)} spans did not come"

    def listen(self) -> None:
        """Listens (again), at the same port."""
        self._listener = listener = socket.create_server(("127.0.0.1", self._port), backlog=64)
        self._port = int(listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(listener,), name="fault-server", daemon=True).start()

    def stop_listening(self) -> None:
        """Refuses connections from here on, and ends those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends all connections."""
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def take(self, request: Request) -> None:
        """Accepts a request's spans."""
        found = [(span.span_id.hex(), intact_content(_longest(span))) for span in request.spans]
        with self._changed:
            for span_id, content in found:
                self._repeats += span_id in self._accepted
                self._accepted[span_id] = content
            self._changed.notify_all()

    def close(self) -> None:
        """Stops everything."""
        self._closed.set()
        self.stop_listening()

    def __enter__(self) -> FaultServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="fault-connection", daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        connection = Connection(self, raw)
        try:
            with raw, suppress(OSError, _Gone):
                while connection.waits():
                    fault = self.fault
                    with self._changed:
                        self._requests[fault] += 1
                        self._changed.notify_all()
                    fault(connection)
        finally:
            self._connections.discard(raw)


def numbered_content(number: int, size: int) -> str:
    """About that many characters that hardly compress, different for each number, and proving themselves whole."""
    start = number * 104_729 % (len(_LETTERS) - size)
    middle = _LETTERS[start : start + size]
    return f"[[{number}|{middle}|{_digest(number, middle)}]]"


def intact_content(text: str) -> int | None:
    """The number of the content in a text; None where there is none, or not the whole of it."""
    match = _CONTENT.search(text)
    if match is None:
        return None
    number, middle, digest = int(match[1]), match[2], match[3]
    return number if digest == _digest(number, middle) else None


def _digest(number: int, middle: str) -> str:
    return hashlib.blake2b(f"{number}|{middle}".encode(), digest_size=8).hexdigest()


def _longest(span: WireSpan) -> str:
    return max((pair.value.string_value for pair in span.attributes), key=len, default="")

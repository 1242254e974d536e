"""A scripted, OpenAI-compatible server on loopback, for the demo, tests and examples. It can misbehave on purpose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any

import orjson

from looopy_otel.core.semconv import LITELLM_COST_HEADER
from looopy_otel.providers.reply import RecordedRequest, Reply, Script, ScriptReader, error_object

COMPLETION_PATHS = frozenset({"/v1/chat/completions", "/chat/completions"})
HEALTH_PATH = "/health/liveliness"
MOST_HEADER_BYTES = 1 << 20


class ScriptedServer:
    """Answers chat completions, plain or streamed, from a script. Runs on a daemon thread until closed.

    Attributes:
        url: ``http://127.0.0.1:PORT``.
        requests: Every request so far, in order of arrival; health checks left out.
        connections: How many connections were opened so far.
    """

    def __init__(self, script: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        """Starts the server.

        Args:
            script: Replies in order (the last one repeats), or a function of the request.
            host: The address to listen on.
            port: 0 for a free one.
        """
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self.url = ""
        self._reader = ScriptReader(script)
        self._disconnects = 0
        self._changed = threading.Condition()
        self._stop: Callable[[], object] = _nothing
        self._failure: OSError | None = None
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(host, port, started)), name="scripted-server", daemon=True
        )
        self._thread.start()
        started.wait()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def disconnects(self) -> int:
        """How many connections the client closed before the reply to its request was complete."""
        return self._disconnects

    def wait_for_requests(self, count: int, timeout: float = 10.0) -> bool:
        """Blocks until `count` requests arrived, at most `timeout` seconds; True when they did."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= count, timeout)

    def wait_for_disconnects(self, count: int, timeout: float = 10.0) -> bool:
        """Blocks until `count` connections were closed early, at most `timeout` seconds; True when they were."""
        with self._changed:
            return self._changed.wait_for(lambda: self._disconnects >= count, timeout)

    def close(self) -> None:
        """Closes every connection and stops the thread. A second call does nothing."""
        self._stop()
        self._thread.join()

    async def _serve(self, host: str, port: int, started: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        def accept() -> asyncio.StreamReaderProtocol:
            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                self.connections += 1
                task = loop.create_task(self._converse(watched, writer))
                connections.add(task)
                task.add_done_callback(connections.discard)

            watched = _WatchedReader(limit=MOST_HEADER_BYTES)
            return asyncio.StreamReaderProtocol(watched, connected)

        try:
            server = await loop.create_server(accept, host, port)
        except OSError as error:
            self._failure = error
            started.set()
            return
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
        self._stop = lambda: None if loop.is_closed() else loop.call_soon_threadsafe(stop.set)
        started.set()
        await stop.wait()
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    async def _converse(self, reader: _WatchedReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read_request(reader, writer)) is not None:
                if not await self._answer(request, reader, writer):
                    break
        finally:
            writer.transport.abort() if reader.gone.is_set() else writer.close()

    async def _answer(self, request: RecordedRequest, reader: _WatchedReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; True when the connection may carry another."""
        replying = asyncio.ensure_future(self._reply(request, _Response(writer)))
        leaving = asyncio.ensure_future(reader.gone.wait())
        try:
            await asyncio.wait({replying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if replying.done() and not isinstance(replying.exception(), ConnectionError):
                return replying.result()
            self._note_disconnect()
            return False
        finally:
            leaving.cancel()
            replying.cancel()
            await asyncio.gather(leaving, replying, return_exceptions=True)

    async def _reply(self, request: RecordedRequest, response: _Response) -> bool:
        path = request.path.partition("?")[0]
        if path == HEALTH_PATH:
            return await response.send(HTTPStatus.OK, {}, b'"I\'m alive!"')
        self._note_request(request)
        if path not in COMPLETION_PATHS or request.method != "POST":
            error = error_object(f"no route {request.method} {path}", "not_found_error", 404)
            return await response.send(HTTPStatus.NOT_FOUND, {}, orjson.dumps(error))
        reply, number = self._reader.next(request)
        await asyncio.sleep(reply.delay)
        if reply.cut_after is not None and reply.cut_after < 0:
            return False
        if request.streamed and reply.status < 400 and reply.body is None:
            return await _stream(reply, request, number, response)
        return await _send_whole(reply, request, number, response)

    def _note_request(self, request: RecordedRequest) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def _note_disconnect(self) -> None:
        with self._changed:
            self._disconnects += 1
            self._changed.notify_all()


class _WatchedReader(asyncio.StreamReader):
    """A reader that tells when the client has gone, also while nobody reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


class _Response:
    """Writes one HTTP/1.1 response."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        drip: float | None = None,
        length: int | None = None,
    ) -> bool:
        """Sends a whole response; `length` announces more than `body` and the connection is then closed."""
        announced = len(body) if length is None else length
        self._head(status, {"content-type": "application/json", **headers, "content-length": str(announced)})
        await self._write(body, drip)
        return announced == len(body)

    def start_stream(self, status: int, headers: Mapping[str, str]) -> None:
        self._head(status, {"content-type": "text/event-stream", **headers, "transfer-encoding": "chunked"})

    async def send_event(self, data: bytes, drip: float | None) -> None:
        await self._write(_chunk(b"data: " + data + b"\n\n"), drip)

    async def end_stream(self, drip: float | None) -> None:
        await self._write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n", drip)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def _write(self, data: bytes, drip: float | None) -> None:
        if drip is None:
            self._writer.write(data)
        else:
            for byte in data:
                self._writer.write(bytes((byte,)))
                await asyncio.sleep(drip)
        await self._writer.drain()


async def _stream(reply: Reply, request: RecordedRequest, number: int, response: _Response) -> bool:
    response.start_stream(reply.status, reply.headers)
    for sent, chunk in enumerate(reply.chunks(request, number)):
        if sent == reply.cut_after:
            return False
        if sent:
            await asyncio.sleep(reply.chunk_delay)
        await response.send_event(orjson.dumps(chunk), reply.drip)
    await response.end_stream(reply.drip)
    return True


async def _send_whole(reply: Reply, request: RecordedRequest, number: int, response: _Response) -> bool:
    headers: dict[str, str] = dict(reply.headers)
    if reply.cost is not None:
        headers.setdefault(LITELLM_COST_HEADER, str(reply.cost))
    body = reply.body
    if body is None:
        body = orjson.dumps(reply.error() if reply.status >= 400 else reply.completion(request, number))
    if reply.cut_after is not None:
        return await response.send(reply.status, headers, body[: len(body) // 2], reply.drip, length=len(body))
    return await response.send(reply.status, headers, body, reply.drip)


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> RecordedRequest | None:
    """Reads the next request of a connection; None when there is none."""
    try:
        first = await reader.readexactly(1)
        if not first.isalpha():  # the beginning of a TLS handshake, for one
            writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
            return None
        head = first + await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        headers.pop("", None)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        return None
    return RecordedRequest(method, path, headers, body, _decoded(body))


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _nothing() -> None:
    return None

"""`ASGIMiddleware`, in a real Starlette application over real HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

import looopy_otel as lo
from looopy_otel.core.hooks import innermost
from looopy_otel.core.identity import current_identity
from looopy_otel.instrument.asgi import ASGIMiddleware, Message, Receive, Scope, Send
from looopy_otel.instrument.remote import trace_headers
from looopy_otel.testing import CapturedSpans
from tests.instrument.context.test_remote import INCOMING, PARENT, TRACE

started: list[str] = []


async def plain(request: Request) -> Response:
    with lo.span("plain"):
        await asyncio.sleep(0)
        return JSONResponse({"session": current_identity().session_id})


async def streamed(request: Request) -> Response:
    async def body() -> AsyncGenerator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            with lo.span(f"chunk {number}"):
                text = str(number)
            yield text

    async def afterwards() -> None:
        with lo.span("afterwards"):
            await asyncio.sleep(0)

    return StreamingResponse(body(), background=BackgroundTask(afterwards))


def in_a_thread(request: Request) -> Response:
    with lo.span("in a thread"):
        return JSONResponse(trace_headers())


async def failing(request: Request) -> Response:
    lo.span("left open").__enter__()
    raise RuntimeError("no")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    with lo.span("socket"):
        await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    started.append("up")
    yield
    started.append("down")


def application(*, identity: bool = False) -> Starlette:
    return Starlette(
        routes=[
            Route("/plain", plain),
            Route("/streamed", streamed),
            Route("/thread", in_a_thread),
            Route("/failing", failing),
            WebSocketRoute("/socket", socket),
        ],
        middleware=[Middleware(ASGIMiddleware, identity=identity)],
        lifespan=lifespan,
    )


@pytest.fixture
def url() -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(application(), host="127.0.0.1", port=0, log_level="critical", ws="none", lifespan="on")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.01)
    (listening,) = server.servers
    yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


def parents(captured: CapturedSpans) -> dict[str, tuple[str, str | None]]:
    return {
        span.name: (
            format(span.context.trace_id, "032x") if span.context else "",
            format(span.parent.span_id, "016x") if span.parent else None,
        )
        for span in captured.spans()
    }


def test_requests_go_on_from_their_callers(captured: CapturedSpans, url: str) -> None:
    with httpx.Client(base_url=url) as client:
        assert client.get("/plain", headers={"Traceparent": INCOMING}).json() == {"session": None}
        assert client.get("/streamed", headers={"traceparent": INCOMING}).text == "012"
        assert client.get("/thread", headers={"traceparent": INCOMING}).json()["traceparent"].startswith(f"00-{TRACE}")
        assert client.get("/plain", headers={"traceparent": "nonsense"}).status_code == 200
    spans = captured.spans()
    assert [span.name for span in spans[:6]] == [
        "plain", "chunk 0", "chunk 1", "chunk 2", "afterwards", "in a thread",
    ]  # fmt: skip
    last = spans.pop()
    assert (last.name, last.parent) == ("plain", None)
    for span in spans:
        assert span.context
        assert span.parent
        assert (format(span.context.trace_id, "032x"), format(span.parent.span_id, "016x")) == (TRACE, PARENT)
        assert (span.attributes or {})["langfuse.internal.is_app_root"] is True


def test_concurrent_requests_do_not_mix(captured: CapturedSpans, url: str) -> None:
    async def ask() -> None:
        async with httpx.AsyncClient(base_url=url) as client:
            await asyncio.gather(
                *(
                    client.get("/streamed", headers={"traceparent": f"00-{number:032x}-{PARENT}-01"})
                    for number in range(1, 21)
                )
            )

    asyncio.run(ask())
    traces = [span.context.trace_id for span in captured.spans() if span.context and span.name == "chunk 2"]
    assert sorted(traces) == list(range(1, 21))


async def test_the_place_it_is_called_in_stays_as_it_was(captured: CapturedSpans) -> None:
    transport = httpx.ASGITransport(application(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        with lo.span("client") as here:
            await client.get("/plain", headers=trace_headers())
            assert (await client.get("/failing", headers={"traceparent": INCOMING})).status_code == 500
            assert innermost() is here
    assert captured.outline() == ["client", "  plain"]
    assert "langfuse.internal.is_app_root" not in captured.attributes("plain")


def test_websockets_and_lifespan(captured: CapturedSpans) -> None:
    started.clear()
    with TestClient(application()) as client:
        with client.websocket_connect("/socket", headers={"traceparent": INCOMING}) as connection:
            connection.send_text("hello")
            assert connection.receive_text() == "hello"
    assert started == ["up", "down"]
    assert parents(captured)["socket"] == (TRACE, PARENT)


@pytest.mark.parametrize(("trusting", "session"), [(True, "s-1"), (False, None)])
async def test_the_session_is_taken_over_only_where_the_application_says_so(
    captured: CapturedSpans, trusting: bool, session: str | None
) -> None:
    transport = httpx.ASGITransport(application(identity=trusting))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        with lo.session(session_id="s-1"):
            headers = trace_headers(identity=True)
        assert (await client.get("/plain", headers=headers)).json() == {"session": session}


class Stopping:
    """A server that starts an application and stops it again."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._asked = iter(("startup", "shutdown"))

    async def receive(self) -> dict[str, str]:
        return {"type": f"lifespan.{next(self._asked)}"}

    async def send(self, message: Message) -> None:
        self.said.append(str(message["type"]))


@pytest.mark.parametrize("raises", [True, False])
async def test_the_lifespan_of_an_application_that_knows_none(captured: CapturedSpans, raises: bool) -> None:
    async def http_only(scope: Scope, receive: Receive, send: Send) -> None:
        if raises:
            raise ValueError("HTTP connections only")

    server = Stopping()
    await ASGIMiddleware(http_only)({"type": "lifespan"}, server.receive, server.send)
    assert server.said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_lifespan_that_fails_fails() -> None:
    async def failing_start(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ValueError("no database")

    server = Stopping()
    with pytest.raises(ValueError, match="no database"):
        await ASGIMiddleware(failing_start)({"type": "lifespan"}, server.receive, server.send)
    assert server.said == []

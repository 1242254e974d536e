"""Web applications: every request goes on from the trace of its caller, and nothing waits when the server stops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from looopy_otel.core.flushing import flush_off_loop
from looopy_otel.instrument.remote import continue_trace

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_OVER = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


class ASGIMiddleware:
    """Continues the trace of each HTTP request and websocket, for Starlette, FastAPI and any other ASGI application.

    ::

        app.add_middleware(lo.ASGIMiddleware)

    It makes no span of its own. The trace stays current for the whole call of the application, the body of a streamed
    response and background tasks included. See `continue_trace`.

    When the server stops, all is flushed after the application's own shutdown: servers may end their workers by the
    signal that stopped them, and then no other code runs. For an application that knows no lifespan, such as Django's,
    the middleware takes part in that protocol itself.

    Args:
        app: The application.
        identity: True to take over the session and the user that the caller names; only behind callers that you trust.
        flush_timeout: Seconds that the flush at the server's stop may take.
    """

    def __init__(self, app: ASGIApp, *, identity: bool = False, flush_timeout: float = 5.0) -> None:
        self.app = app
        self.identity = identity
        self.flush_timeout = flush_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with continue_trace(scope.get("headers"), identity=self.identity):
            await self.app(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = False

        async def receive_noted() -> Message:
            nonlocal asked
            asked = True
            return await receive()

        async def send_after_flush(message: Message) -> None:
            if message["type"] in _OVER:
                await flush_off_loop(self.flush_timeout)
            await send(message)

        try:
            await self.app(scope, receive_noted, send_after_flush)
        except Exception:
            # One that knows no lifespan raises before it asks what happens: Django, for one.
            if asked:
                raise
        if not asked:
            await _answer(receive, send_after_flush)


async def _answer(receive: Receive, send: Send) -> None:
    """Takes part in the lifespan protocol for an application that does not: else no server says when it stops."""
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})

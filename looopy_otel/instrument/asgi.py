"""Web applications: every request goes on from the trace of its caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from looopy_otel.instrument.remote import continue_trace

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class ASGIMiddleware:
    """Continues the trace of each HTTP request and websocket, for Starlette, FastAPI and any other ASGI application.

    ::

        app.add_middleware(lo.ASGIMiddleware)

    It makes no span of its own. The trace stays current for the whole call of the application, the body of a streamed
    response and background tasks included. See `continue_trace`.

    Args:
        app: The application.
        identity: True to take over the session and the user that the caller names; only behind callers that you trust.
    """

    def __init__(self, app: ASGIApp, *, identity: bool = False) -> None:
        self.app = app
        self.identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the application."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        with continue_trace(scope.get("headers"), identity=self.identity):
            await self.app(scope, receive, send)

"""Web applications for servers to run. Where their spans go is in the environment, as are their settings.

``asgi`` and ``wsgi`` are the applications; ``GET /N`` makes the span ``request-N``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import looopy_otel as lo

HANDLE_SIGTERM = os.environ.get("HANDLE_SIGTERM") == "1"

lo.configure(exporters="otlp", metrics="none", handle_sigterm=HANDLE_SIGTERM, shutdown_timeout=20.0)


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    with lo.continue_trace(environ), lo.span(f"request-{environ['PATH_INFO'][1:]}"):
        start_response("200 OK", [("content-type", "text/plain")])
        return [str(os.getpid()).encode()]


def _asgi() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def answer(request: Request) -> PlainTextResponse:
        with lo.span(f"request-{request.path_params['number']}"):
            return PlainTextResponse(str(os.getpid()))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        yield
        with lo.span("lifespan"):
            pass

    app = Starlette(routes=[Route("/{number}", answer)], lifespan=lifespan)
    app.add_middleware(lo.ASGIMiddleware)
    return app


def __getattr__(name: str) -> Any:
    """The ASGI application is made when it is asked for: the other needs no framework."""
    if name != "asgi":
        raise AttributeError(name)
    return _asgi()

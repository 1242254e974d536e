"""The chain of middleware around one operation, and whose code runs: a middleware's own, or the operation's."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final

from looopy_otel.core.delivery import unwatched
from looopy_otel.core.hooks import innermost as innermost_recorder
from looopy_otel.core.operation import CallNext, Middleware

_UNRECORDED: Final = object()
_around: ContextVar[object] = ContextVar("looopy_otel_middleware", default=None)
"""The innermost recorder where the middleware was entered whose code runs here; None inside the operation itself."""


def in_middleware_of(recorder: object) -> bool:
    """True where middleware runs that was entered with `recorder` as the innermost one: what it does is its own."""
    return recorder is not None and _around.get() is recorder


def compose(middleware: Sequence[Middleware], innermost: CallNext) -> CallNext:
    """Builds one callable that runs `middleware`, first one outermost, around `innermost`."""
    chain = _operation(innermost)
    for layer in reversed(middleware):
        chain = _bind(layer, chain)

    async def enter(operation: Any) -> Any:
        if _around.get() is None:
            return await chain(operation)
        # What a middleware asks for by itself is no try of the call that it stands around.
        with unwatched():
            return await chain(operation)

    return enter


# Neither puts its variable back by a token: an abandoned coroutine is closed in whatever context.


def _bind(layer: Middleware, call_next: CallNext) -> CallNext:
    async def run(operation: Any) -> Any:
        before = _around.get()
        _around.set(innermost_recorder() or _UNRECORDED)
        try:
            return await layer(operation, call_next)
        finally:
            _around.set(before)

    return run


def _operation(innermost: CallNext) -> CallNext:
    async def run(operation: Any) -> Any:
        before = _around.get()
        _around.set(None)
        try:
            return await innermost(operation)
        finally:
            _around.set(before)

    return run

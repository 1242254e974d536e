"""One LLM call under way: announced, run through the middleware, sent, and ended once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, cast

from looopy_otel.core.delivery import answered, broken_off
from looopy_otel.core.hooks import NO_HANDLE, Handle, announce
from looopy_otel.core.middleware import compose
from looopy_otel.core.operation import LLMCall, Middleware, Operation
from looopy_otel.core.types import CallOutcome, LLMResponse, StreamEvent
from looopy_otel.providers.errors import LiteLLMStreamError


class Exchange:
    """What the sender of one call and its announcer know of each other.

    Attributes:
        handle: The observer's handle of the call.
        tracing: False when nothing of the call is announced.
        emitted: True once a delta was given to the consumer.
        abandoned: True when the consumer left before the end.
        partial: Gives what arrived so far; None before anything did.
    """

    def __init__(self) -> None:
        self.handle: Handle = NO_HANDLE
        self.tracing = True
        self.emitted = False
        self.abandoned = False
        self.partial: Callable[[CallOutcome], LLMResponse] | None = None

    def announce(self, operation: Operation) -> Handle:
        """Announces a part of the call."""
        return announce(operation) if self.tracing else NO_HANDLE

    def seen(self, error: BaseException) -> BaseException:
        """The error as the observer is told of it: a consumer that left is no cancellation."""
        return GeneratorExit() if self.abandoned and isinstance(error, asyncio.CancelledError) else error

    def deliver(self, operation: LLMCall, event: StreamEvent) -> None:
        """Gives one event to the consumer."""
        self.emitted = True
        operation.emit(event)


Sender: TypeAlias = Callable[[LLMCall, Exchange], Awaitable[LLMResponse]]
"""Sends one operation, plain or streamed, and gives the response; deltas go through the exchange."""


async def perform(
    operation: LLMCall, exchange: Exchange, *, send: Sender, middleware: Sequence[Middleware], tracing: bool
) -> LLMResponse:
    """Announces a call, runs it through the middleware, and says how it ended.

    Args:
        operation: The call.
        exchange: A fresh one.
        send: Innermost, does the work.
        middleware: Outermost first.
        tracing: False announces nothing.
    """
    exchange.tracing = tracing
    handle = exchange.handle = exchange.announce(operation)

    async def innermost(asked: LLMCall) -> LLMResponse:
        if asked is not operation:
            handle.revise(asked)
        try:
            return answered(await send(asked, exchange))
        except BaseException as error:
            if exchange.partial is not None:
                broken_off(exchange.partial(_outcome(exchange.seen(error))))
            raise

    chain = compose(middleware, innermost)
    try:
        response = cast("LLMResponse", await chain(operation))
    except BaseException as error:
        seen = exchange.seen(error)
        handle.end(exchange.partial(_outcome(seen)) if exchange.partial else None, error=seen)
        raise
    handle.end(response)
    return response


def _outcome(error: BaseException) -> CallOutcome:
    if isinstance(error, GeneratorExit):
        return "abandoned"
    if isinstance(error, asyncio.CancelledError | KeyboardInterrupt | SystemExit):
        return "cancelled"
    return "truncated" if isinstance(error, LiteLLMStreamError) and error.truncated else "error"

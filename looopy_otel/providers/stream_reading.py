"""Reading a streamed reply from the wire: every chunk in, events out, and every way in which it can end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

import httpx
import orjson

from looopy_otel.core.operation import LLMCall
from looopy_otel.core.shapes.openai_chat_joining import ChatJoiner
from looopy_otel.core.types import CallOutcome, LLMResponse, StreamEvent
from looopy_otel.providers.debug_log import DebugLog
from looopy_otel.providers.exchange import Exchange
from looopy_otel.providers.failures import excerpt, malformed_stream, stream_error_of, truncation
from looopy_otel.providers.reading import response_of
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.shape import as_object, decoded_json
from looopy_otel.providers.sse import DONE, EventParser
from looopy_otel.providers.stream import closing_events
from looopy_otel.providers.transport import Incoming

DRAIN_SECONDS = 0.05
"""How long the end of the body is waited for after the last event, so that the connection can be used again."""


class StreamReading:
    """One streamed reply.

    Args:
        operation: The call; events go to its `emit`.
        exchange: Gets the partial response, and notes of deltas.
        head: Status and headers of the reply.
        log: Gets every chunk and event.
        extend: Called at each chunk that carries something; puts the deadline off.
    """

    def __init__(
        self, operation: LLMCall, exchange: Exchange, head: ResponseHead, log: DebugLog, extend: Callable[[], None]
    ) -> None:
        self._operation = operation
        self._exchange = exchange
        self._head = head
        self._log = log
        self._extend = extend
        self._aggregate = ChatJoiner()
        self._ends_at: float | None = None

    async def read(self, incoming: Incoming, grace: float) -> LLMResponse:
        """Reads to the end.

        Args:
            incoming: The reply.
            grace: Seconds to wait for the end of the stream once the answer is complete: some endpoints neither say
                ``[DONE]`` nor close the connection.

        Raises:
            LiteLLMStreamError: If the stream holds an error, cannot be read, or ends without a finish reason.
        """
        ending = ""
        try:
            await self._read_events(incoming, grace)
        except httpx.TimeoutException:
            raise
        except httpx.HTTPError as error:
            ending = f"the connection was closed ({error})"
        if self._aggregate.finish_reason is None:
            raise truncation(ending or "no finish_reason", self._head)
        response = self._response()
        self._give(closing_events(response))
        return response

    async def _read_events(self, incoming: Incoming, grace: float) -> None:
        parser = EventParser()
        while (piece := await self._next(incoming.pieces, grace)) is not None:
            for data in parser.feed(piece):
                if data == DONE:
                    await _drain(incoming)
                    return
                self._take(data)
        for data in parser.end():
            if data != DONE and _is_json(data):
                self._take(data)
        if not self._aggregate.begun and self._head.content_type != "text/event-stream":
            raise malformed_stream(f"it is {self._head.content_type or 'of no content type'}", self._head)

    async def _next(self, pieces: AsyncIterator[bytes], grace: float) -> bytes | None:
        """The next piece; None at the end, or when the answer has been complete for `grace` seconds."""
        if self._ends_at is None and self._aggregate.complete:
            self._ends_at = asyncio.get_running_loop().time() + grace
        with suppress(StopAsyncIteration, TimeoutError):
            async with asyncio.timeout_at(self._ends_at):
                return await anext(pieces)
        return None

    def _take(self, data: bytes) -> None:
        self._log.chunk(data)
        try:
            chunk = as_object(decoded_json(data))
        except ValueError:
            raise malformed_stream(f"a chunk is not JSON: {excerpt(data)}", self._head) from None
        if chunk.get("error"):
            raise stream_error_of(chunk, self._head)
        self._exchange.partial = self._response
        progress = self._aggregate.add(chunk)
        if progress.anything:
            self._extend()
        if progress.delta:
            self._exchange.handle.chunk()
        self._give(progress.events)

    def _give(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            self._log.event(event)
            self._exchange.deliver(self._operation, event)

    def _response(self, outcome: CallOutcome = "completed") -> LLMResponse:
        return response_of(self._aggregate.answer(), self._head, self._operation.model, outcome, stream=True)


async def _drain(incoming: Incoming) -> None:
    """Reads what follows the last event, which is nothing."""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in incoming.pieces:
                pass


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True

"""Sending one call: deadline, tries, and reading the reply, plain or streamed."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import httpx

from looopy_otel.core.operation import Attempt, LLMCall
from looopy_otel.core.types import LLMResponse
from looopy_otel.providers.connection import connection_error
from looopy_otel.providers.debug_log import DebugLog
from looopy_otel.providers.errors import LiteLLMAPIError, LiteLLMError, LiteLLMTimeoutError
from looopy_otel.providers.exchange import Exchange
from looopy_otel.providers.failures import error_of
from looopy_otel.providers.masking import SecretMask
from looopy_otel.providers.options import LiteLLMOptions
from looopy_otel.providers.reading import answer_of, response_of
from looopy_otel.providers.request import encode, request_body, request_headers
from looopy_otel.providers.stream_reading import StreamReading
from looopy_otel.providers.transport import HTTPRequest, Incoming, OpenResponse

MOST_ERROR_BYTES = 64 * 1024
"""How much of an error page is read."""

FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds before the second try, and at most, where the endpoint does not say."""


@dataclass(frozen=True, slots=True)
class CallSender:
    """Sends calls with one set of options; a call that runs keeps the set it began with.

    Attributes:
        options: The options.
        open_response: Sends an HTTP request.
    """

    options: LiteLLMOptions
    open_response: OpenResponse

    async def __call__(self, operation: LLMCall, exchange: Exchange) -> LLMResponse:
        """Sends a call and gives its response.

        Raises:
            LiteLLMError: If it fails; no secret is in its text.
        """
        timeout = self.options.timeout
        deadline = asyncio.timeout(timeout)
        try:
            async with deadline:
                return await _Sending(self, operation, exchange, deadline).try_repeatedly()
        except TimeoutError as error:
            if deadline.expired() and not isinstance(error, LiteLLMError):
                raise LiteLLMTimeoutError(f"LiteLLM request timeout after {timeout}s") from None
            raise


class _Sending:
    """One call being sent."""

    def __init__(self, sender: CallSender, operation: LLMCall, exchange: Exchange, deadline: asyncio.Timeout) -> None:
        options = sender.options
        self._options = options
        self._open = sender.open_response
        self._operation = operation
        self._exchange = exchange
        self._deadline = deadline
        self._mask = SecretMask(options.secrets)
        self._log = DebugLog(options.debug_log_path, self._mask, operation.model)
        self._request = HTTPRequest(
            url=options.endpoint.geturl(),
            headers=request_headers(operation, options, exchange.handle.headers()),
            body=encode(request_body(operation, options)),
            timeout=options.timeout,
        )

    async def try_repeatedly(self) -> LLMResponse:
        if self._options.max_retries == 0:
            return await self._try()
        number, delay = 1, 0.0
        while True:
            try:
                return await self._announced_try(number, delay)
            except LiteLLMError as error:
                pause = self._pause(error, number)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
            number, delay = number + 1, pause

    async def _announced_try(self, number: int, delay: float) -> LLMResponse:
        handle = self._exchange.announce(Attempt(number=number, delay=delay, identity=self._operation.identity))
        try:
            response = await self._try()
        except BaseException as error:
            handle.end(error=self._exchange.seen(error))
            raise
        handle.end(response)
        return response

    def _pause(self, error: LiteLLMError, number: int) -> float | None:
        """Seconds before the next try; None when there is none: it cannot help, or not within the deadline."""
        if number > self._options.max_retries or not error.retryable or self._exchange.emitted:
            return None
        wanted = error.retry_after if isinstance(error, LiteLLMAPIError) else None
        if wanted is None:
            wanted = min(FIRST_DELAY * 2 ** (number - 1), LONGEST_DELAY) * random.uniform(0.75, 1.0)
        return wanted if wanted < self._remaining() else None

    def _remaining(self) -> float:
        when = self._deadline.when()
        return 0.0 if when is None else when - asyncio.get_running_loop().time()

    async def _try(self) -> LLMResponse:
        """One try; its error is in no need of masking any more."""
        self._exchange.partial = None
        try:
            return await self._request_once()
        except LiteLLMError as error:
            error.args = (self._mask(str(error)),)
            raise

    async def _request_once(self) -> LLMResponse:
        try:
            async with self._open(self._request) as incoming:
                return await self._read(incoming)
        except httpx.TimeoutException as error:
            raise LiteLLMTimeoutError(f"LiteLLM request timeout after {self._options.timeout}s") from error
        except httpx.HTTPError as error:
            endpoint = self._options.endpoint
            raise connection_error(error, endpoint.netloc) from error

    async def _read(self, incoming: Incoming) -> LLMResponse:
        head = incoming.head
        if not 200 <= head.status < 300:
            body = await _beginning(incoming)
            self._log.chunk(body)
            raise error_of(body, head, keyed=self._options.key is not None)
        if self._operation.stream and head.content_type != "application/json":
            return await StreamReading(self._operation, self._exchange, head, self._log, self._extend).read(incoming)
        body = b"".join([piece async for piece in incoming.pieces])
        self._log.chunk(body)
        response = response_of(answer_of(body, head), head, self._operation.model)
        if self._operation.stream:
            self._exchange.handle.chunk()
        return response

    def _extend(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._options.timeout)


async def _beginning(incoming: Incoming) -> bytes:
    """The first part of a body that is only wanted for its message."""
    body = bytearray()
    async for piece in incoming.pieces:
        body += piece
        if len(body) >= MOST_ERROR_BYTES:
            break
    return bytes(body[:MOST_ERROR_BYTES])

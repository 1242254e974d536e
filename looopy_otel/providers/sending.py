"""Sending one call: deadline, tries, and reading the reply, plain or streamed."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

import httpx

from looopy_otel.core.operation import Attempt, LLMCall
from looopy_otel.core.types import LLMResponse
from looopy_otel.providers.connection import connection_error
from looopy_otel.providers.debug_log import DebugLog
from looopy_otel.providers.errors import LiteLLMAPIError, LiteLLMError, LiteLLMTimeoutError, Origin
from looopy_otel.providers.exchange import Exchange
from looopy_otel.providers.failures import error_of, shortened
from looopy_otel.providers.masking import SecretMask
from looopy_otel.providers.options import LiteLLMOptions
from looopy_otel.providers.reading import completion_of, response_of
from looopy_otel.providers.request import encode, request_body, request_headers
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.stream_reading import StreamReading
from looopy_otel.providers.transport import HTTPRequest, Incoming, OpenResponse

MOST_ERROR_BYTES, ERROR_PAGE_SECONDS = 64 * 1024, 2.0
"""How much of an error page is read, and for how long; the status has said already what is wrong."""

END_GRACE = 1.0
"""Seconds that a stream has to end once its answer is complete."""

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
        deadline = asyncio.timeout(self.options.timeout)
        sending = _Sending(self, operation, exchange, deadline)
        try:
            async with deadline:
                return await sending.try_repeatedly()
        except TimeoutError as error:
            if deadline.expired() and not isinstance(error, LiteLLMError):
                raise sending.overdue() from None
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
        self._head: ResponseHead | None = None
        self._error_page: bytearray | None = None
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

    def overdue(self) -> LiteLLMError:
        """The error of a call whose time is up: a timeout, unless a status had told of a failure already."""
        if self._head is not None and self._error_page is not None:
            return self._masked(self._refusal(self._head, self._error_page))
        return self._timeout()

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
        self._exchange.partial = self._head = self._error_page = None
        try:
            return await self._request_once()
        except LiteLLMError as error:
            self._masked(error)
            raise
        finally:
            self._log.write()

    async def _request_once(self) -> LLMResponse:
        try:
            async with self._open(self._request) as incoming:
                return await self._read(incoming)
        except httpx.TimeoutException as error:
            raise self._timeout() from error
        except httpx.HTTPError as error:
            raise connection_error(error, self._options.endpoint.netloc, self._origin) from error

    async def _read(self, incoming: Incoming) -> LLMResponse:
        head = self._head = incoming.head
        if not 200 <= head.status < 300:
            raise self._refusal(head, await self._read_error_page(incoming))
        if self._operation.stream and head.content_type != "application/json":
            reading = StreamReading(self._operation, self._exchange, head, self._log, self._extend)
            return await reading.read(incoming, grace=min(END_GRACE, self._options.timeout / 2))
        body = b"".join([piece async for piece in incoming.pieces])
        self._log.chunk(body)
        response = response_of(completion_of(body, head), head, self._operation.model)
        if self._operation.stream:
            self._exchange.handle.chunk()
        return response

    async def _read_error_page(self, incoming: Incoming) -> bytearray:
        """The first part of a body that is only wanted for its message; what came of it, where it breaks off."""
        page = self._error_page = bytearray()
        try:
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(ERROR_PAGE_SECONDS):
                    async for piece in incoming.pieces:
                        page += piece[: MOST_ERROR_BYTES - len(page)]
                        if len(page) >= MOST_ERROR_BYTES:
                            break
        finally:
            self._log.chunk(bytes(page))
        return page

    def _refusal(self, head: ResponseHead, page: bytearray) -> LiteLLMAPIError:
        return error_of(bytes(page), head, keyed=self._options.key is not None)

    def _timeout(self) -> LiteLLMTimeoutError:
        return LiteLLMTimeoutError(f"LiteLLM request timeout after {self._options.timeout}s", **self._origin)

    @property
    def _origin(self) -> Origin:
        return {} if self._head is None else self._head.origin

    def _masked(self, error: LiteLLMError) -> LiteLLMError:
        # Cut short only now: half a secret is not known for one.
        error.args = (shortened(self._mask(str(error))),)
        return error

    def _extend(self) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._options.timeout)

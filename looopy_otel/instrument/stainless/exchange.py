"""One LLM call through a client of an SDK: its middleware, its request or requests, and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse
from looopy_otel.instrument.call import ClientCall, WrapOptions
from looopy_otel.instrument.chain import Opened, arun_chain, run_chain
from looopy_otel.instrument.stainless.attempts import attempting
from looopy_otel.instrument.stainless.made import made_response
from looopy_otel.instrument.stainless.request import Route, SdkRequest
from looopy_otel.instrument.stainless.sending import Sending


class Exchange:
    """One call; `run` or `arun` makes it.

    Args:
        request: What the caller's code asks the SDK to send.
        operation: The call, as the caller has it.
        route: Reads and writes it.
        options: What the user said of the client.
    """

    def __init__(self, request: SdkRequest, operation: LLMCall, route: Route, options: WrapOptions) -> None:
        self._request = request
        self._operation = operation
        self._route = route
        self._options = options
        self._call = ClientCall(operation, route.wire_format)
        self._last: LLMResponse | None = None
        self._current: Sending | None = None

    @property
    def _of_no_interest(self) -> bool:
        """True where nobody records the call and no middleware waits for it."""
        return self._call.recorder.span_id is None and not self._options.middleware

    def _sending(self, operation: LLMCall) -> Sending:
        self._current = Sending(self._request, self._operation, operation, self._route, self._options, self._call)
        return self._current

    def run(self, send: Callable[[Any], Any]) -> Any:
        """Makes the call.

        Args:
            send: Sends a request, given the SDK's options; may be called several times.

        Returns:
            What the SDK would give: its answer, stream or raw response.
        """
        if self._of_no_interest:
            return send(self._request.options)

        def perform(operation: LLMCall) -> LLMResponse | Opened:
            sending = self._sending(operation)
            with attempting(sending.attempts):
                answer = _sent(send, sending)
            return self._kept(sending.received(answer))

        try:
            answer = run_chain(self._options.middleware, self._operation, perform)
            if isinstance(answer, Opened) or self._call.is_as_read(answer):
                return self._given(answer)
            sending = self._answering(answer)
            written = self._route.wire_format.answer(answer)
            return self._given_made(
                sending, made_response(self._request, sending.options, self._route, written), answer
            )
        except BaseException as error:
            self._fail(error)
            raise

    async def arun(self, send: Callable[[Any], Awaitable[Any]]) -> Any:
        """As `run`, for async clients."""
        if self._of_no_interest:
            return await send(self._request.options)

        async def perform(operation: LLMCall) -> LLMResponse | Opened:
            sending = self._sending(operation)
            with attempting(sending.attempts):
                answer = await _asent(send, sending)
            return self._kept(sending.received(answer))

        try:
            may_stream = self._request.stream or self._request.raw == "stream"
            answer = await arun_chain(self._options.middleware, self._operation, perform, may_stream=may_stream)
            if isinstance(answer, Opened) or self._call.is_as_read(answer):
                return self._given(answer)
            sending = self._answering(answer)
            written = self._route.wire_format.answer(answer)
            made = await made_response(self._request, sending.options, self._route, written)
            return self._given_made(sending, made, answer)
        except BaseException as error:
            self._fail(error)
            raise

    def _kept(self, answer: LLMResponse | Opened) -> LLMResponse | Opened:
        """Keeps what the endpoint answered, for the case that a middleware fails, or changes it, afterwards."""
        if isinstance(answer, LLMResponse):
            self._last = self._call.keep(answer)
        return answer

    def _fail(self, error: BaseException) -> None:
        """Ends the call with what was raised, by the endpoint, a middleware or the SDK's parser of a paid answer."""
        unparsed = self._current.unparsed if self._current is not None else None
        self._call.end(self._last or unparsed, error)

    def _answering(self, answer: LLMResponse) -> Sending:
        """The request that an answer which a middleware has made, or changed, stands for."""
        changed = self._current if answer.native is not None else None
        return changed or self._sending(self._operation)

    def _given(self, answer: LLMResponse | Opened) -> Any:
        if isinstance(answer, Opened):
            return answer.stream
        self._call.end(answer)
        return answer.native

    def _given_made(self, sending: Sending, made: Any, answer: LLMResponse) -> Any:
        """What the caller gets for an answer that a middleware made itself, or changed."""
        received = sending.received(made)
        if isinstance(received, Opened):
            return received.stream
        self._call.end(answer)
        return made


def _sent(send: Callable[[Any], Any], sending: Sending) -> Any:
    """Sends a request; one that is refused for what was added to it is sent again without, and nobody is told."""
    try:
        return send(sending.options)
    except BaseException as error:
        if not sending.asked_in_vain(error):
            raise
    return send(sending.options)


async def _asent(send: Callable[[Any], Awaitable[Any]], sending: Sending) -> Any:
    """As `_sent`, for async clients."""
    try:
        return await send(sending.options)
    except BaseException as error:
        if not sending.asked_in_vain(error):
            raise
    return await send(sending.options)

"""One request of a call: how it is sent, and what comes of it as a whole answer, a stream or an unread response."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from looopy_otel.core.delivery import broken_off
from looopy_otel.core.guard import guard
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.response_head import kept_headers, request_id_of
from looopy_otel.core.semconv import LITELLM_COST_HEADER
from looopy_otel.core.shapes.cost import reported_cost
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.instrument.call import ClientCall, StreamRecord, WrapOptions
from looopy_otel.instrument.chain import Opened
from looopy_otel.instrument.stainless.attempts import Attempts
from looopy_otel.instrument.stainless.request import Route, SdkRequest
from looopy_otel.instrument.stainless.stream import recorded_response, recorded_stream

_NO_HEADERS: Final[Mapping[str, str]] = {}
_NOTHING_READ: Final = LLMResponse(message=Message("assistant"))
_ASKING: Final = "stream_options"
_REFUSALS: Final = (400, 422)
_PLACES: Final = 256
_without_usage: dict[tuple[str, str], None] = {}
"""The last places, endpoint and model, that refused a stream with the field that asks for usage."""


class Sending:
    """One request, and its answer.

    Args:
        request: What the caller's code asks for.
        before: The operation that this is.
        operation: What the middleware passed on.
        route: Reads and writes it.
        options: What the user said of the client.
        call: The call it belongs to.

    Attributes:
        options: The SDK's options to send.
        attempts: The tries that the SDK makes of it.
        unparsed: What the SDK's parser was given, for the case that it raises.
    """

    def __init__(
        self,
        request: SdkRequest,
        before: LLMCall,
        operation: LLMCall,
        route: Route,
        options: WrapOptions,
        call: ClientCall,
    ) -> None:
        self._request = request
        self._before = before
        self._operation = operation
        self._client_options = options
        self._route = route
        self._call = call
        self._hide_usage = False
        self._record: StreamRecord | None = None
        self.unparsed: LLMResponse | None = None
        self.attempts = Attempts(call.recorder)
        self.options: Any = request.options
        with guard("instrument.request"):
            call.revise(operation)
            self.options = self._prepared(options)

    def _prepared(self, options: WrapOptions) -> Any:
        request, wire_format = self._request, self._route.wire_format
        arguments = request.arguments
        if self._operation is not self._before:
            arguments = wire_format.arguments(arguments, self._before, self._operation)
        # A body that the caller reads line by line cannot hide anything.
        asks = request.stream and options.ask_for_usage and request.raw != "stream"
        asking = wire_format.asking_for_usage(arguments) if asks and self._place not in _without_usage else None
        self._hide_usage = asking is not None
        arguments = asking or arguments
        propagates = options.propagate and not request.carries_trace()
        return request.options_with(arguments, self._call.headers() if propagates else _NO_HEADERS, self._parser())

    @property
    def _place(self) -> tuple[str, str]:
        """Where the request goes: an endpoint, and the model behind it."""
        return str(self._request.client.base_url), self._operation.model

    def asked_in_vain(self, error: BaseException) -> bool:
        """Whether a request was refused for the usage that it asked for behind the caller's back.

        If so, `options` no longer ask for it, nor do further requests to the same place.
        """
        if not self._hide_usage or getattr(error, "status_code", None) not in _REFUSALS or _ASKING not in str(error):
            return False
        with guard("instrument.request"):
            if len(_without_usage) >= _PLACES:
                _without_usage.pop(next(iter(_without_usage)), None)
            _without_usage[self._place] = None
            self.options = self._prepared(self._client_options)
        return not self._hide_usage

    def _parser(self) -> Callable[[Any], Any] | None:
        """Takes a stream where the SDK makes it, be that now or when the caller parses a raw response."""
        own = self._request.options.post_parser
        if self._request.stream:
            return lambda stream: self._opened(own(stream) if callable(own) else stream)
        if not callable(own):
            return None

        def parsed(answer: Any) -> Any:
            try:
                return own(answer)
            except BaseException:
                # The answer is none the less paid for.
                self.unparsed = self._call.read(answer)
                if self.unparsed is not None:
                    broken_off(self.unparsed)
                raise

        return parsed

    def received(self, answer: Any) -> LLMResponse | Opened:
        """Says what the SDK gave.

        Returns:
            The whole answer, or a stream that has begun; what the caller gets is `LLMResponse.native`, or
            `Opened.stream`.
        """
        if self._record is not None:
            # The stream was made inside the blocks of other instrumentations, whose ends make the call current again.
            self._call.recorder.suspend()
            return Opened(answer, self._record)
        if self._request.stream or self._request.raw == "stream":
            return self._opened_unread(answer)
        response: LLMResponse | None = None
        with guard("instrument.answer"):
            response = self._completed(self._read(self._body(answer)))
        return replace(response or _NOTHING_READ, native=answer)

    def _body(self, answer: Any) -> Any:
        """What there is to read of an answer: the SDK's object, or the body of an HTTP response."""
        if self._request.raw is not None:
            return _body_of(answer.http_response)
        return _body_of(answer) if hasattr(answer, "raise_for_status") else answer

    def _opened(self, stream: Any) -> Any:
        """The caller's form of a stream that the SDK has made."""
        with guard("instrument.stream"):
            record = self._recorded()
            return recorded_stream(stream, record, hide_usage=self._hide_usage)
        with guard("instrument.stream"):
            self._recorded().watch(stream)  # It is the caller's as it is; the call ends with it.
        return stream

    def _opened_unread(self, answer: Any) -> Opened:
        record = self._recorded()
        given = answer
        with guard("instrument.response"):
            if self._request.raw == "stream":
                given = recorded_response(answer, record, self._settle)
            elif hasattr(answer, "_iterator"):
                given = self._opened(answer)
            else:
                record.watch(answer)
        return Opened(given, record)

    def _recorded(self) -> StreamRecord:
        if self._record is None:
            self._record = self._call.stream(self._completed)
        return self._record

    def _settle(self, response: Any, was_closed: bool) -> None:
        """Ends the record of a response that the caller has read, or not, and closes now."""
        record = self._recorded()
        if record.ended:
            return
        body = _body_of(response)
        if body is not None or was_closed:
            record.settle(self._read(body))
        else:
            record.leave()

    def _read(self, body: object) -> LLMResponse:
        """What an answer says; nothing where it cannot be read."""
        response = self._call.read(body) if body is not None else None
        if response is not None and self._route.output is not None:
            self._call.recorder.record(output=self._route.output(body))
        return response or _NOTHING_READ

    def _completed(self, response: LLMResponse) -> LLMResponse:
        """A response with what the head of the HTTP response says."""
        head = self.attempts.response
        if head is None:
            return response
        headers = cast("Mapping[str, str]", head.headers)
        changes: dict[str, Any] = {"request_id": request_id_of(headers), "headers": kept_headers(headers)}
        # The header of a stream comes before its tokens.
        cost = None if self._request.stream else reported_cost(headers.get(LITELLM_COST_HEADER))
        if cost is not None and response.cost is None:
            changes |= {"cost": cost, "cost_source": "provider"}
        return replace(response, **changes)


def _body_of(response: Any) -> Any:
    """The decoded body of an HTTP response; None where it has not been read as a whole, or is no JSON."""
    try:
        return json.loads(response.content)
    except (RuntimeError, ValueError):  # httpx's ResponseNotRead is a RuntimeError.
        return None

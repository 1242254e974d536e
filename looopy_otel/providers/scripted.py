"""A deterministic LLM provider without a network, for tests and examples."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import orjson

from looopy_otel.core.operation import LLMCall, Middleware
from looopy_otel.core.semconv import LITELLM_COST_HEADER
from looopy_otel.core.shapes.openai_chat_joining import ChatJoiner
from looopy_otel.core.types import CallOutcome, LLMResponse, MessageLike, ToolLike
from looopy_otel.providers.call import ProviderCall
from looopy_otel.providers.events import SyncEventStream
from looopy_otel.providers.exchange import Exchange, perform
from looopy_otel.providers.failures import error_of, stream_error_of, truncation
from looopy_otel.providers.preparing import CallArguments, changed_parameters, prepare
from looopy_otel.providers.reading import completion_of, response_of
from looopy_otel.providers.reply import RecordedRequest, Reply, Script, ScriptReader
from looopy_otel.providers.response_head import ResponseHead
from looopy_otel.providers.stream import closing_events


class ScriptedProvider:
    """Answers from a script, as `ScriptedServer` and `LiteLLMProvider` together would, without HTTP.

    It announces its calls, so they are traced like those of any provider.

    Attributes:
        requests: Every request so far; ``json`` is what would have been sent.
    """

    announces_calls = True

    def __init__(
        self,
        script: Script,
        model: str = "scripted-model",
        *,
        middleware: Sequence[Middleware] = (),
        tracing: bool = True,
    ) -> None:
        """Makes the provider.

        Args:
            script: Replies in order (the last one repeats), or a function of the request.
            model: The model that it stands for.
            middleware: Around each call, outermost first.
            tracing: False announces nothing.
        """
        self.requests: list[RecordedRequest] = []
        self._model = model
        self._reader = ScriptReader(script)
        self._middleware = tuple(middleware)
        self._perform = partial(perform, send=self._send, tracing=tracing)

    @property
    def model(self) -> str:
        """The model that it stands for."""
        return self._model

    def call(
        self,
        *,
        messages: Sequence[MessageLike],
        tools: Sequence[ToolLike] | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tool_choice: Any = None,
        response_format: Any = None,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> ProviderCall:
        """Prepares one call; see `LiteLLMProvider.call`."""
        operation = prepare(
            model=model or self._model,
            messages=messages,
            tools=tools,
            session_id=session_id,
            metadata=metadata,
            tool_choice=tool_choice,
            response_format=response_format,
        )
        operation = replace(operation, parameters=changed_parameters({}, parameters))
        return ProviderCall(operation, self._perform, self._middleware)

    def call_sync(self, *, messages: Sequence[MessageLike], **arguments: Unpack[CallArguments]) -> LLMResponse:
        """Makes one call from sync code; the arguments are those of `call`."""
        return self.call(messages=messages, **arguments).result()

    def stream_sync(self, *, messages: Sequence[MessageLike], **arguments: Unpack[CallArguments]) -> SyncEventStream:
        """Streams one call from sync code; the arguments are those of `call`."""
        return self.call(messages=messages, **arguments).events()

    async def _send(self, operation: LLMCall, exchange: Exchange) -> LLMResponse:
        request = _request(operation)
        self.requests.append(request)
        reply, number = self._reader.next(request)
        head = _head(reply)
        await asyncio.sleep(reply.delay)
        if reply.status >= 400:
            raise error_of(reply.body or orjson.dumps(reply.error()), head)
        if operation.stream and reply.body is None:
            return await self._stream(operation, exchange, reply, number, head)
        body = reply.body if reply.body is not None else orjson.dumps(reply.completion(request, number))
        return response_of(completion_of(body, head), head, operation.model)

    async def _stream(
        self, operation: LLMCall, exchange: Exchange, reply: Reply, number: int, head: ResponseHead
    ) -> LLMResponse:
        aggregate = ChatJoiner()

        def answered(outcome: CallOutcome = "completed") -> LLMResponse:
            return response_of(aggregate.answer(), head, operation.model, outcome, stream=True)

        exchange.partial = answered
        for sent, chunk in enumerate(reply.chunks(_request(operation), number)):
            if sent == reply.cut_after:
                raise truncation("the connection was closed", head)
            await asyncio.sleep(reply.chunk_delay if sent else 0)
            if "error" in chunk:
                raise stream_error_of(chunk, head)
            _tell(operation, exchange, aggregate, chunk)
        if aggregate.finish_reason is None:
            raise truncation("no finish_reason", head)
        response = answered()
        for event in closing_events(response):
            exchange.deliver(operation, event)
        return response


def _tell(operation: LLMCall, exchange: Exchange, aggregate: ChatJoiner, chunk: Mapping[str, Any]) -> None:
    progress = aggregate.add(chunk)
    if progress.delta:
        exchange.handle.chunk()
    for event in progress.events:
        exchange.deliver(operation, event)


def _head(reply: Reply) -> ResponseHead:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    if reply.cost is not None:
        headers.setdefault(LITELLM_COST_HEADER, str(reply.cost))
    return ResponseHead(reply.status, headers)


def _request(operation: LLMCall) -> RecordedRequest:
    body: dict[str, Any] = {
        "model": operation.model,
        "messages": list(operation.messages),
        **operation.parameters,
        "stream": operation.stream,
        "stream_options": {"include_usage": True} if operation.stream else None,
        "tools": list(operation.tools) or None,
        "tool_choice": operation.tool_choice,
        "response_format": operation.response_format,
        "metadata": {**operation.metadata, "session_id": operation.session_id} if operation.session_id else None,
    }
    return RecordedRequest("POST", "", {}, b"", {key: value for key, value in body.items() if value is not None})

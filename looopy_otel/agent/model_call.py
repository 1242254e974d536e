"""One LLM call of a run: through the middleware to the provider, always streamed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from looopy_otel.agent.blueprint import RunScope
from looopy_otel.agent.conversation import text_of
from looopy_otel.agent.errors import BudgetExceededError, ProviderProtocolError
from looopy_otel.agent.events import ContentCompleteEvent, LLMUsageEvent
from looopy_otel.agent.pricing import price_at_once, price_of
from looopy_otel.core.hooks import NO_HANDLE, Handle, announce
from looopy_otel.core.identity import current_identity
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import (
    CallOutcome,
    ContentComplete,
    ContentDelta,
    LLMProvider,
    LLMResponse,
    LLMUsage,
    Message,
    MessageLike,
    StreamEvent,
    ThoughtStream,
    ToolCall,
    ToolCallEvent,
)
from looopy_otel.core.usage import Usage


async def ask_model(scope: RunScope, messages: Sequence[MessageLike]) -> LLMResponse:
    """Asks the model once.

    Raises:
        BudgetExceededError: If a budget refuses the call; then no request is made.
        ProviderProtocolError: If the provider gives no stream, or cannot take what a middleware put into the call.
        Exception: What the provider or a middleware raised.
    """
    operation = LLMCall(
        messages=tuple(messages),
        model=_model_of(scope.blueprint.provider),
        tools=scope.offered.tools,
        stream=True,
        session_id=current_identity().effective_session_id,
        metadata=scope.request.metadata,
        emit=scope.sink.emit,
    )

    async def innermost(asked: LLMCall) -> LLMResponse:
        wanted = _changes(operation, asked)
        _check_taken(scope.blueprint.provider, wanted)
        scope.ledger.admit("LLM")
        try:
            return await _call(scope, asked, wanted)
        except BudgetExceededError:
            # A budget of the provider's own refused it: no call was made.
            scope.ledger.withdraw("LLM")
            raise

    response = await scope.through_middleware(operation, innermost, LLMResponse)
    scope.sink.add(
        ContentCompleteEvent,
        content=text_of(response.message.content),
        tool_calls=response.message.tool_calls,
        finish_reason=response.finish_reason,
        model=response.model,
    )
    return response


def _model_of(provider: LLMProvider) -> str:
    """The model that a provider names; a call has one on its span in any case."""
    return str(getattr(provider, "model", None) or "unknown")


def _changes(operation: LLMCall, asked: LLMCall) -> dict[str, Any]:
    """What a middleware put into the call beyond the arguments that every provider takes."""
    return {
        name: getattr(asked, name)
        for name in ("model", "parameters", "tool_choice", "response_format")
        if getattr(asked, name) != getattr(operation, name)
    }


def _check_taken(provider: LLMProvider, wanted: Mapping[str, Any]) -> None:
    parameters = inspect.signature(provider.call).parameters.values() if wanted else ()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    missing = wanted.keys() - {parameter.name for parameter in parameters}
    if missing:
        raise ProviderProtocolError(
            f"a middleware changed {', '.join(sorted(missing))} of an LLM call, which {type(provider).__name__}.call() "
            f"does not take; give it the keyword arguments {', '.join(f'{name}=None' for name in sorted(missing))}"
        )


async def _call(scope: RunScope, operation: LLMCall, wanted: Mapping[str, Any]) -> LLMResponse:
    provider = scope.blueprint.provider
    # A provider that announces its own calls knows what the loop does not: its system, its parameters, its server.
    handle = NO_HANDLE if getattr(provider, "announces_calls", False) else announce(operation)
    gathered = _Gathered()
    try:
        await _gather(provider, operation, wanted, handle, gathered)
        response = gathered.response(type(provider).__name__)
    except BaseException as error:
        partial = gathered.partial(_outcome(error))
        handle.end(partial, error=error)
        if partial is not None:
            # Without a usage its cost is unknown: what came will be charged for.
            scope.ledger.add(partial.model or operation.model, partial.usage, price_at_once(operation, partial))
        raise
    handle.end(response)
    cost = await price_of(operation, response)
    scope.ledger.add(response.model or operation.model, response.usage, cost)
    scope.sink.add(LLMUsageEvent, model=response.model, usage=response.usage, cost=cost)
    return response


def _outcome(error: BaseException) -> CallOutcome:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "error"


async def _gather(
    provider: LLMProvider, operation: LLMCall, wanted: Mapping[str, Any], handle: Handle, gathered: _Gathered
) -> None:
    async with _events(provider, operation, wanted) as events:
        async for event in events:
            if isinstance(event, ContentDelta | ThoughtStream | ToolCallEvent):
                handle.chunk()
            gathered.add(event)
            operation.emit(event)


@asynccontextmanager
async def _events(
    provider: LLMProvider, operation: LLMCall, wanted: Mapping[str, Any]
) -> AsyncGenerator[AsyncIterator[StreamEvent]]:
    call: Any = provider.call(
        messages=operation.messages,
        tools=operation.tools or None,
        session_id=operation.session_id,
        metadata=operation.metadata or None,
        **wanted,
    )
    if not hasattr(call, "__aiter__"):
        if inspect.iscoroutine(call):
            call.close()
        raise ProviderProtocolError(
            f"{type(provider).__name__}.call() must return an async iterable of stream events, "
            f"not {type(call).__name__}; write it as an async generator"
        )
    events = aiter(call)
    try:
        yield events
    finally:
        # An iterator that was not read to its end may hold a connection.
        close = getattr(events, "aclose", None)
        if close is not None:
            await close()


class _Gathered:
    """Builds the response of a stream: its `ContentComplete` where there is one, else the deltas."""

    def __init__(self) -> None:
        self._complete: LLMResponse | None = None
        self._text: list[str] = []
        self._thoughts: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._usage: Usage | None = None
        self._cost: Decimal | None = None

    def add(self, event: StreamEvent) -> None:
        match event:
            case ContentDelta():
                self._text.append(event.text)
            case ThoughtStream():
                self._thoughts.append(event.text)
            case ToolCallEvent():
                self._tool_calls.append(event.tool_call)
            case LLMUsage():
                self._usage, self._cost = event.usage, event.cost
            case ContentComplete():
                self._complete = event.response

    def response(self, provider: str) -> LLMResponse:
        response = self.partial("completed")
        if response is None:
            raise ProviderProtocolError(f"{provider}.call() ended its stream without a text, a tool call or a response")
        return response

    def partial(self, outcome: CallOutcome) -> LLMResponse | None:
        """What came so far, or None when that is nothing."""
        if self._complete is not None:
            return self._complete
        if not (self._text or self._thoughts or self._tool_calls or self._usage):
            return None
        return LLMResponse(
            message=Message(
                "assistant",
                "".join(self._text) or None,
                tuple(self._tool_calls),
                reasoning="".join(self._thoughts) or None,
            ),
            usage=self._usage,
            cost=self._cost,
            cost_source="unknown" if self._cost is None else "provider",
            usage_source="missing" if self._usage is None else "reported",
            outcome=outcome,
        )

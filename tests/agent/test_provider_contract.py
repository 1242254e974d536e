"""What the loop makes of providers that keep the contract loosely, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from looopy_otel.agent import (
    AgentLoop,
    FunctionTools,
    LLMCall,
    LLMResponse,
    Message,
    ProviderProtocolError,
    ToolCall,
    Usage,
)
from looopy_otel.core.types import ContentComplete, ContentDelta, LLMUsage, StreamEvent, ThoughtStream, ToolCallEvent
from tests.agent.fakes import calculate
from tests.agent.recording import RecordingObserver


class Deltas:
    """Yields events and no response."""

    model = "bare"

    def __init__(self, *turns: Sequence[StreamEvent], error: BaseException | None = None) -> None:
        self._turns = list(turns)
        self._error = error

    async def call(self, **_: Any) -> AsyncIterator[StreamEvent]:
        for event in self._turns.pop(0):
            yield event
        if self._error is not None:
            raise self._error


def loop(provider: Any) -> AgentLoop:
    return AgentLoop(agent_id="a", llm_provider=provider, tool_providers=[FunctionTools([calculate])])


async def test_a_response_is_built_of_the_deltas(observer: RecordingObserver) -> None:
    provider = Deltas(
        [ThoughtStream("Hm"), ToolCallEvent(ToolCall("c1", "calculate", '{"expression": "15 * 23 + 47"}'))],
        [ContentDelta("39"), ContentDelta("2"), LLMUsage(Usage(3, 4), Decimal("0.5"))],
    )
    result = await loop(provider).arun("Hi")
    assert (result.output, result.usage, result.cost) == ("392", Usage(3, 4), Decimal("0.5"))
    first, second = observer.of(LLMCall)
    assert (first.result.message.reasoning, first.chunks) == ("Hm", 2)
    assert (second.result.message.content, second.result.outcome, second.result.usage_source) == (
        "392",
        "completed",
        "reported",
    )


async def test_an_empty_stream_is_an_error_that_names_the_provider() -> None:
    with pytest.raises(ProviderProtocolError, match=r"Deltas\.call\(\) ended its stream without"):
        await loop(Deltas([])).arun("Hi")


async def test_what_came_before_a_failure_is_kept_and_counted(observer: RecordingObserver) -> None:
    provider = Deltas([ContentDelta("Half"), LLMUsage(Usage(3, 4))], error=ConnectionError("cut"))
    stream = loop(provider).execute("Hi")
    with pytest.raises(ConnectionError):
        await stream.finish()
    call = observer.of(LLMCall)[0]
    assert (call.result.message.content, call.result.outcome) == ("Half", "error")
    assert stream.result is not None
    assert stream.result.usage == Usage(3, 4)


class Awaited:
    model = "awaited"

    async def call(self, **_: Any) -> LLMResponse:
        return LLMResponse(Message("assistant", "x"))


class Wrong:
    model = "wrong"

    def call(self, **_: Any) -> str:
        return "text"


@pytest.mark.parametrize(("make", "given"), [(Awaited, "coroutine"), (Wrong, "str")])
async def test_a_call_that_is_no_stream_says_what_to_write(make: Callable[[], Any], given: str) -> None:
    with pytest.raises(ProviderProtocolError, match=f"must return an async iterable of stream events, not {given}"):
        await loop(make()).arun("Hi")


async def test_content_in_parts_is_read_as_text() -> None:
    class Parts:
        model = "parts"

        async def call(self, **_: Any) -> AsyncIterator[Any]:
            parts: list[dict[str, Any]] = [
                {"type": "text", "text": "a"},
                {"type": "image"},
                {"type": "text", "text": "b"},
            ]
            yield ContentComplete(LLMResponse(Message("assistant", parts)))

    assert (await loop(Parts()).arun("Hi")).output == "ab"


async def test_a_provider_that_names_no_model_is_recorded_all_the_same(observer: RecordingObserver) -> None:
    class Nameless:
        async def call(self, **_: Any) -> AsyncIterator[StreamEvent]:
            yield ContentDelta("Hello!")

    class Undecided(Nameless):
        model = None

    for provider in (Nameless(), Undecided()):
        assert (await loop(provider).arun("Hi")).output == "Hello!"
    calls = [one.operation for one in observer.of(LLMCall)]
    assert [call.model for call in calls if isinstance(call, LLMCall)] == ["unknown", "unknown"]

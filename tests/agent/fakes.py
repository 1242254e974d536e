"""A provider without any machinery, and tools, for tests of the loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from looopy_otel.agent import AgentLoop, AgentStream, FunctionTools
from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.types import (
    ContentComplete,
    ContentDelta,
    LLMResponse,
    Message,
    MessageLike,
    StreamEvent,
    ThoughtStream,
    ToolCall,
    ToolLike,
)
from looopy_otel.core.usage import Usage

SEED_ANSWER = "The result of 15 × 23 + 47 is 392."  # noqa: RUF001


@dataclass
class Turn:
    """One scripted answer of `FakeProvider`."""

    text: str = ""
    calls: Sequence[tuple[str, Any]] = ()
    thought: str = ""
    usage: Usage | None = None
    cost: Decimal | None = None
    error: BaseException | None = None
    hang: bool = False


@dataclass
class FakeProvider:
    """Answers with `turns` in order; the last one repeats. It announces nothing itself."""

    turns: Sequence[Turn]
    model: str = "fake-model"
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    streaming: asyncio.Event = field(default_factory=asyncio.Event)
    closed: int = 0

    async def call(
        self,
        *,
        messages: Sequence[MessageLike],
        tools: Sequence[ToolLike] | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[StreamEvent]:
        turn = self.turns[min(len(self.requests), len(self.turns) - 1)]
        self.requests.append(
            {
                "messages": [message_to_dict(message) for message in messages],
                "tools": tools,
                "session_id": session_id,
                "metadata": metadata,
            }
        )
        try:
            await asyncio.sleep(0)
            if turn.thought:
                yield ThoughtStream(turn.thought)
            for word in turn.text.split(" ") if turn.text else ():
                yield ContentDelta(word)
            if turn.hang:
                self.streaming.set()
                await asyncio.Event().wait()
            if turn.error is not None:
                raise turn.error
            yield ContentComplete(self._response(turn))
        finally:
            self.closed += 1

    def _response(self, turn: Turn) -> LLMResponse:
        number = len(self.requests)
        calls = tuple(
            ToolCall(f"call_{number}_{index}", name, arguments if isinstance(arguments, str) else json.dumps(arguments))
            for index, (name, arguments) in enumerate(turn.calls)
        )
        return LLMResponse(
            Message("assistant", turn.text or None, calls),
            model=self.model,
            usage=turn.usage,
            cost=turn.cost,
            finish_reason="tool_calls" if calls else "stop",
        )


def calculate(expression: str) -> int:
    """Calculates an arithmetic expression.

    Args:
        expression: Such as ``1 + 2``.
    """
    return {"15 * 23 + 47": 392}.get(expression, 0)


def seed_provider() -> FakeProvider:
    return FakeProvider([Turn(calls=[("calculate", {"expression": "15 * 23 + 47"})]), Turn(SEED_ANSWER)])


def agent(provider: Any, *tools: Any, **options: Any) -> AgentLoop:
    options.setdefault("agent_id", "my-agent")
    return AgentLoop(llm_provider=provider, tool_providers=[FunctionTools(tools)], **options)


def tool_texts(provider: FakeProvider, request: int = -1) -> list[str]:
    return [message["content"] for message in provider.requests[request]["messages"] if message["role"] == "tool"]


async def collect(stream: AgentStream, events: list[Any]) -> None:
    """Appends each event as it comes, so that those before an error are kept."""
    async for event in stream:
        events.append(event)  # noqa: PERF401

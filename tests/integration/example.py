"""The example that the tests trace: an agent with a calculator and a model that is scripted to use it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from dataclasses import replace
from typing import TypeVar

from looopy_otel.providers import RecordedRequest, Reply

T = TypeVar("T")

PROMPT = "Calculate 15 * 23 + 47"
EXPRESSION = "15 * 23 + 47"
ANSWER_TEXT = "The result of 15 \N{MULTIPLICATION SIGN} 23 + 47 is 392."
TOOL_CALL = Reply(
    tool_calls=(("calculate", {"expression": EXPRESSION}),),
    model="gpt-4-0613",
    usage={"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
    cost=0.0068,
)
ANSWER = Reply(
    text=ANSWER_TEXT,
    model="gpt-4-0613",
    usage={"prompt_tokens": 234, "completion_tokens": 21, "total_tokens": 255},
    cost=0.0077,
)


def calculate(expression: str) -> int:
    """Calculates an expression.

    Args:
        expression: Only the example's is known.
    """
    return {EXPRESSION: 392}[expression]


def example_model(request: RecordedRequest) -> Reply:
    """Asks for the tool first; answers once its result is there."""
    return ANSWER if request.setting("messages")[-1]["role"] == "tool" else TOOL_CALL


def example_model_without_cost(request: RecordedRequest) -> Reply:
    """The same model, saying neither its name nor its cost: the proxy knows the first and works out the second."""
    return replace(example_model(request), cost=None, model=None)


async def drained(stream: AsyncIterable[T]) -> list[T]:
    """Everything that a stream yields."""
    return [item async for item in stream]

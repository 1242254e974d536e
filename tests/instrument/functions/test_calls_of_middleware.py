"""What middleware asks a model by itself, as a judge or a fallback: a call of its own, counted once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from looopy_otel import agent_span, wrap
from looopy_otel.agent import Budget, Retry
from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.providers import LiteLLMProvider
from looopy_otel.testing import CapturedSpans, capture_spans
from tests.support.model_server import Answer, ModelServer

MESSAGES: Any = [{"role": "user", "content": "Who is there?"}]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def spans() -> Iterator[CapturedSpans]:
    with capture_spans() as captured:
        yield captured


def client(server: ModelServer, *middleware: Any, retries: int = 0) -> openai.OpenAI:
    plain = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=retries)
    return wrap(plain, middleware=middleware)


def judge(server: ModelServer) -> Any:
    asked = client(server)

    async def judging(operation: LLMCall, call_next: CallNext) -> Any:
        asked.chat.completions.create(model="judge", messages=MESSAGES)
        return await call_next(operation)

    return judging


def models(spans: CapturedSpans) -> list[Any]:
    seen = [dict(span.attributes or {}) for span in spans.spans() if span.name == "llm.call"]
    return sorted((one["gen_ai.request.model"], one.get("gen_ai.usage.input_tokens")) for one in seen)


def test_a_judge_is_a_call_below_the_call(server: ModelServer, spans: CapturedSpans) -> None:
    with agent_span("adviser"):
        client(server, judge(server)).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert spans.outline() == ["agent.execute", "  llm.call", "    llm.call"]
    assert models(spans) == [("gpt-4o", 11), ("judge", 11)]
    assert spans.attributes("agent.execute")["agent.llm_calls"] == 2


def test_a_judge_of_a_provider(server: ModelServer, spans: CapturedSpans) -> None:
    async def main() -> None:
        provider = LiteLLMProvider(base_url=server.url, model="gpt-4o", middleware=[judge(server)])
        await provider.call(messages=MESSAGES)

    asyncio.run(main())
    assert spans.outline() == ["llm.call", "  llm.call"]
    assert models(spans) == [("gpt-4o", 11), ("judge", 11)]


def test_what_a_judge_is_answered_is_no_try_of_the_call(server: ModelServer, spans: CapturedSpans) -> None:
    async def main() -> Any:
        judging = LiteLLMProvider(base_url=server.url, model="judge")

        async def judged(operation: LLMCall, call_next: CallNext) -> Any:
            await judging.call(messages=MESSAGES)
            return await call_next(operation)

        provider = LiteLLMProvider(base_url=server.url, model="gpt-4o", middleware=[Retry(2), judged])
        return await provider.call(messages=MESSAGES)

    assert asyncio.run(main()).usage.prompt_tokens == 11
    assert models(spans) == [("gpt-4o", 11), ("judge", 11)]


def test_what_a_fallback_used_stands_on_its_call_alone(server: ModelServer, spans: CapturedSpans) -> None:
    async def main() -> Any:
        backup = LiteLLMProvider(base_url=server.url, model="backup")

        async def fallback(operation: LLMCall, call_next: CallNext) -> Any:
            try:
                return await call_next(operation)
            except openai.APIError:
                return await backup.call(messages=operation.messages)

        plain = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k", max_retries=0)
        async with wrap(plain, middleware=fallback) as asked:
            return await asked.chat.completions.create(model="down", messages=MESSAGES)

    server.script = [Answer(status=500), Answer(text="I am.")]
    answer = asyncio.run(main())
    assert answer.choices[0].message.content == "I am."
    assert spans.outline() == ["llm.call", "  llm.call"]
    assert models(spans) == [("backup", 11), ("down", None)]


def test_tries_of_the_sdk_hang_under_the_try_of_retry(server: ModelServer, spans: CapturedSpans) -> None:
    server.script = [Answer(status=500)] * 3 + [Answer()]
    client(server, Retry(3, initial_delay=0.01), retries=1).chat.completions.create(model="gpt-4o", messages=MESSAGES)
    once = ["  llm.attempt", "    llm.attempt", "    llm.attempt"]
    assert spans.outline() == ["llm.call", *once, *once]


def test_a_budget_counts_what_a_left_stream_has_told(server: ModelServer) -> None:
    import anthropic

    budget = Budget(max_tokens=5)
    asked = wrap(anthropic.Anthropic(base_url=server.url, api_key="k"), middleware=budget)

    def leave() -> None:
        arguments: Any = {"model": "claude-opus-4-8", "messages": MESSAGES, "max_tokens": 9}
        with asked.messages.create(**arguments, stream=True) as stream:
            next(iter(stream))

    leave()
    with pytest.raises(Exception, match="max_tokens=5, used"):
        leave()


def test_a_budget_counts_an_answer_that_the_sdk_refuses(server: ModelServer) -> None:
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    server.script = Answer(text='{"name": "U', finish="length")
    asked = client(server, Budget(max_tokens=5))
    with pytest.raises(openai.LengthFinishReasonError):
        asked.beta.chat.completions.parse(model="gpt-4o", messages=MESSAGES, response_format=City)
    with pytest.raises(Exception, match="max_tokens=5, used 18"):
        asked.beta.chat.completions.parse(model="gpt-4o", messages=MESSAGES, response_format=City)
    assert len(server.requests) == 1

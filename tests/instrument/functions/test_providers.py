"""Looopy providers, wrapped: recorded once, with middleware, of the same type, in the loop and by themselves."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from looopy_otel.agent import AgentLoop, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.agent.retry import Retry
from looopy_otel.core.errors import AlreadyUsedError
from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.core.types import ContentComplete, ContentDelta, LLMResponse, LLMUsage, Message
from looopy_otel.core.usage import Usage
from looopy_otel.instrument.wrapping import wrap
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedProvider, ScriptedServer
from looopy_otel.testing import capture_spans

MESSAGES = [{"role": "user", "content": "Hello!"}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
HI = Reply(text="Hi!", usage=USAGE)


class Plain:
    """A provider that only streams."""

    def __init__(self, *failures: Exception, model: str = "gpt-4o") -> None:
        self.model = model
        self.failures = list(failures)
        self.closed = 0

    async def call(self, *, messages: Any, tools: Any = None, session_id: Any = None, metadata: Any = None) -> Any:
        try:
            if self.failures:
                raise self.failures.pop(0)
            yield ContentDelta("H")
            yield ContentDelta("i!")
            yield LLMUsage(Usage(3, 2))
        finally:
            self.closed += 1


class _Both:
    def __await__(self) -> Any:
        async def answer() -> LLMResponse:
            return LLMResponse(message=Message("assistant", "Hi!"), usage=Usage(3, 2), usage_source="reported")

        return answer().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield ContentDelta("Hi!")
        yield ContentComplete(LLMResponse(message=Message("assistant", "Hi!"), usage=Usage(3, 2)))


class Both:
    """A provider whose calls can be awaited and streamed."""

    model = "gpt-4o"

    def call(self, **arguments: Any) -> Any:
        return _Both()


class Announcing(Plain):
    """A provider of a user's own that says it announces its calls."""

    announces_calls = True


async def log_texts(operation: LLMCall, call_next: CallNext) -> Any:
    response = await call_next(operation)
    SEEN.append(response.message.content)
    return response


SEEN: list[Any] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


async def streamed(provider: Any) -> list[Any]:
    return [event async for event in provider.call(messages=MESSAGES)]


@pytest.mark.parametrize("make", [Plain, Both, lambda: ScriptedProvider([HI], model="gpt-4o")])
async def test_a_stream_is_one_call(make: Any) -> None:
    with capture_spans() as captured:
        events = await streamed(wrap(make(), middleware=[log_texts], provider_name="mine"))
    assert "".join(event.text for event in events if event.kind == "content-delta") == "Hi!"
    assert captured.outline() == ["llm.call"]
    call = captured.attributes("llm.call")
    assert (call["gen_ai.request.model"], call["gen_ai.provider.name"]) == ("gpt-4o", "mine")
    assert (call["gen_ai.completion"], call["gen_ai.usage.input_tokens"]) == ("Hi!", 3)
    assert call["llm.outcome"] == "completed"
    assert SEEN == ["Hi!"]


@pytest.mark.parametrize("make", [Both, lambda: ScriptedProvider([HI], model="gpt-4o")])
async def test_an_awaited_call_is_one_call(make: Any) -> None:
    with capture_spans() as captured:
        response = await wrap(make(), middleware=[log_texts]).call(messages=MESSAGES)
    assert response.message.content == "Hi!"
    assert captured.outline() == ["llm.call"]
    assert captured.attributes("llm.call")["gen_ai.usage.input_tokens"] == 3
    assert SEEN == ["Hi!"]


def test_sync_forms_stay() -> None:
    with ScriptedServer([HI]) as server, capture_spans() as captured:
        provider = wrap(LiteLLMProvider(base_url=server.url, model="gpt-4o"), middleware=[log_texts])
        assert provider.call_sync(messages=MESSAGES).message.content == "Hi!"
        assert list(provider.stream_sync(messages=MESSAGES))[-1].kind == "content-complete"
    assert captured.outline() == ["llm.call", "llm.call"]
    assert SEEN == ["Hi!", "Hi!"]


def test_the_type_and_the_attributes_are_those_of_the_provider() -> None:
    provider = Plain()
    wrapped = wrap(provider)
    assert isinstance(wrapped, Plain)
    assert type(wrapped).__name__ == "Plain"
    provider.model = "later"
    assert wrapped.model == "later"
    assert type(provider) is Plain
    assert wrap(wrapped) is wrapped


def test_options_of_the_wrapped_one_hold_for_both() -> None:
    provider = LiteLLMProvider(base_url="http://127.0.0.1:1", model="a")
    wrapped = wrap(provider)
    assert isinstance(wrapped, LiteLLMProvider)
    wrapped.update_config(model="b")
    assert provider.model == wrapped.model == "b"


@pytest.mark.parametrize("make", [Plain, Both, lambda: ScriptedProvider([HI])])
def test_in_the_loop_a_call_is_recorded_once(make: Any) -> None:
    with capture_spans() as captured:
        result = agent(wrap(make(), middleware=[log_texts])).run("Hello!")
    assert result.output == "Hi!"
    assert result.usage == Usage(3, 2)
    assert captured.outline() == ["agent.execute", "  agent.iteration", "    llm.call"]
    assert SEEN == ["Hi!"]


def agent(provider: Any) -> AgentLoop:
    return AgentLoop(
        agent_id="a",
        llm_provider=provider,
        tool_providers=[],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
    )


async def test_a_failed_first_step_is_tried_again() -> None:
    provider = Plain(ConnectionError("once"))
    with capture_spans() as captured:
        events = await streamed(wrap(provider, middleware=[Retry(initial_delay=0.001, max_delay=0.002)]))
    assert len(events) == 3
    assert captured.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]


async def test_an_error_passes() -> None:
    error = ValueError("bad")
    with capture_spans() as captured, pytest.raises(ValueError, match="bad") as raised:
        await streamed(wrap(Plain(error)))
    assert raised.value is error
    assert captured.attributes("llm.call")["llm.outcome"] == "error"


@pytest.mark.parametrize("close", [True, False])
async def test_a_stream_that_is_left(close: bool) -> None:
    provider = Plain()
    with capture_spans() as captured:
        call: Any = wrap(provider).call(messages=MESSAGES)
        events = aiter(call)
        await anext(events)
        if close:
            await events.aclose()
        del events, call
        gc.collect()
        for _ in range(5):  # The event loop closes what was dropped.
            await asyncio.sleep(0)
    assert captured.attributes("llm.call")["llm.outcome"] == "abandoned"
    assert provider.closed == 1


async def test_a_call_is_used_once() -> None:
    call = wrap(Both()).call(messages=MESSAGES)
    await call
    with pytest.raises(AlreadyUsedError):
        await call


async def test_a_provider_that_cannot_be_awaited_says_so() -> None:
    with pytest.raises(TypeError, match=r"Plain\.call\(\) cannot be awaited"):
        await wrap(Plain()).call(messages=MESSAGES)


async def test_middleware_answers_by_itself() -> None:
    async def cached(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return LLMResponse(message=Message("assistant", "cached"))

    events = await streamed(wrap(Plain(), middleware=[cached]))
    assert [event.kind for event in events] == ["content-delta", "content-complete"]


async def test_a_provider_that_announces_its_calls_in_its_own_way() -> None:
    with capture_spans() as captured:
        await streamed(wrap(Announcing(), middleware=[log_texts]))
    assert captured.outline() == ["llm.call"]
    assert SEEN == ["Hi!"]

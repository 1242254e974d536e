"""Calls that succeed, plain and streamed, through a real LiteLLM proxy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from looopy_otel.core.types import LLMResponse, StreamEvent
from looopy_otel.providers import LiteLLM, LiteLLMProvider, Reply
from tests.support.anthropic_upstream import TEXT as CLAUDE_TEXT
from tests.support.proxy import LiteLLMProxy, Upstream

pytestmark = pytest.mark.proxy

HELLO = [{"role": "user", "content": "Hello!"}]
USAGE = {"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225}
ANSWER = Reply(text="Hello, how can I help?", usage=USAGE)
WEATHER_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather for a location",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
    },
}
TWO_CALLS = Reply(
    tool_calls=(("get_weather", {"location": "NYC"}), ("get_weather", {"location": "Zürich"})),
    usage=USAGE,
    chunk_size=3,
)


@pytest.fixture(params=["plain", "streamed"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both ways to use a call."""
    return request.param


@pytest.fixture
def provider(proxy: LiteLLMProxy, upstream: Upstream) -> LiteLLMProvider:
    upstream.play(ANSWER)
    return LiteLLM.gpt4(proxy.url, proxy.key)


async def answer_of(provider: LiteLLMProvider, mode: str, **options: Any) -> LLMResponse:
    """The response of one call, used in that way."""
    call = provider.call(messages=options.pop("messages", HELLO), **options)
    if mode == "plain":
        return await call
    return completed([event async for event in call])


def completed(events: Sequence[StreamEvent]) -> LLMResponse:
    """The response that ends a stream."""
    last = events[-1]
    assert last.kind == "content-complete"
    return last.response


async def test_an_answer_comes_with_model_usage_cost_and_id(
    proxy: LiteLLMProxy, provider: LiteLLMProvider, mode: str
) -> None:
    response = await answer_of(provider, mode)
    assert response.message.content == "Hello, how can I help?"
    assert (response.model, response.finish_reason, response.finished) == ("gpt-4", "stop", True)
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (150, 75)
    assert response.usage_source == "reported"
    assert response.cost is not None
    assert (float(response.cost), response.cost_source) == (pytest.approx(0.009), "provider")
    (record,) = proxy.wait_for_records(lambda record: record.call_id == response.request_id)
    assert (record.outcome, record.model_group, record.tokens) == ("success", "gpt-4", (150, 75))
    assert record.cost == pytest.approx(float(response.cost))


async def test_a_stream_yields_deltas_then_usage_then_the_whole(provider: LiteLLMProvider) -> None:
    events = [event async for event in provider.call(messages=HELLO)]
    deltas = [event.text for event in events if event.kind == "content-delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == "Hello, how can I help?"
    assert [event.kind for event in events[len(deltas) :]] == ["llm-usage", "content-complete"]


async def test_a_stream_asks_for_usage(provider: LiteLLMProvider, upstream: Upstream) -> None:
    await answer_of(provider, "streamed")
    assert upstream.requests[0].setting("stream_options") == {"include_usage": True}


async def test_parallel_tool_calls_come_whole(provider: LiteLLMProvider, upstream: Upstream, mode: str) -> None:
    upstream.play(TWO_CALLS)
    response = await answer_of(provider, mode, tools=[WEATHER_TOOL])
    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        ("get_weather", '{"location":"NYC"}'),
        ("get_weather", '{"location":"Zürich"}'),
    ]
    assert len({call.id for call in response.tool_calls}) == 2
    assert (response.finish_reason, response.finished) == ("tool_calls", False)
    assert upstream.requests[0].setting("tools") == [WEATHER_TOOL]


async def test_reasoning_comes_as_thoughts(provider: LiteLLMProvider, upstream: Upstream) -> None:
    upstream.play(Reply(reasoning="First I greet.", text="Hello!", usage=USAGE))
    events = [event async for event in provider.call(messages=HELLO)]
    assert "".join(event.text for event in events if event.kind == "thought-stream") == "First I greet."
    assert completed(events).message.reasoning == "First I greet."


async def test_an_alias_shows_the_model_behind_it(proxy: LiteLLMProxy, upstream: Upstream, mode: str) -> None:
    upstream.play(ANSWER)
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="support-bot")
    response = await answer_of(provider, mode)
    assert response.model == "gpt-4o-mini"
    assert (response.system, response.provider_name) == ("openai", "openai")


async def test_a_model_without_a_price_has_no_cost(proxy: LiteLLMProxy, upstream: Upstream, mode: str) -> None:
    upstream.play(ANSWER)
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="in-house")
    response = await answer_of(provider, mode)
    assert (response.cost, response.cost_source) == (None, "unknown")
    assert response.usage is not None


async def test_a_claude_model_of_the_example_configuration(proxy: LiteLLMProxy, mode: str) -> None:
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="claude-3-opus")
    response = await answer_of(provider, mode)
    assert response.message.content == CLAUDE_TEXT
    assert (response.model, response.finish_reason) == ("claude-3-opus-20240229", "stop")
    assert (response.system, response.provider_name) == ("anthropic", "anthropic")
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.cache_read_tokens) == (100, 30)
    assert response.usage.completion_tokens == 20
    assert proxy.claude.requests[-1]["model"] == "claude-3-opus-20240229"


async def test_the_proxys_retries_are_told(proxy: LiteLLMProxy, upstream: Upstream) -> None:
    upstream.play(Reply(status=500, text="not now"), ANSWER)
    response = await LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="retrying").call(messages=HELLO)
    assert response.headers["x-litellm-attempted-retries"] == "1"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_base_url_may_end_in_v1_or_a_slash(
    proxy: LiteLLMProxy, provider: LiteLLMProvider, suffix: str
) -> None:
    response = await LiteLLM.gpt4(proxy.url + suffix, proxy.key).call(messages=HELLO)
    assert response.message.content == "Hello, how can I help?"


async def test_options_reach_the_model(proxy: LiteLLMProxy, upstream: Upstream) -> None:
    upstream.play(ANSWER)
    provider = LiteLLMProvider(
        base_url=proxy.url,
        api_key=proxy.key,
        model="gpt-4",
        temperature=0.1,
        max_tokens=2000,
        top_p=0.9,
        extra_params={"presence_penalty": 0.1},
    )
    await provider.call(messages=HELLO)
    sent = upstream.requests[0]
    assert {name: sent.setting(name) for name in ("temperature", "max_tokens", "top_p", "presence_penalty")} == {
        "temperature": 0.1,
        "max_tokens": 2000,
        "top_p": 0.9,
        "presence_penalty": 0.1,
    }


async def test_the_model_can_be_switched_between_calls(provider: LiteLLMProvider, upstream: Upstream) -> None:
    await provider.call(messages=HELLO)
    provider.update_config(model="gpt-3.5-turbo")
    response = await provider.call(messages=HELLO)
    assert [request.setting("model") for request in upstream.requests] == ["gpt-4", "gpt-3.5-turbo"]
    assert response.model == "gpt-3.5-turbo"


@pytest.mark.parametrize("text", ["Grüße, 東京, 🚀 and \u202e", "x" * 1_000_000], ids=["unicode", "1 MB"])
async def test_any_prompt_arrives_as_it_is(provider: LiteLLMProvider, upstream: Upstream, mode: str, text: str) -> None:
    await answer_of(provider, mode, messages=[{"role": "user", "content": text}])
    assert upstream.requests[0].setting("messages") == [{"role": "user", "content": text}]


def test_sync_code_gets_the_same(provider: LiteLLMProvider) -> None:
    assert provider.call_sync(messages=HELLO).message.content == "Hello, how can I help?"
    assert completed(list(provider.stream_sync(messages=HELLO))).message.content == "Hello, how can I help?"

"""Calls that fail, plain and streamed, through a real LiteLLM proxy: each says what happened and what to do."""

from __future__ import annotations

import socket

import pytest

from looopy_otel.providers import (
    LiteLLM,
    LiteLLMAPIError,
    LiteLLMAuthenticationError,
    LiteLLMConnectionError,
    LiteLLMError,
    LiteLLMProvider,
    LiteLLMRateLimitError,
    LiteLLMStreamError,
    LiteLLMTimeoutError,
    Reply,
)
from tests.integration.example import drained
from tests.support.proxy import LiteLLMProxy, Upstream

pytestmark = pytest.mark.proxy

HELLO = [{"role": "user", "content": "Hello!"}]
LONG_ANSWER = "One word after the other, until the line breaks off."


@pytest.fixture(params=["plain", "streamed"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both ways to use a call."""
    return request.param


@pytest.fixture
def provider(proxy: LiteLLMProxy, upstream: Upstream) -> LiteLLMProvider:
    upstream.play(Reply(text="ok"))
    return LiteLLM.gpt4(proxy.url, proxy.key)


async def failure_of(provider: LiteLLMProvider, mode: str) -> LiteLLMError:
    """What one call raises, used in that way."""
    call = provider.call(messages=HELLO)
    with pytest.raises(LiteLLMError) as raised:
        await (call if mode == "plain" else drained(call))
    assert raised.value.hint
    return raised.value


async def test_a_wrong_key_is_an_authentication_error(proxy: LiteLLMProxy, upstream: Upstream, mode: str) -> None:
    error = await failure_of(LiteLLM.gpt4(proxy.url, "sk-wrong"), mode)
    assert isinstance(error, LiteLLMAuthenticationError)
    assert (error.status, error.type) == (400, "no_db_connection")
    assert "LITELLM_API_KEY" in error.hint
    assert "sk-wrong" not in str(error)
    assert upstream.requests == []


async def test_no_key_at_all(proxy: LiteLLMProxy, upstream: Upstream, mode: str) -> None:
    error = await failure_of(LiteLLM.gpt4(proxy.url), mode)
    assert isinstance(error, LiteLLMAPIError)
    # A proxy that has no database client installed stumbles over its own error and says 500.
    assert error.status in (401, 500)
    assert upstream.requests == []


async def test_a_401_of_the_model_behind_the_proxy(provider: LiteLLMProvider, upstream: Upstream, mode: str) -> None:
    upstream.play(Reply(status=401, text="Incorrect API key provided"))
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMAuthenticationError)
    assert str(error).startswith("LiteLLM API error: 401 Unauthorized")
    assert "Incorrect API key provided" in str(error)


async def test_a_rate_limit_says_when_to_come_back(provider: LiteLLMProvider, upstream: Upstream, mode: str) -> None:
    upstream.play(Reply(status=429, text="slow down", headers={"retry-after": "7"}))
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMRateLimitError)
    assert (error.status, error.retry_after) == (429, 7.0)
    assert str(error).startswith("LiteLLM API error: 429 Too Many Requests")


async def test_a_failing_model(provider: LiteLLMProvider, upstream: Upstream, mode: str) -> None:
    upstream.play(Reply(status=500, text="the model fell over"))
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMAPIError)
    assert error.status == 500
    assert "the model fell over" in str(error)


async def test_an_unknown_model(proxy: LiteLLMProxy, upstream: Upstream, mode: str) -> None:
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="no-such-model")
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMAPIError)
    assert error.status == 400
    assert "no-such-model" in str(error)
    assert upstream.requests == []


async def test_a_slow_model_runs_into_the_timeout(proxy: LiteLLMProxy, upstream: Upstream, mode: str) -> None:
    upstream.play(Reply(text="too late", delay=30.0))
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="gpt-4", timeout=0.5)
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMTimeoutError)
    assert "LiteLLM request timeout after 0.5s" in str(error)


@pytest.mark.parametrize("reply", [Reply(text="ok", drip=0.2), Reply(text="ok", drip=0.2, reasoning="hm")])
async def test_a_dripping_model_does_not_evade_the_timeout(
    proxy: LiteLLMProxy, upstream: Upstream, mode: str, reply: Reply
) -> None:
    upstream.play(reply)
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="gpt-4", timeout=1.0)
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMTimeoutError)


async def test_a_stream_that_stalls_in_the_middle_times_out(proxy: LiteLLMProxy, upstream: Upstream) -> None:
    upstream.play(Reply(text=LONG_ANSWER, chunk_size=40, chunk_delay=30.0))
    provider = LiteLLMProvider(base_url=proxy.url, api_key=proxy.key, model="gpt-4", timeout=1.0)
    error = await failure_of(provider, "streamed")
    assert isinstance(error, LiteLLMTimeoutError)


async def test_a_stream_that_is_cut(provider: LiteLLMProvider, upstream: Upstream) -> None:
    upstream.play(Reply(text=LONG_ANSWER, cut_after=3, chunk_delay=0.2))
    error = await failure_of(provider, "streamed")
    assert isinstance(error, LiteLLMStreamError)


async def test_an_error_in_the_middle_of_a_stream(provider: LiteLLMProvider, upstream: Upstream) -> None:
    upstream.play(Reply(text=LONG_ANSWER, stream_error="the model is overloaded"))
    error = await failure_of(provider, "streamed")
    assert isinstance(error, LiteLLMStreamError)
    assert "the model is overloaded" in str(error)


async def test_what_came_before_a_cut_was_yielded(provider: LiteLLMProvider, upstream: Upstream) -> None:
    upstream.play(Reply(text=LONG_ANSWER, cut_after=4, chunk_delay=0.2))
    text: list[str] = []

    async def consume() -> None:
        async for event in provider.call(messages=HELLO):
            assert event.kind == "content-delta"
            text.append(event.text)

    with pytest.raises(LiteLLMStreamError):
        await consume()
    assert text
    assert LONG_ANSWER.startswith("".join(text))


async def test_a_plain_reply_that_is_cut(provider: LiteLLMProvider, upstream: Upstream) -> None:
    upstream.play(Reply(text=LONG_ANSWER, cut_after=1))
    error = await failure_of(provider, "plain")
    assert isinstance(error, LiteLLMAPIError)
    assert error.status >= 500


async def test_an_error_page_instead_of_json(provider: LiteLLMProvider, upstream: Upstream, mode: str) -> None:
    page = b"<html><body>502 Bad Gateway</body></html>"
    upstream.play(Reply(status=502, body=page, headers={"content-type": "text/html"}))
    error = await failure_of(provider, mode)
    assert isinstance(error, LiteLLMAPIError)
    assert error.status == 502


async def test_nothing_listens(mode: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        error = await failure_of(LiteLLM.gpt4(f"http://127.0.0.1:{probe.getsockname()[1]}", "sk-1"), mode)
    assert isinstance(error, LiteLLMConnectionError)
    assert "LiteLLM API error: ECONNREFUSED" in str(error)
    assert "litellm[proxy]" in error.hint


async def test_a_provider_works_on_after_each_failure(provider: LiteLLMProvider, upstream: Upstream) -> None:
    for broken in (Reply(status=429), Reply(text=LONG_ANSWER, cut_after=2), Reply(status=500)):
        upstream.play(broken)
        await failure_of(provider, "streamed")
        upstream.play(Reply(text="ok"))
        assert (await provider.call(messages=HELLO)).message.content == "ok"


async def test_a_stream_left_early_closes_its_connection(proxy: LiteLLMProxy, upstream: Upstream) -> None:
    upstream.play(Reply(text=LONG_ANSWER, chunk_size=4, chunk_delay=0.2))
    before = upstream.disconnects
    stream = aiter(LiteLLM.gpt4(proxy.url, proxy.key).call(messages=HELLO))
    assert (await anext(stream)).kind == "content-delta"
    await stream.aclose()
    assert upstream.wait_for_disconnects(before + 1)

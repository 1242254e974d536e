"""Trying again: which failures, how often, and one `llm.call` with its tries as children."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from looopy_otel.agent import AgentLoop, Budget, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.agent.errors import BudgetExceededError
from looopy_otel.agent.retry import Retry, is_retryable, retry_after
from looopy_otel.core.errors import ConfigurationError, MissingExtraError
from looopy_otel.core.operation import CallNext, LLMCall, ToolRun
from looopy_otel.core.types import ContentDelta, LLMResponse, Message
from looopy_otel.core.usage import Usage
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedProvider, ScriptedServer
from looopy_otel.providers.errors import LiteLLMAPIError, LiteLLMAuthenticationError, LiteLLMRateLimitError
from looopy_otel.testing import CapturedSpans, capture_spans

MESSAGES = [{"role": "user", "content": "Hello!"}]
OPERATION = LLMCall(messages=MESSAGES, model="m")
BUSY = Reply(status=503)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def quick(**options: Any) -> Retry:
    return Retry(initial_delay=0.001, max_delay=0.002, **options)


def answer() -> LLMResponse:
    return LLMResponse(message=Message("assistant", "Hi!"))


class Failing:
    """A call that fails with the given errors first."""

    def __init__(self, *errors: BaseException) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def __call__(self, operation: Any) -> LLMResponse:
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return answer()


class StatusError(Exception):
    """An SDK's error of a status."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(str(status))
        self.status_code = status
        self.response = httpx.Response(status, headers=headers)


@pytest.mark.parametrize(
    "error",
    [
        LiteLLMRateLimitError("slow down", status=429),
        LiteLLMAPIError("overloaded", status=503),
        StatusError(408),
        StatusError(409),
        StatusError(429),
        StatusError(500),
        ConnectionResetError(),
        TimeoutError(),
        httpx.ConnectError("no"),
        httpx.ReadTimeout("slow"),
        type("APIConnectionError", (Exception,), {})(),
    ],
    ids=repr,
)
async def test_what_another_try_may_help(error: Exception) -> None:
    call = Failing(error)
    assert (await quick()(OPERATION, call)).message.content == "Hi!"
    assert call.calls == 2


@pytest.mark.parametrize(
    "error",
    [
        LiteLLMAuthenticationError("who are you", status=401),
        StatusError(400),
        StatusError(404),
        ValueError("bad"),
        BudgetExceededError("spent", limit="max_llm_calls", allowed=None, used=None),  # type: ignore[arg-type]
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        GeneratorExit(),
    ],
    ids=repr,
)
async def test_what_no_other_try_helps(error: BaseException) -> None:
    call = Failing(error)
    with pytest.raises(type(error)) as raised:
        await quick()(OPERATION, call)
    assert raised.value is error
    assert call.calls == 1


async def test_the_last_error_is_raised_as_it_is() -> None:
    errors = [StatusError(500), StatusError(502), StatusError(503)]
    call = Failing(*errors)
    with pytest.raises(StatusError) as raised:
        await quick(attempts=3)(OPERATION, call)
    assert raised.value is errors[-1]
    assert call.calls == 3


def is_key_error(error: BaseException) -> bool:
    return isinstance(error, KeyError)


@pytest.mark.parametrize("retry_on", [LookupError, [LookupError], is_key_error])
async def test_what_to_try_again_after_can_be_said(retry_on: Any) -> None:
    call = Failing(KeyError("x"))
    await quick(retry_on=retry_on)(OPERATION, call)
    assert call.calls == 2
    refused = Failing(StatusError(500))
    with pytest.raises(StatusError):
        await quick(retry_on=retry_on)(OPERATION, refused)


async def test_other_operations_pass() -> None:
    call = Failing(StatusError(500))
    with pytest.raises(StatusError):
        await quick()(ToolRun(name="t", call_id="1", arguments={}), call)
    assert call.calls == 1


async def test_no_further_try_after_a_delta_reached_the_user() -> None:
    calls: list[int] = []

    async def call(operation: LLMCall) -> LLMResponse:
        calls.append(1)
        operation.emit(ContentDelta("Hel"))
        raise StatusError(500)

    with pytest.raises(StatusError):
        await quick()(OPERATION, call)
    assert len(calls) == 1


async def test_the_endpoint_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("looopy_otel.agent.retry.asyncio.sleep", sleep)
    errors = [LiteLLMRateLimitError("1", status=429, retry_after=7.0), StatusError(429, {"Retry-After": "3"})]
    await Retry(attempts=3, initial_delay=0.001)(OPERATION, Failing(*errors))
    assert waits == [7.0, 3.0]


async def test_nobody_waits_for_an_hour() -> None:
    call = Failing(StatusError(429, {"retry-after": "3600"}))
    with pytest.raises(StatusError):
        await quick()(OPERATION, call)
    assert call.calls == 1


async def test_the_delay_doubles_up_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("looopy_otel.agent.retry.asyncio.sleep", sleep)
    await Retry(attempts=6, initial_delay=1.0, max_delay=5.0)(OPERATION, Failing(*(StatusError(500) for _ in range(5))))
    for wait, least, most in zip(waits, (1, 2, 4, 5, 5), (1.25, 2.25, 4.25, 5, 5), strict=True):
        assert least <= wait <= most


def test_headers_that_say_when() -> None:
    assert retry_after(StatusError(429, {"retry-after-ms": "250"})) == 0.25
    assert retry_after(StatusError(429, {"Retry-After": "2"})) == 2.0
    date = email.utils.formatdate(time.time() + 30)
    assert 25 < (retry_after(StatusError(429, {"retry-after": date})) or 0) <= 30
    for nonsense in ("soon", "-1", "nan", ""):
        assert retry_after(StatusError(429, {"retry-after": nonsense})) is None
    assert retry_after(ValueError()) is None


def test_what_an_error_says_of_itself_wins() -> None:
    error = StatusError(500)
    error.retryable = False  # type: ignore[attr-defined]
    assert not is_retryable(error)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"initial_delay": -1}, {"max_delay": -1}])
def test_wrong_numbers_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Retry(**wrong)  # type: ignore[arg-type]


def test_without_tenacity_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tenacity", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'looopy-otel\[retry\]'"):
        Retry()


# Spans.


def agent(provider: Any, *middleware: Any) -> AgentLoop:
    return AgentLoop(
        agent_id="a",
        llm_provider=provider,
        tool_providers=[],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
        middleware=middleware,
    )


def attempts(captured: CapturedSpans) -> list[tuple[Any, Any]]:
    spans = [span for span in captured.spans() if span.name == "llm.attempt"]
    return [
        ((span.attributes or {}).get("llm.attempt.number"), (span.attributes or {}).get("error.type")) for span in spans
    ]


TREE = ["agent.execute", "  agent.iteration", "    llm.call", "      llm.attempt", "      llm.attempt"]


def test_in_a_loop_the_tries_are_one_call() -> None:
    with capture_spans() as captured:
        provider = ScriptedProvider([BUSY, Reply(text="Hi!", usage=USAGE)], model="gpt-4o")
        result = agent(provider, quick()).run("Hello!")
    assert result.output == "Hi!"
    assert captured.outline() == TREE
    call = captured.attributes("llm.call")
    assert call["gen_ai.usage.input_tokens"] == 3
    assert (call["gen_ai.request.model"], call["gen_ai.provider.name"]) == ("gpt-4o", "openai")
    assert call["llm.outcome"] == "completed"
    assert "error.type" not in call
    assert captured.attributes("agent.execute")["agent.llm_calls"] == result.llm_calls == 2
    assert attempts(captured) == [(1, "503"), (2, None)]


def test_in_a_loop_over_http() -> None:
    with ScriptedServer([BUSY, Reply(text="Hi!", usage=USAGE)]) as server, capture_spans() as captured:
        agent(LiteLLMProvider(base_url=server.url, model="gpt-4o"), quick()).run("Hello!")
    assert captured.outline() == TREE
    assert captured.attributes("llm.call")["server.port"]
    assert len(server.requests) == 2


async def test_in_a_provider_the_tries_are_inside_its_call() -> None:
    with capture_spans() as captured:
        provider = ScriptedProvider([BUSY, Reply(text="Hi!", usage=USAGE)], middleware=[quick()])
        await provider.call(messages=MESSAGES)
    assert captured.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]
    assert captured.attributes("llm.call")["gen_ai.usage.input_tokens"] == 3


async def test_in_a_provider_whose_call_is_streamed() -> None:
    with capture_spans() as captured:
        provider = ScriptedProvider([BUSY, Reply(text="Hi!", usage=USAGE)], middleware=[quick()])
        events = [event async for event in provider.call(messages=MESSAGES)]
    assert events[-1].kind == "content-complete"
    assert captured.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]


def test_in_a_loop_and_a_provider_that_does_not_announce_its_calls() -> None:
    class Plain:
        model = "plain"
        tries = 0

        async def call(self, **arguments: Any) -> AsyncIterator[ContentDelta]:
            self.tries += 1
            if self.tries == 1:
                raise ConnectionError("no")
            yield ContentDelta("Hi!")

    with capture_spans() as captured:
        result = agent(Plain(), quick()).run("Hello!")
    assert result.output == "Hi!"
    assert captured.outline() == TREE


def test_a_call_that_fails_for_good_is_one_failed_call() -> None:
    with capture_spans() as captured:
        with pytest.raises(LiteLLMAPIError):
            agent(ScriptedProvider([BUSY]), quick(attempts=2)).run("Hello!")
    assert captured.outline() == TREE
    call = captured.attributes("llm.call")
    assert (call["llm.outcome"], call["error.type"]) == ("error", "503")
    assert attempts(captured) == [(1, "503"), (2, "503")]


def test_a_budget_counts_every_try() -> None:
    with pytest.raises(LiteLLMAPIError):
        agent(ScriptedProvider([BUSY]), quick(attempts=2)).run("Hello!")
    result = agent(ScriptedProvider([BUSY, BUSY, Reply(text="Hi!")]), Budget(max_llm_calls=2), quick()).run("Hello!")
    assert result.outcome == "budget_exceeded"


async def check(operation: Any, call_next: CallNext) -> Any:
    response = await call_next(operation)
    if response.message.content == "bad":
        raise LookupError("bad")
    return response


async def test_a_refused_answer_is_tried_again_and_its_tokens_count() -> None:
    with capture_spans() as captured:
        replies = [Reply(text="bad", usage=USAGE), Reply(text="good", usage=USAGE)]
        provider = ScriptedProvider(replies, middleware=[quick(retry_on=LookupError), check])
        response = await provider.call(messages=MESSAGES)
    assert (response.message.content, response.usage) == ("good", Usage(6, 4))
    assert captured.attributes("llm.call")["gen_ai.usage.input_tokens"] == 6
    assert captured.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]


async def test_the_tokens_of_refused_answers_count_though_none_was_good() -> None:
    with capture_spans() as captured:
        provider = ScriptedProvider(
            [Reply(text="bad", usage=USAGE)], middleware=[quick(attempts=2, retry_on=LookupError), check]
        )
        with pytest.raises(LookupError):
            await provider.call(messages=MESSAGES)
    call = captured.attributes("llm.call")
    assert (call["gen_ai.usage.input_tokens"], call["llm.outcome"]) == (6, "error")


def test_untraced_it_works_as_well() -> None:
    assert agent(ScriptedProvider([BUSY, Reply(text="Hi!")]), quick()).run("Hello!").output == "Hi!"

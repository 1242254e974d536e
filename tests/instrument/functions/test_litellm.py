"""LiteLLM's SDK: its functions wrapped, and all of them instrumented, against a model server on loopback."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from tests.support.require import require_packages

require_packages("litellm")

sdk: Any = import_module("litellm")

from looopy_otel.agent.retry import Retry  # noqa: E402
from looopy_otel.core.operation import CallNext, LLMCall  # noqa: E402
from looopy_otel.core.types import LLMResponse, Message  # noqa: E402
from looopy_otel.instrument.litellm import instrument_litellm  # noqa: E402
from looopy_otel.instrument.patching import uninstrument  # noqa: E402
from looopy_otel.instrument.wrapping import wrap  # noqa: E402
from looopy_otel.testing import capture_spans  # noqa: E402
from tests.support.model_server import Answer, ModelServer  # noqa: E402

pytestmark = [
    # LiteLLM's own: its use of pydantic, and the logging that it leaves behind when an event loop ends.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Item .* on TypedDict class:UserWarning"),
    pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MESSAGES = [{"role": "user", "content": "Hello!"}]
ANSWER = Answer(text="Hello you.", usage=(11, 7))
WAYS = pytest.mark.parametrize("way", ["sync", "async"])
STREAMED = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(ANSWER) as running:
        yield running


def arguments(server: ModelServer, **more: Any) -> dict[str, Any]:
    return {
        "model": "openai/gpt-4o-mini",
        "messages": MESSAGES,
        "api_base": f"{server.url}/v1",
        "api_key": "k",
        "max_retries": 0,
        **more,
    }


def functions(way: str, *, wrapped: bool = True, **options: Any) -> Any:
    function = sdk.completion if way == "sync" else sdk.acompletion
    return wrap(function, **options) if wrapped else function


def complete(function: Any, stream: bool, take: int | None = None, **kwargs: Any) -> Any:
    """The answer, or the list of its chunks, of a sync or async function."""
    kwargs = {**kwargs, "stream": True} if stream else kwargs
    if not inspect.iscoroutinefunction(function):
        result = function(**kwargs)
        return [chunk for _, chunk in zip(range(take or 10_000), result, strict=False)] if stream else result

    async def work() -> Any:
        result = await function(**kwargs)
        if not stream:
            return result
        chunks: list[Any] = []
        async for chunk in result:
            chunks.append(chunk)
            if len(chunks) == take:
                break
        return chunks

    return asyncio.run(work())


def text(result: Any) -> str:
    if isinstance(result, list):
        chunks: list[Any] = result  # pyright: ignore[reportUnknownVariableType]
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    return result.choices[0].message.content


@WAYS
@STREAMED
def test_one_call(server: ModelServer, way: str, stream: bool) -> None:
    with capture_spans() as captured:
        result = complete(functions(way), stream, **arguments(server, temperature=0.5))
    assert text(result) == "Hello you."
    assert captured.outline() == ["llm.call"]
    call = captured.attributes("llm.call")
    assert (call["gen_ai.request.model"], call["gen_ai.provider.name"]) == ("openai/gpt-4o-mini", "openai")
    assert (call["gen_ai.usage.input_tokens"], call["gen_ai.usage.output_tokens"]) == (11, 7)
    assert (call["llm.usage.source"], call["llm.outcome"], call["llm.finish_reason"]) == (
        "reported",
        "completed",
        "stop",
    )
    assert (call["gen_ai.completion"], call["gen_ai.request.temperature"]) == ("Hello you.", 0.5)
    assert (call["server.address"], call["server.port"]) == ("127.0.0.1", server.port)
    assert call.get("gen_ai.request.stream", False) is stream
    assert ("gen_ai.response.time_to_first_chunk" in call) is stream
    trace_id = format(captured.spans()[0].context.trace_id, "032x")  # type: ignore[union-attr]
    assert trace_id in server.last.headers["traceparent"]


@WAYS
def test_the_cost_that_litellm_knows(way: str) -> None:
    with capture_spans() as captured:
        complete(functions(way), False, model="gpt-4o-mini", messages=MESSAGES, mock_response="Hi!")
    call = captured.attributes("llm.call")
    assert call["llm.cost.source"] == "provider"
    assert call["gen_ai.usage.cost"] > 0


@WAYS
def test_the_extra_chunk_is_hidden_from_who_did_not_ask(server: ModelServer, way: str) -> None:
    with capture_spans():
        mine = complete(functions(way), True, **arguments(server))
        asked = complete(functions(way), True, **arguments(server, stream_options={"include_usage": True}))
    plain = complete(functions(way, wrapped=False), True, **arguments(server))
    assert len(mine) == len(plain)
    assert not any(getattr(chunk, "usage", None) for chunk in mine)
    assert getattr(asked[-1], "usage", None)


@WAYS
@STREAMED
def test_untraced_the_same_comes_back(server: ModelServer, way: str, stream: bool) -> None:
    assert text(complete(functions(way), stream, **arguments(server))) == "Hello you."
    assert "traceparent" not in server.last.headers


@WAYS
@STREAMED
def test_an_error_passes_unchanged(server: ModelServer, way: str, stream: bool) -> None:
    server.script = Answer(status=401, text="who are you")
    with capture_spans() as captured, pytest.raises(sdk.AuthenticationError):
        complete(functions(way), stream, **arguments(server))
    call = captured.attributes("llm.call")
    assert (call["error.type"], call["llm.outcome"]) == ("401", "error")


@WAYS
def test_a_stream_that_is_left(server: ModelServer, way: str) -> None:
    with capture_spans() as captured:
        complete(functions(way), True, take=2, **arguments(server))
        gc.collect()
    call = captured.attributes("llm.call")
    assert call["llm.outcome"] == "abandoned"
    assert "Hello you.".startswith(call["gen_ai.completion"])


def test_a_stream_keeps_its_type_and_attributes(server: ModelServer) -> None:
    with capture_spans():
        stream = wrap(sdk.completion)(**arguments(server, stream=True))
        assert isinstance(stream, sdk.CustomStreamWrapper)
        assert stream.model == "gpt-4o-mini"
        stream.model = "other"
        assert stream.model == "other"
        assert iter(stream) is stream
        assert len(list(stream)) > 1


@WAYS
@STREAMED
def test_retries_are_attempts_of_one_call(server: ModelServer, way: str, stream: bool) -> None:
    server.script = [Answer(status=503, text="busy"), ANSWER]
    retry = Retry(initial_delay=0.001, max_delay=0.002)
    with capture_spans() as captured:
        assert text(complete(functions(way, middleware=[retry]), stream, **arguments(server))) == "Hello you."
    assert captured.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]
    assert len(server.requests) == 2


@WAYS
@STREAMED
def test_middleware_answers_by_itself(server: ModelServer, way: str, stream: bool) -> None:
    async def cached(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        return LLMResponse(message=Message("assistant", "cached"), finish_reason="stop")

    with capture_spans() as captured:
        result = complete(functions(way, middleware=[cached]), stream, **arguments(server))
    assert text(result) == "cached"
    assert not server.requests
    assert captured.attributes("llm.call")["gen_ai.completion"] == "cached"
    assert stream or isinstance(result, sdk.ModelResponse)


@WAYS
@STREAMED
def test_middleware_changes_the_request(server: ModelServer, way: str, stream: bool) -> None:
    async def change(operation: LLMCall, call_next: CallNext) -> Any:
        from dataclasses import replace

        return await call_next(replace(operation, parameters={**operation.parameters, "temperature": 0.1}))

    complete(functions(way, middleware=[change]), stream, **arguments(server, temperature=0.9))
    assert server.last.json["temperature"] == 0.1


def test_embeddings(server: ModelServer) -> None:
    asked = {"model": "openai/text-embedding-3-small", "input": ["a", "b"], "api_base": f"{server.url}/v1"}
    with capture_spans() as captured:
        answer = wrap(sdk.embedding)(**asked, api_key="k")
        again = asyncio.run(wrap(sdk.aembedding)(**asked, api_key="k"))
    assert len(answer.data) == len(again.data) == 2
    for span in captured.spans():
        attributes = dict(span.attributes or {})
        assert attributes["gen_ai.operation.name"] == "embeddings"
        assert attributes["gen_ai.usage.input_tokens"] == 11
        assert '"dimensions"' in str(attributes["langfuse.observation.output"])


def test_responses(server: ModelServer) -> None:
    pytest.importorskip("mcp", reason="LiteLLM asks for it from 1.100 on")
    with capture_spans() as captured:
        wrap(sdk.responses)(model="openai/gpt-4o-mini", input="Hello!", api_base=f"{server.url}/v1", api_key="k")
    assert captured.outline() == ["llm.call"]
    call = captured.attributes("llm.call")
    assert (call["gen_ai.completion"], call["gen_ai.usage.input_tokens"]) == ("Hello you.", 11)


@pytest.fixture
def instrumented() -> Iterator[None]:
    instrument_litellm()
    yield
    uninstrument("litellm")


@WAYS
@STREAMED
@pytest.mark.usefixtures("instrumented")
def test_all_calls_of_the_module(server: ModelServer, way: str, stream: bool) -> None:
    instrument_litellm()
    with capture_spans() as captured:
        assert text(complete(functions(way, wrapped=False), stream, **arguments(server))) == "Hello you."
        assert text(complete(functions(way), stream, **arguments(server))) == "Hello you."
    assert captured.outline() == ["llm.call", "llm.call"]


@WAYS
@pytest.mark.usefixtures("instrumented")
def test_the_router_makes_one_call(server: ModelServer, way: str) -> None:
    kwargs = arguments(server)
    kwargs.pop("messages")
    router = sdk.Router(model_list=[{"model_name": "fast", "litellm_params": kwargs}], num_retries=0)
    with capture_spans() as captured:
        if way == "sync":
            router.completion(model="fast", messages=MESSAGES)
        else:
            asyncio.run(router.acompletion(model="fast", messages=MESSAGES))
    assert captured.outline() == ["llm.call"]


@pytest.mark.usefixtures("instrumented")
def test_instrumenting_again_replaces_the_options(server: ModelServer) -> None:
    instrument_litellm(provider_name="ollama")
    with capture_spans() as spans:
        sdk.completion(**arguments(server))
    seen = spans.attributes("llm.call")
    assert (seen["gen_ai.provider.name"], seen["gen_ai.system"]) == ("ollama", "ollama")


def test_uninstrument_also_ends_it_for_who_has_imported_a_function(server: ModelServer) -> None:
    instrument_litellm()
    completion = sdk.completion
    uninstrument()
    with capture_spans() as spans:
        completion(**arguments(server))
    assert spans.spans() == []


def test_uninstrument_puts_everything_back() -> None:
    before = sdk.completion
    instrument_litellm()
    assert sdk.completion is not before
    uninstrument("litellm")
    assert sdk.completion is before


def test_one_call_though_openai_is_instrumented_too(server: ModelServer) -> None:
    from looopy_otel.instrument.openai import instrument_openai

    instrument_openai()
    try:
        with capture_spans() as captured:
            complete(functions("sync"), False, **arguments(server))
            complete(functions("async"), True, **arguments(server))
    finally:
        uninstrument("openai")
    assert captured.outline() == ["llm.call", "llm.call"]


def test_wrapping_again_adds_nothing() -> None:
    once = wrap(sdk.completion)
    assert wrap(once) is once
    assert wrap(once, middleware=[Retry()]) is not once


@pytest.mark.parametrize(("stream", "source"), [(False, "missing"), (True, "estimated")])
def test_usage_that_the_server_did_not_tell(stream: bool, source: str) -> None:
    with ModelServer(Answer(text="Hello you.", usage=None)) as running, capture_spans() as captured:
        complete(wrap(sdk.completion), stream, **arguments(running))
    call = captured.attributes("llm.call")
    assert call["llm.usage.source"] == source
    assert ("gen_ai.usage.cost" in call) == stream

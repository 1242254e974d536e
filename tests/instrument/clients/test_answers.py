"""Calls that are not streamed: what is recorded of them, and that the caller sees no difference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.core.guard import guard
from looopy_otel.testing import CapturedSpans
from tests.instrument.clients.apis import MESSAGES_API, RESPONSES, Subject, settled
from tests.support.model_server import Answer, ModelServer


async def test_an_answer_is_recorded_and_stays_the_sdks_own(any_api: Subject, spans: CapturedSpans) -> None:
    answer = await any_api.create(any_api.client())
    expected = await any_api.create(any_api.plain_client())
    assert type(answer) is type(expected)
    assert answer == expected
    span, seen = spans.span("llm.call"), spans.attributes("llm.call")
    assert span.kind.name == "CLIENT"
    assert span.status.status_code is StatusCode.UNSET
    assert seen["gen_ai.request.model"] == seen["gen_ai.response.model"] == any_api.api.model
    assert seen["gen_ai.system"] == ("anthropic" if any_api.api is MESSAGES_API else "openai")
    assert seen["server.address"] == "127.0.0.1"
    assert seen["server.port"] == any_api.server.port
    assert seen["gen_ai.usage.input_tokens"] == 11
    assert seen["llm.usage.source"] == "reported"
    assert seen["llm.outcome"] == "completed"
    if any_api.api.embeds:
        assert "one" in seen["langfuse.observation.input"]
        assert "[1.0" not in str(seen)
        assert '"embeddings":2' in seen["langfuse.observation.output"].replace(" ", "")
    else:
        assert "Who is there?" in seen["gen_ai.prompt"]
        assert seen["gen_ai.completion"] == any_api.api.text(answer) == Answer().text
        assert seen["gen_ai.usage.output_tokens"] == 7
        assert seen["llm.finish_reason"] == any_api.api.finish[0]


async def test_the_request_is_what_it_would_have_been(any_api: Subject, spans: CapturedSpans) -> None:
    await any_api.create(any_api.plain_client())
    await any_api.create(any_api.client())
    plain, recorded = any_api.server.requests
    assert (recorded.path, recorded.json) == (plain.path, plain.json)
    assert set(recorded.headers) - set(plain.headers) == {"traceparent"}


async def test_tool_calls_reasoning_and_parts_of_the_usage(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(
        text="", tool_calls=[("weather", {"city": "Ulm"}), ("time", {})], reasoning="Let me see.", cached=5
    )
    await talking.create(talking.client())
    seen = spans.attributes("llm.call")
    assert "weather" in seen["gen_ai.completion"]
    assert "Ulm" in seen["gen_ai.completion"]
    assert "Let me see." in seen["gen_ai.completion"]
    assert seen["llm.finish_reason"] == talking.api.finish[1]
    assert seen["gen_ai.usage.input_tokens"] == 11
    assert seen["gen_ai.usage.cache_read.input_tokens"] == 5


async def test_usage_that_nobody_told_is_missing(talking: Subject, spans: CapturedSpans) -> None:
    if talking.api is MESSAGES_API:
        pytest.skip("Anthropic always tells it")
    talking.server.script = Answer(usage=None)
    await talking.create(talking.client())
    seen = spans.attributes("llm.call")
    assert seen["llm.usage.source"] == "missing"
    assert "gen_ai.usage.input_tokens" not in seen


@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_an_error_status_passes_unchanged(any_api: Subject, spans: CapturedSpans, status: int) -> None:
    any_api.server.script = Answer(status=status, text="no such luck")
    with pytest.raises(any_api.api.sdk.APIStatusError) as raised:
        await any_api.create(any_api.client())
    with pytest.raises(any_api.api.sdk.APIStatusError) as expected:
        await any_api.create(any_api.plain_client())
    assert type(raised.value) is type(expected.value)
    assert raised.value.status_code == status
    span = spans.span("llm.call")
    assert span.attributes is not None
    assert span.attributes["error.type"] == str(status)
    assert span.attributes["llm.outcome"] == "error"
    assert span.status.status_code is StatusCode.ERROR
    assert "no such luck" in str(span.status.description)


async def test_a_broken_connection(any_api: Subject, spans: CapturedSpans) -> None:
    any_api.server.script = Answer(cut_after=0)
    with pytest.raises(any_api.api.sdk.APIConnectionError):
        await any_api.create(any_api.client())
    assert spans.attributes("llm.call")["error.type"] == "APIConnectionError"


async def test_a_timeout(any_api: Subject, spans: CapturedSpans) -> None:
    any_api.server.script = Answer(stall_before=0)
    with pytest.raises(any_api.api.sdk.APITimeoutError):
        await any_api.create(any_api.client(), timeout=0.1)
    assert spans.attributes("llm.call")["error.type"] == "APITimeoutError"


async def test_retries_of_the_sdk_are_attempts(any_api: Subject, spans: CapturedSpans) -> None:
    soon = {"retry-after-ms": "30"}
    any_api.server.script = [Answer(status=429, headers=soon), Answer(status=503, headers=soon), Answer()]
    await any_api.create(any_api.client(any_api.plain_client(max_retries=3)))
    assert spans.outline() == ["llm.call", "  llm.attempt", "  llm.attempt", "  llm.attempt"]
    call, *attempts = spans.spans()
    told: list[dict[str, Any]] = [dict(attempt.attributes or {}) for attempt in attempts]
    assert [attempt["llm.attempt.number"] for attempt in told] == [1, 2, 3]
    assert [attempt.get("error.type") for attempt in told] == ["429", "503", None]
    assert [attempt.get("llm.attempt.delay", 0.0) for attempt in told] == [0.0, 0.03, 0.03]
    assert call.status.status_code is StatusCode.UNSET
    bounds = [(attempt.start_time or 0, attempt.end_time or 0) for attempt in (*attempts, call)]
    assert all(bounds[-1][0] <= start <= end <= bounds[-1][1] for start, end in bounds)
    assert bounds[0][1] <= bounds[1][0] <= bounds[1][1] <= bounds[2][0]


async def test_retries_after_broken_connections_that_fail_in_the_end(any_api: Subject, spans: CapturedSpans) -> None:
    any_api.server.script = Answer(cut_after=0)
    with pytest.raises(any_api.api.sdk.APIConnectionError):
        await any_api.create(any_api.client(any_api.plain_client(max_retries=1)))
    assert spans.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]
    assert all((span.attributes or {})["error.type"] for span in spans.spans())


async def test_a_raw_response(any_api: Subject, spans: CapturedSpans) -> None:
    raw = await any_api.raw(any_api.client())
    assert raw.headers["x-request-id"] == "req_1"
    assert any_api.api.text(await settled(raw.parse())) == any_api.api.text(
        await any_api.create(any_api.plain_client())
    )
    seen = spans.attributes("llm.call")
    assert seen["gen_ai.usage.input_tokens"] == 11
    assert seen["llm.outcome"] == "completed"


@pytest.mark.parametrize("form", ["parse", "json", "read", "text"])
async def test_a_streaming_response_that_is_read(any_api: Subject, spans: CapturedSpans, form: str) -> None:
    async with any_api.streaming(any_api.client()) as response:
        assert spans.spans() == []
        assert await settled(getattr(response, form)())
    seen = spans.attributes("llm.call")
    assert seen["gen_ai.usage.input_tokens"] == 11
    assert seen["llm.outcome"] == "completed"


async def test_a_streaming_response_whose_lines_are_read(any_api: Subject, spans: CapturedSpans) -> None:
    async with any_api.streaming(any_api.client()) as response:
        lines = response.iter_lines()
        body = [line async for line in lines] if any_api.asynchronous else list(lines)
    assert body
    seen = spans.attributes("llm.call")
    assert (seen["llm.outcome"], seen["llm.usage.source"]) == ("completed", "missing")


async def test_a_streaming_response_that_nobody_reads(any_api: Subject, spans: CapturedSpans) -> None:
    async with any_api.streaming(any_api.client()) as response:
        assert response.status_code == 200
    assert spans.attributes("llm.call")["llm.outcome"] == "abandoned"


async def test_what_a_proxy_says_in_its_headers(any_api: Subject, spans: CapturedSpans) -> None:
    any_api.server.script = Answer(
        headers={"x-litellm-call-id": "call-7", "x-litellm-response-cost": "0.25", "x-litellm-attempted-retries": "2"}
    )
    await any_api.create(any_api.client())
    seen = spans.attributes("llm.call")
    assert seen["gen_ai.usage.cost"] == 0.25
    assert seen["llm.cost.source"] == "provider"
    assert "call-7" in seen.values()
    assert seen["llm.response.header.x-litellm-attempted-retries"] in (2, "2")


@pytest.mark.parametrize("body", [b"[1, 2]", b'"text"', b"{}", b'{"choices": 5, "output": 7, "data": 1, "content": 2}'])
async def test_a_strange_answer_reaches_the_caller(any_api: Subject, spans: CapturedSpans, body: bytes) -> None:
    any_api.server.script = Answer(body=body)
    outcomes: list[object] = []
    for client in (any_api.plain_client(), any_api.client()):
        try:
            outcomes.append(await any_api.create(client))
        except (any_api.api.sdk.APIError, AttributeError, TypeError, ValueError) as error:
            outcomes.append(repr(error))
    assert outcomes[0] == outcomes[1]
    assert spans.span("llm.call").end_time


async def test_a_body_that_is_no_json_reaches_the_caller(any_api: Subject, spans: CapturedSpans) -> None:
    any_api.server.script = Answer(body=b"<html>", headers={"content-type": "text/html"})
    outcomes: list[object] = []
    for client in (any_api.plain_client(), any_api.client()):
        try:
            outcomes.append(await any_api.create(client))
        except (any_api.api.sdk.APIError, AttributeError, TypeError, ValueError) as error:
            outcomes.append(repr(error))
    assert outcomes[0] == outcomes[1]
    assert spans.span("llm.call").end_time


async def test_a_fault_of_ours_is_counted_and_the_caller_gets_the_answer(
    any_api: Subject, spans: CapturedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, answer: object) -> None:
        raise ZeroDivisionError

    client = any_api.client()
    from looopy_otel.instrument.anthropic import ANTHROPIC_SDK
    from looopy_otel.instrument.openai import OPENAI_SDK

    for route in (*OPENAI_SDK.routes, *ANTHROPIC_SDK.routes):
        monkeypatch.setattr(type(route.wire_format), "response", fail)
    with pytest.raises(ZeroDivisionError):
        await any_api.create(client)
    monkeypatch.setattr(guard, "raising", False)
    before = sum(spans.telemetry.stats().internal_errors.values())
    assert any_api.api.text(await any_api.create(client))
    assert sum(spans.telemetry.stats().internal_errors.values()) == before + 1
    assert len(spans.spans()) == 2


async def test_the_parent_is_what_is_current_and_nothing_stays_current(any_api: Subject, spans: CapturedSpans) -> None:
    client = any_api.client()
    with lo.span("step"):
        await any_api.create(client)
        await any_api.create(client)
    assert hooks.innermost() is None
    assert spans.outline() == ["step", "  llm.call", "  llm.call"]


async def test_a_request_carries_its_spans_traceparent(any_api: Subject, spans: CapturedSpans) -> None:
    await any_api.create(any_api.client())
    context = spans.span("llm.call").context
    assert context is not None
    sent = any_api.server.last.headers["traceparent"]
    assert sent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


@pytest.mark.parametrize("where", ["call", "client"])
async def test_a_traceparent_of_the_callers_own_stays(any_api: Subject, spans: CapturedSpans, where: str) -> None:
    own = {"Traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"}
    plain = any_api.plain_client(default_headers=own) if where == "client" else any_api.plain_client()
    await any_api.create(any_api.client(plain), **({"extra_headers": own} if where == "call" else {}))
    assert any_api.server.last.headers["traceparent"] == own["Traceparent"]


async def test_a_traceparent_is_sent_only_where_it_is_wanted(any_api: Subject, spans: CapturedSpans) -> None:
    await any_api.create(any_api.client(propagate=False))
    assert "traceparent" not in any_api.server.last.headers
    with hooks.suppressed():
        await any_api.create(any_api.client())
    assert "traceparent" not in any_api.server.last.headers
    assert len(spans.spans()) == 1


async def test_without_tracing_nothing_happens(any_api: Subject) -> None:
    client = any_api.client()
    assert any_api.api.text(await any_api.create(client))
    assert "traceparent" not in any_api.server.last.headers


async def test_a_call_that_is_cancelled(any_api: Subject, spans: CapturedSpans) -> None:
    if not any_api.asynchronous:
        pytest.skip("only tasks are cancelled")
    any_api.server.script = Answer(stall_before=0)
    task = asyncio.create_task(any_api.create(any_api.client()))
    await asyncio.to_thread(any_api.server.stalled.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    span = spans.span("llm.call")
    assert (span.attributes or {})["llm.outcome"] == "cancelled"
    assert "error.type" not in (span.attributes or {})
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt("stop"), SystemExit(3)])
async def test_an_interrupt_passes_unchanged(
    chat: Subject, spans: CapturedSpans, interrupt: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    if chat.asynchronous:
        pytest.skip("an event loop handles it itself")

    def send(*args: object, **kwargs: object) -> None:
        raise interrupt

    client = chat.client()
    monkeypatch.setattr(client._client, "send", send)
    with pytest.raises(type(interrupt)) as raised:
        await chat.create(client)
    assert raised.value is interrupt
    assert spans.attributes("llm.call")["llm.outcome"] == "cancelled"


async def test_calls_at_the_same_time(any_api: Subject, spans: CapturedSpans) -> None:
    client = any_api.client()

    async def one(number: int) -> Any:
        with lo.span(f"step {number}"):
            return await any_api.create(client, model=f"{any_api.api.model}-{number}")

    await asyncio.gather(*(one(number) for number in range(10)))
    names = {span.context.span_id: span.name for span in spans.spans() if span.context}
    calls = [span for span in spans.spans() if span.name == "llm.call"]
    assert len(calls) == 10
    for call in calls:
        assert call.parent is not None
        assert (call.attributes or {})["gen_ai.request.model"] == (
            f"{any_api.api.model}-{names[call.parent.span_id].removeprefix('step ')}"
        )


async def test_requests_that_call_no_model_are_not_recorded(any_api: Subject, spans: CapturedSpans) -> None:
    client = any_api.client()
    await settled(client.get("/models", cast_to=object))
    if any_api.api is MESSAGES_API:
        arguments = {"model": any_api.api.model, "messages": any_api.api.arguments["messages"]}
        await settled(client.messages.count_tokens(**arguments))
    if any_api.api is RESPONSES:
        await settled(client.responses.retrieve("resp_1"))
    assert spans.spans() == []


async def test_a_server_that_is_shared(server: ModelServer, any_api: Subject, spans: CapturedSpans) -> None:
    with pytest.raises(TypeError):
        await any_api.create(any_api.client(), no_such_argument=1)
    assert spans.spans() == []
    assert server.requests == []


async def test_messages_that_can_be_read_only_once(talking: Subject, spans: CapturedSpans) -> None:
    if talking.api is RESPONSES:
        pytest.skip("takes lists only")
    await talking.create(talking.client(), messages=iter(talking.api.arguments["messages"]))
    assert talking.server.last.json["messages"] == talking.api.arguments["messages"]
    assert "Who is there?" in spans.attributes("llm.call")["gen_ai.prompt"]

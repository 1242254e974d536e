"""Streams: usage, first chunk, the one end in whatever way, and that the caller sees no difference."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode, get_current_span

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.testing import CapturedSpans
from tests.instrument.clients.apis import CHAT, RESPONSES, Entered, Subject, collect, following, settled, take
from tests.support.model_server import Answer, Recorded

TEXT = Answer().text


def read(subject: Subject, chunks: list[Any]) -> str:
    return "".join(subject.api.chunk_text(chunk) for chunk in chunks)


async def test_a_stream_read_to_its_end(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    chunks = await take(stream)
    assert read(talking, chunks) == TEXT
    expected = await take(await talking.stream(talking.plain_client()))
    assert [type(chunk) for chunk in chunks] == [type(chunk) for chunk in expected]
    assert chunks == expected
    seen = spans.attributes("llm.call")
    assert seen["llm.outcome"] == "completed"
    assert seen["gen_ai.completion"] == TEXT
    assert (seen["gen_ai.usage.input_tokens"], seen["gen_ai.usage.output_tokens"]) == (11, 7)
    assert seen["llm.usage.source"] == "reported"
    assert seen["llm.finish_reason"] == talking.api.finish[0]
    assert seen["gen_ai.request.stream"] is True
    assert seen["gen_ai.response.time_to_first_chunk"] > 0
    assert seen["gen_ai.response.model"] == talking.api.model


async def test_a_stream_keeps_its_type_and_attributes(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    expected = await talking.stream(talking.plain_client())
    assert type(stream) is type(expected)
    assert stream.response.status_code == 200
    assert stream.response.headers["x-request-id"] == "req_1"
    assert set(stream.__dict__) >= set(expected.__dict__) - {"_iterator"}
    await take(stream)
    await take(expected)


async def test_usage_is_asked_for_and_its_chunk_hidden(chat: Subject, spans: CapturedSpans) -> None:
    chunks = await take(await chat.stream(chat.client()))
    assert chat.server.last.json["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in chunks)


async def test_usage_that_the_caller_asked_for_is_shown(chat: Subject, spans: CapturedSpans) -> None:
    chunks = await take(await chat.stream(chat.client(), stream_options={"include_usage": True}))
    assert chunks[-1].usage.total_tokens == 18
    assert spans.attributes("llm.call")["llm.usage.source"] == "reported"


async def test_a_caller_who_wants_no_usage_is_obeyed(chat: Subject, spans: CapturedSpans) -> None:
    await take(await chat.stream(chat.client(), stream_options={"include_usage": False}))
    assert chat.server.last.json["stream_options"] == {"include_usage": False}
    assert spans.attributes("llm.call")["llm.usage.source"] == "missing"


async def test_usage_is_asked_for_only_where_it_is_wanted(talking: Subject, spans: CapturedSpans) -> None:
    await take(await talking.stream(talking.client(ask_for_usage=False)))
    assert "stream_options" not in talking.server.last.json
    with hooks.suppressed():
        await take(await talking.stream(talking.client()))
    assert "stream_options" not in talking.server.last.json


async def test_a_server_that_cannot_be_asked_for_usage(chat: Subject, spans: CapturedSpans) -> None:
    def strict(request: Recorded) -> Answer:
        refused = "stream_options" in request.json
        return Answer(status=400, text="unrecognized argument: stream_options") if refused else Answer(usage=None)

    chat.server.script = strict
    for _ in range(2):
        assert read(chat, await take(await chat.stream(chat.client()))) == TEXT
    assert ["stream_options" in request.json for request in chat.server.requests] == [True, False, False]
    assert spans.outline() == ["llm.call"] * 2
    seen = [dict(span.attributes or {}) for span in spans.spans()]
    assert [(one["llm.outcome"], one["llm.usage.source"]) for one in seen] == [("completed", "missing")] * 2
    with pytest.raises(Exception, match="stream_options"):
        await chat.stream(chat.client(), stream_options={"include_usage": True})


async def test_options_in_the_extra_body(chat: Subject, spans: CapturedSpans) -> None:
    client = chat.client()
    await take(await chat.stream(client, extra_body={"stream_options": {"include_usage": False}, "seed": 5}))
    assert chat.server.last.json["stream_options"] == {"include_usage": False}
    await take(await chat.stream(client, extra_body={"seed": 5}))
    assert chat.server.last.json["stream_options"] == {"include_usage": True}
    assert chat.server.last.json["seed"] == 5


async def test_parallel_tool_calls_are_joined(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(
        text="",
        tool_calls=[("weather", {"city": "Ulm", "days": 3}), ("time", {"zone": "UTC"})],
        reasoning="Let me see.",
    )
    await take(await talking.stream(talking.client()))
    seen = spans.attributes("llm.call")
    completion = seen["gen_ai.completion"].replace("\\", "").replace(" ", "")
    assert '{"city":"Ulm","days":3}' in completion
    assert '{"zone":"UTC"}' in completion
    assert "Letmesee." in completion
    assert seen["llm.finish_reason"] == talking.api.finish[1]


def partial(talking: Subject, spans: CapturedSpans, outcome: str) -> dict[str, Any]:
    """The attributes of a call that ended before its answer was complete, but not as a failure."""
    span = spans.span("llm.call")
    seen = dict(span.attributes or {})
    assert seen["llm.outcome"] == outcome
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in seen
    assert seen["llm.usage.source"] != "reported"
    return seen


PIECES = 5
"""How many events at least are read before a stream is left: enough for all formats to have told some text."""


async def test_a_loop_that_is_left(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    chunks = await take(stream, PIECES)
    await settle_generators()
    read_until = time.time_ns()
    seen = partial(talking, spans, "abandoned")
    assert TEXT.startswith(seen["gen_ai.completion"])
    assert seen["gen_ai.completion"] == read(talking, chunks) != ""
    assert (spans.span("llm.call").end_time or 0) < read_until
    await settled(stream.response.aclose() if talking.asynchronous else stream.response.close())


async def test_a_loop_that_is_left_by_the_last_one_who_has_the_stream(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    response = stream.response
    await take(stream, PIECES)
    del stream
    await settle_generators()
    partial(talking, spans, "abandoned")
    await settled(response.aclose() if talking.asynchronous else response.close())


async def test_flushing_does_not_end_a_stream_that_is_read(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    chunks: list[Any] = []
    if talking.asynchronous:
        async for chunk in stream:
            chunks.append(chunk)
            spans.telemetry.flush()
    else:
        for chunk in stream:
            chunks.append(chunk)
            spans.telemetry.flush()
    assert read(talking, chunks) == TEXT
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def settle_generators() -> None:
    """Waits for an event loop to close async generators, in its own time."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_stream_that_is_open_when_tracing_ends(talking: Subject, tmp_path: Path) -> None:
    with lo.configure(exporters="local", database=tmp_path / "spans.db", metrics="none") as telemetry:
        stream = await talking.stream(talking.client())
        chunks = await take(stream, PIECES)
    assert telemetry.stats().exported == 1
    assert len([*chunks, *await take(stream)]) > PIECES
    assert telemetry.stats().exported == 1


async def test_reading_on_after_a_loop_that_was_left(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    chunks = [*await take(stream, PIECES), *await take(stream)]
    assert read(talking, chunks) == TEXT
    assert chunks == await take(await talking.stream(talking.plain_client()))
    assert len(spans.spans()) == 1
    seen = spans.attributes("llm.call")
    assert (seen["llm.outcome"], seen["llm.usage.source"]) == ("completed", "reported")
    assert seen["gen_ai.completion"] == TEXT


async def test_chunks_taken_one_by_one(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    chunks = [await following(stream), await following(stream), *await take(stream)]
    assert read(talking, chunks) == TEXT
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def test_a_stream_that_is_closed(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    for _ in range(PIECES):
        await following(stream)
    await settled(stream.close())
    await settled(stream.close())
    assert stream.response.is_closed
    assert partial(talking, spans, "abandoned")["gen_ai.completion"]


async def test_a_stream_that_is_aclosed(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    if not hasattr(stream, "aclose"):
        await take(stream)
        pytest.skip("this SDK has no aclose")
    await stream.aclose()
    assert "gen_ai.completion" not in partial(talking, spans, "abandoned")


async def test_a_with_block_that_is_left(talking: Subject, spans: CapturedSpans) -> None:
    async def work() -> None:
        async with Entered(await talking.stream(talking.client())) as stream:
            await following(stream)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    partial(talking, spans, "abandoned")


async def test_a_stream_that_nobody_reads(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    assert spans.spans() == []
    await settled(stream.response.aclose() if talking.asynchronous else stream.response.close())
    del stream
    collect()
    seen = partial(talking, spans, "abandoned")
    assert "gen_ai.response.time_to_first_chunk" not in seen


async def test_a_stream_that_is_forgotten(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    for _ in range(PIECES):
        await following(stream)
    response = stream.response
    del stream
    assert partial(talking, spans, "abandoned")["gen_ai.completion"]  # At once, without the cycle collector.
    await settled(response.aclose() if talking.asynchronous else response.close())
    collect()
    assert len(spans.spans()) == 1


@pytest.mark.parametrize("cut", [5, 6])
async def test_a_connection_that_is_cut(talking: Subject, spans: CapturedSpans, cut: int) -> None:
    talking.server.script = Answer(cut_after=cut)
    kinds: list[type[BaseException]] = []
    for client in (talking.plain_client(), talking.client()):
        stream = await talking.stream(client)
        with pytest.raises(Exception, match=r"peer closed|[Cc]onnection") as raised:
            await take(stream)
        kinds.append(type(raised.value))
    assert kinds[0] is kinds[1]
    span = spans.span("llm.call")
    seen = dict(span.attributes or {})
    assert seen["llm.outcome"] == "truncated"
    assert TEXT.startswith(str(seen["gen_ai.completion"]))
    assert span.status.status_code is StatusCode.ERROR
    assert seen["error.type"] == kinds[1].__name__


async def test_a_stream_that_ends_without_a_finish_reason(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(end_after=6)
    chunks = await take(await talking.stream(talking.client()))
    assert read(talking, chunks)
    span = spans.span("llm.call")
    assert (span.attributes or {})["llm.outcome"] == "truncated"
    assert span.status.status_code is StatusCode.ERROR


async def test_an_error_in_the_stream(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(error_after=5, text="The model is overloaded.")
    ends: list[object] = []
    for client in (talking.plain_client(), talking.client()):
        try:
            ends.append(await take(await talking.stream(client)))
        except talking.api.sdk.APIError as error:
            ends.append(repr(error))
    assert ends[0] == ends[1]
    span = spans.span("llm.call")
    assert (span.attributes or {})["llm.outcome"] in ("error", "truncated")
    assert span.status.status_code is StatusCode.ERROR


async def test_an_error_status_of_a_stream(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(status=529, text="overloaded")
    with pytest.raises(talking.api.sdk.APIStatusError):
        await talking.stream(talking.client())
    assert spans.attributes("llm.call")["error.type"] == "529"


async def test_a_stream_that_is_cancelled(talking: Subject, spans: CapturedSpans) -> None:
    if not talking.asynchronous:
        pytest.skip("only tasks are cancelled")
    talking.server.script = Answer(stall_before=6)
    stream = await talking.stream(talking.client())
    task = asyncio.create_task(take(stream))
    await asyncio.to_thread(talking.server.stalled.wait, 10)
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert partial(talking, spans, "cancelled")["gen_ai.completion"]
    await settled(stream.close())
    assert await asyncio.to_thread(talking.server.wait_for_disconnects)


async def test_a_stream_that_is_interrupted(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client())
    interrupt = KeyboardInterrupt()

    class Interrupted:
        def __next__(self) -> Any:
            raise interrupt

        async def __anext__(self) -> Any:
            raise interrupt

    await following(stream)
    chunks, stream._iterator._chunks = stream._iterator._chunks, Interrupted()
    with pytest.raises(KeyboardInterrupt) as raised:
        await following(stream)
    assert raised.value is interrupt
    partial(talking, spans, "cancelled")
    await settled(stream.close())
    del chunks


async def test_the_first_chunk_is_the_first_with_content(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(slow_first=0.3)
    await take(await talking.stream(talking.client()))
    assert spans.attributes("llm.call")["gen_ai.response.time_to_first_chunk"] >= 0.3


async def test_nothing_is_current_between_chunks(talking: Subject, spans: CapturedSpans) -> None:
    client = talking.client()
    with lo.span("around"):
        around = get_current_span()
        stream = await talking.stream(client)
        for number in range(3):
            await following(stream)
            assert get_current_span() is around
            with lo.span(f"between {number}"):
                pass
        await take(stream)
        assert get_current_span() is around
    assert hooks.innermost() is None
    assert sorted(spans.outline()) == sorted(["around", "  llm.call", "  between 0", "  between 1", "  between 2"])


async def test_a_stream_read_by_another_task_or_thread(talking: Subject, spans: CapturedSpans) -> None:
    with lo.span("around"):
        stream = await talking.stream(talking.client())
    chunks: list[Any] = []
    if talking.asynchronous:
        chunks = await asyncio.create_task(take(stream))
    else:
        thread = threading.Thread(target=lambda: chunks.extend(stream))
        thread.start()
        await asyncio.to_thread(thread.join)
    assert read(talking, chunks) == TEXT
    assert spans.outline() == ["around", "  llm.call"]
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def test_no_task_is_made_for_a_stream(talking: Subject, spans: CapturedSpans) -> None:
    before = asyncio.all_tasks()
    stream = await talking.stream(talking.client())
    while await following(stream):
        assert asyncio.all_tasks() == before


async def test_many_streams_at_the_same_time(talking: Subject, spans: CapturedSpans) -> None:
    def script(request: Recorded) -> Answer:
        return Answer(text=f"I am {request.json['model']}. " * 5, pace=0.001)

    talking.server.script = script
    client = talking.client()

    async def one(number: int) -> None:
        with lo.span(f"step {number}"):
            await take(await talking.stream(client, model=f"model-{number}"))

    if talking.asynchronous:
        await asyncio.gather(*(one(number) for number in range(20)))
    else:
        await asyncio.gather(*(asyncio.to_thread(asyncio.run, one(number)) for number in range(8)))
    names = {span.context.span_id: span.name for span in spans.spans() if span.context}
    calls = [span for span in spans.spans() if span.name == "llm.call"]
    assert len(calls) == (20 if talking.asynchronous else 8)
    for call in calls:
        assert call.parent is not None
        assert call.attributes is not None
        number = names[call.parent.span_id].removeprefix("step ")
        assert call.attributes["gen_ai.completion"] == f"I am model-{number}. " * 5
        assert call.attributes["llm.outcome"] == "completed"


async def test_the_sdks_helper(talking: Subject, spans: CapturedSpans) -> None:
    async with talking.helper(talking.client()) as stream:
        events = await take(stream)
        final = getattr(stream, "get_final_message", None) or getattr(stream, "get_final_response", None)
        answer = await settled((final or stream.get_final_completion)())
    async with talking.helper(talking.plain_client()) as stream:
        expected = await take(stream)
    assert [event.type for event in events] == [event.type for event in expected]
    assert talking.api.text(answer) == TEXT
    seen = spans.attributes("llm.call")
    assert (seen["llm.outcome"], seen["gen_ai.usage.output_tokens"]) == ("completed", 7)


async def test_the_sdks_helper_left_early(talking: Subject, spans: CapturedSpans) -> None:
    async with talking.helper(talking.client()) as stream:
        await take(stream, PIECES)
    partial(talking, spans, "abandoned")


async def test_a_raw_response_parsed_to_a_stream(talking: Subject, spans: CapturedSpans) -> None:
    raw = await talking.raw(talking.client(), stream=True)
    assert raw.headers["x-request-id"] == "req_1"
    stream = await settled(raw.parse())
    assert await settled(raw.parse()) is stream
    assert spans.spans() == []
    chunks = await take(stream)
    assert read(talking, chunks) == TEXT
    if talking.api is CHAT:
        assert all(chunk.choices for chunk in chunks)
    assert spans.attributes("llm.call")["gen_ai.usage.output_tokens"] == 7


async def test_a_raw_response_that_nobody_parses(talking: Subject, spans: CapturedSpans) -> None:
    raw = await talking.raw(talking.client(), stream=True)
    response = raw.http_response
    await settled(response.aclose() if talking.asynchronous else response.close())
    assert spans.spans() == []
    del raw, response
    collect()
    partial(talking, spans, "abandoned")


async def test_a_streaming_response_parsed_to_a_stream(talking: Subject, spans: CapturedSpans) -> None:
    async with talking.streaming(talking.client(), stream=True) as response:
        chunks = await take(await settled(response.parse()))
    assert read(talking, chunks) == TEXT
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def test_a_streaming_response_whose_events_are_read_as_lines(talking: Subject, spans: CapturedSpans) -> None:
    async with talking.streaming(talking.client(), stream=True) as response:
        lines = response.iter_lines()
        body = [line async for line in lines] if talking.asynchronous else list(lines)
    assert "stream_options" not in talking.server.last.json
    async with talking.streaming(talking.plain_client(), stream=True) as response:
        lines = response.iter_lines()
        assert body == ([line async for line in lines] if talking.asynchronous else list(lines))
    seen = spans.attributes("llm.call")
    assert (seen["llm.outcome"], seen["llm.usage.source"]) == ("completed", "missing")


async def test_retries_before_a_stream(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = [Answer(status=500, headers={"retry-after-ms": "10"}), Answer()]
    await take(await talking.stream(talking.client(talking.plain_client(max_retries=2))))
    assert spans.outline() == ["llm.call", "  llm.attempt", "  llm.attempt"]
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def test_an_answer_that_is_incomplete_by_its_own_word(talking: Subject, spans: CapturedSpans) -> None:
    word = {"chat": "length", "responses": "incomplete"}.get(talking.api.name, "max_tokens")
    talking.server.script = Answer(finish=word)
    await take(await talking.stream(talking.client()))
    seen = spans.attributes("llm.call")
    assert seen["llm.outcome"] == "completed"
    assert seen["llm.finish_reason"] in (word, "max_output_tokens")


async def test_a_response_that_failed(talking: Subject, spans: CapturedSpans) -> None:
    if talking.api is not RESPONSES:
        pytest.skip("only responses say so")
    talking.server.script = Answer(finish="failed")
    await take(await talking.stream(talking.client()))
    assert spans.attributes("llm.call")["llm.finish_reason"] == "failed"


async def test_a_fault_of_ours_does_not_break_a_stream(
    talking: Subject, spans: CapturedSpans, monkeypatch: pytest.MonkeyPatch
) -> None:
    from looopy_otel.core.guard import guard
    from looopy_otel.instrument.anthropic import ANTHROPIC_SDK
    from looopy_otel.instrument.openai import OPENAI_SDK

    def fail(self: object, *args: object) -> None:
        raise ZeroDivisionError

    for route in (*OPENAI_SDK.routes, *ANTHROPIC_SDK.routes):
        monkeypatch.setattr(type(route.wire_format.joiner()), "add", fail)
    monkeypatch.setattr(guard, "raising", False)
    chunks = await take(await talking.stream(talking.client()))
    assert read(talking, chunks) == TEXT
    assert spans.telemetry.stats().internal_errors["instrument.chunk"] > 0
    assert len(spans.spans()) == 1


async def test_the_time_of_a_span_is_that_of_the_stream(talking: Subject, spans: CapturedSpans) -> None:
    talking.server.script = Answer(pace=0.02)
    started = time.time_ns()
    await take(await talking.stream(talking.client()))
    ended = time.time_ns()
    span = spans.span("llm.call")
    assert span.start_time is not None
    assert span.end_time is not None
    assert started <= span.start_time <= span.end_time <= ended
    assert span.end_time - span.start_time >= 100_000_000

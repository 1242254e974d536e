"""Middleware around wrapped clients: what it sees, changes, answers and raises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.core.operation import CallNext, LLMCall
from looopy_otel.core.types import LLMResponse, Message, ToolCall
from looopy_otel.core.usage import Usage
from looopy_otel.testing import CapturedSpans
from tests.instrument.clients.apis import CHAT, Subject, settled, take
from tests.support.model_server import Answer


class Watching:
    """Keeps what passes."""

    def __init__(self) -> None:
        self.calls: list[LLMCall] = []
        self.responses: list[LLMResponse] = []
        self.errors: list[BaseException] = []

    async def __call__(self, operation: LLMCall, call_next: CallNext) -> Any:
        self.calls.append(operation)
        try:
            response = await call_next(operation)
        except BaseException as error:
            self.errors.append(error)
            raise
        self.responses.append(response)
        return response


async def test_it_sees_the_call_and_the_answer(any_api: Subject) -> None:
    watching = Watching()
    answer = await any_api.create(any_api.client(middleware=(watching,)))
    (operation,), (response,) = watching.calls, watching.responses
    assert operation.model == any_api.api.model
    assert response.native is answer
    assert response.usage is not None
    assert response.usage.prompt_tokens == 11
    assert response.message.content == (None if any_api.api.embeds else Answer().text)


async def test_it_changes_the_request(any_api: Subject, spans: CapturedSpans) -> None:
    async def change(operation: LLMCall, call_next: CallNext) -> Any:
        return await call_next(replace(operation, model="another"))

    await any_api.create(any_api.client(middleware=(change,)), extra_body={"seed": 7})
    assert any_api.server.last.json["model"] == "another"
    assert any_api.server.last.json["seed"] == 7
    assert spans.attributes("llm.call")["gen_ai.request.model"] == "another"


async def test_it_changes_the_messages(talking: Subject, spans: CapturedSpans) -> None:
    async def change(operation: LLMCall, call_next: CallNext) -> Any:
        return await call_next(replace(operation, messages=[{"role": "user", "content": "Go away!"}]))

    await talking.create(talking.client(middleware=(change,)))
    assert "Go away!" in str(talking.server.last.json)
    assert "Who is there?" not in str(talking.server.last.json)
    assert "Go away!" in spans.attributes("llm.call")["gen_ai.prompt"]


async def test_it_raises_before_and_after(any_api: Subject, spans: CapturedSpans) -> None:
    async def before(operation: LLMCall, call_next: CallNext) -> Any:
        raise PermissionError("no")

    async def after(operation: LLMCall, call_next: CallNext) -> Any:
        await call_next(operation)
        raise PermissionError("no")

    with pytest.raises(PermissionError):
        await any_api.create(any_api.client(middleware=(before,)))
    assert any_api.server.requests == []
    with pytest.raises(PermissionError):
        await any_api.create(any_api.client(middleware=(after,)))
    first, second = (dict(span.attributes or {}) for span in spans.spans())
    assert first["error.type"] == second["error.type"] == "PermissionError"
    assert second["gen_ai.usage.input_tokens"] == 11


async def test_it_tries_again(any_api: Subject, spans: CapturedSpans) -> None:
    async def again(operation: LLMCall, call_next: CallNext) -> Any:
        try:
            return await call_next(operation)
        except any_api.api.sdk.APIStatusError:
            return await call_next(operation)

    any_api.server.script = [Answer(status=500), Answer()]
    answer = await any_api.create(any_api.client(middleware=(again,)))
    assert any_api.api.text(answer)
    assert spans.outline() == ["llm.call"]


MADE = LLMResponse(
    message=Message("assistant", "Made up.", tool_calls=(ToolCall("call_9", "look", '{"at": "it"}'),)),
    usage=Usage(3, 2),
    usage_source="reported",
    model="cache",
    finish_reason=None,
    id="made-1",
)


async def cached(operation: LLMCall, call_next: CallNext) -> Any:
    return MADE


async def test_it_answers_itself(talking: Subject, spans: CapturedSpans) -> None:
    answer = await talking.create(talking.client(middleware=(cached,)))
    assert type(answer) is type(await talking.create(talking.plain_client()))
    assert talking.api.text(answer) == "Made up."
    assert "look" in repr(answer)
    assert len(talking.server.requests) == 1
    seen = spans.attributes("llm.call")
    assert "Made up." in seen["gen_ai.completion"]
    assert seen["gen_ai.usage.input_tokens"] == 3


async def test_it_answers_a_stream_itself(talking: Subject, spans: CapturedSpans) -> None:
    stream = await talking.stream(talking.client(middleware=(cached,)))
    chunks = await take(stream)
    assert "".join(talking.api.chunk_text(chunk) for chunk in chunks) == "Made up."
    assert talking.server.requests == []
    if talking.api is CHAT:
        assert all(chunk.choices for chunk in chunks)
    seen = spans.attributes("llm.call")
    assert seen["llm.outcome"] == "completed"
    assert "look" in seen["gen_ai.completion"]


async def test_it_answers_the_sdks_helper(talking: Subject, spans: CapturedSpans) -> None:
    async with talking.helper(talking.client(middleware=(cached,))) as stream:
        await take(stream)
        final = getattr(stream, "get_final_message", None) or getattr(stream, "get_final_response", None)
        answer = await settled((final or stream.get_final_completion)())
    assert talking.api.text(answer) == "Made up."
    assert "look" in repr(answer)


async def test_it_answers_a_raw_response_itself(talking: Subject, spans: CapturedSpans) -> None:
    raw = await talking.raw(talking.client(middleware=(cached,)))
    assert raw.status_code == 200
    assert talking.api.text(await settled(raw.parse())) == "Made up."
    assert len(spans.spans()) == 1


async def test_it_sees_what_a_stream_says_together(talking: Subject, spans: CapturedSpans) -> None:
    watching = Watching()
    chunks = await take(await talking.stream(talking.client(middleware=(watching,))))
    assert "".join(talking.api.chunk_text(chunk) for chunk in chunks) == Answer().text
    (response,) = watching.responses
    assert response.message.content == Answer().text
    assert response.usage is not None
    assert response.usage.total_tokens == 18
    assert spans.attributes("llm.call")["llm.outcome"] == "completed"


async def test_it_is_told_of_a_stream_that_is_left(talking: Subject, spans: CapturedSpans) -> None:
    watching = Watching()
    stream = await talking.stream(talking.client(middleware=(watching,)))
    await take(stream, 5)
    await settled(stream.close())
    assert spans.attributes("llm.call")["llm.outcome"] == "abandoned"
    assert watching.responses == []


async def test_what_it_raises_after_a_stream_reaches_the_caller(talking: Subject, spans: CapturedSpans) -> None:
    async def after(operation: LLMCall, call_next: CallNext) -> Any:
        await call_next(operation)
        raise PermissionError("no")

    stream = await talking.stream(talking.client(middleware=(after,)))
    with pytest.raises(PermissionError):
        await take(stream)
    assert len(spans.spans()) == 1


async def test_it_works_untraced_and_sees_the_usage_of_streams(talking: Subject) -> None:
    watching = Watching()
    client = talking.client(middleware=(watching,))
    await talking.create(client)
    chunks = await take(await talking.stream(client))
    assert [response.usage and response.usage.total_tokens for response in watching.responses] == [18, 18]
    if talking.api is CHAT:
        assert all(chunk.choices for chunk in chunks)


async def test_deltas_go_through_emit(talking: Subject) -> None:
    said: list[str] = []

    async def listen(operation: LLMCall, call_next: CallNext) -> Any:
        def emit(event: Any) -> None:
            said.append(event.text)

        return await call_next(replace(operation, emit=emit))

    await take(await talking.stream(talking.client(middleware=(listen,))))
    assert "".join(said) == Answer().text


async def test_further_middleware_stands_outside(any_api: Subject) -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        async def middleware(operation: LLMCall, call_next: CallNext) -> Any:
            order.append(name)
            return await call_next(operation)

        return middleware

    once = any_api.client(middleware=(named("inner"),))
    twice = any_api.client(once, middleware=(named("outer"),))
    assert twice is not once
    await any_api.create(twice)
    assert order == ["outer", "inner"]
    order.clear()
    await any_api.create(once)
    assert order == ["inner"]


async def test_it_is_there_for_all_clients(any_api: Subject, spans: CapturedSpans) -> None:
    watching = Watching()
    any_api.instrument(middleware=[watching])
    await any_api.create(any_api.plain_client())
    assert len(watching.responses) == 1


async def test_the_caller_gets_the_answer_that_it_changed(talking: Subject, spans: CapturedSpans) -> None:
    async def redact(operation: LLMCall, call_next: CallNext) -> Any:
        response = await call_next(operation)
        return replace(response, message=replace(response.message, content="[redacted]"))

    plain = await talking.create(talking.plain_client())
    answer = await talking.create(talking.client(middleware=(redact,)))
    assert type(answer) is type(plain)
    assert talking.api.text(answer) == "[redacted]"
    assert "[redacted]" in spans.attributes("llm.call")["gen_ai.completion"]
    assert len(talking.server.requests) == 2


async def test_wrapping_again_with_the_same_adds_nothing(any_api: Subject) -> None:
    watching, further = Watching(), Watching()
    once = any_api.client(middleware=(watching,))
    assert any_api.client(once, middleware=(watching,)) is once
    await any_api.create(any_api.client(once, middleware=(further, watching)))
    assert (len(watching.calls), len(further.calls)) == (1, 1)

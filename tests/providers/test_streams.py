"""``async for event in provider.call(…)``: events, and every way in which a stream can end."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Literal

import pytest

from looopy_otel.core import semconv
from looopy_otel.core.types import ContentComplete, ContentDelta, LLMResponse, StreamEvent, ToolCall
from looopy_otel.core.usage import Usage
from looopy_otel.providers import (
    LiteLLMAPIError,
    LiteLLMAuthenticationError,
    LiteLLMProvider,
    LiteLLMStreamError,
    Reply,
)
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]
USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
EVENT_STREAM = {"content-type": "text/event-stream"}


async def events_of(provider: LiteLLMProvider, **arguments: Any) -> list[StreamEvent]:
    return [event async for event in provider.call(messages=HELLO, **arguments)]


def complete(events: list[StreamEvent]) -> LLMResponse:
    last = events[-1]
    assert isinstance(last, ContentComplete)
    return last.response


def sse(*chunks: object, done: bool = True, newline: str = "\n") -> bytes:
    lines = [f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}" for chunk in chunks]
    return (newline * 2).join([*lines, *(["data: [DONE]"] if done else []), ""]).encode()


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4", "choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


async def test_the_request_asks_for_a_stream_with_usage(serve: Serve, connect: Connect) -> None:
    server = serve()
    await events_of(connect(server))
    body = server.requests[0].json
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert server.requests[0].headers["accept"] == "text/event-stream"


async def test_stream_options_of_the_user_are_merged_but_usage_is_always_asked_for(
    serve: Serve, connect: Connect
) -> None:
    server = serve()
    await events_of(connect(server, extra_params={"stream_options": {"include_obfuscation": False}}))
    await events_of(connect(server, extra_params={"stream_options": {"include_usage": False}}))
    await connect(server, extra_params={"stream_options": {"include_usage": False}}).call(messages=HELLO)
    assert [request.json.get("stream_options") for request in server.requests] == [
        {"include_usage": True, "include_obfuscation": False},
        {"include_usage": True},
        None,
    ]


@pytest.mark.parametrize("usage_chunk", ["empty", "with-choice"])
async def test_the_events_of_a_stream(
    serve: Serve, connect: Connect, usage_chunk: Literal["empty", "with-choice"]
) -> None:
    reply = Reply(
        text="It is 392.",
        reasoning="Multiply, then add.",
        tool_calls=(("calculate", {"expression": "15 * 23 + 47"}), ("now", {})),
        model="gpt-4-0613",
        usage=USAGE,
        cost=0.0068,
        usage_chunk=usage_chunk,
        chunk_size=4,
    )
    events = await events_of(connect(serve(reply)))
    kinds = [event.kind for event in events]
    order = ["thought-stream", "content-delta", "tool-call", "llm-usage", "content-complete"]
    assert list(dict.fromkeys(kinds)) == order
    assert [kinds.count(kind) for kind in order] == [5, 3, 2, 1, 1]
    response = complete(events)
    assert (response.message.content, response.message.reasoning) == ("It is 392.", "Multiply, then add.")
    assert response.tool_calls == (
        ToolCall("call_1_0", "calculate", '{"expression":"15 * 23 + 47"}'),
        ToolCall("call_1_1", "now", "{}"),
    )
    assert (response.usage, response.cost) == (Usage(9, 12), Decimal("0.0068"))
    assert (response.model, response.finish_reason, response.id) == ("gpt-4-0613", "tool_calls", "chatcmpl-1")


async def test_plain_and_streamed_give_the_same_response(serve: Serve, connect: Connect) -> None:
    reply = Reply(text="hi", reasoning="hm", tool_calls=(("f", {"a": 1}),), usage=USAGE, cost=0.5)
    server = serve(script=lambda request: reply)
    provider = connect(server)
    plain = await provider.call(messages=HELLO)
    streamed = complete(await events_of(provider))
    assert [call.name for call in plain.tool_calls] == [call.name for call in streamed.tool_calls]
    for name in ("model", "usage", "finish_reason", "cost", "usage_source", "cost_source", "outcome", "system"):
        assert getattr(plain, name) == getattr(streamed, name)


async def test_no_usage_is_missing(serve: Serve, connect: Connect) -> None:
    events = await events_of(connect(serve(Reply(text="hi", usage=USAGE, usage_chunk="none"))))
    assert "llm-usage" not in [event.kind for event in events]
    assert (complete(events).usage, complete(events).usage_source) == (None, "missing")


async def test_reasoning_under_either_name_and_not_twice(serve: Serve, connect: Connect) -> None:
    body = sse(
        delta(role="assistant"),
        delta(reasoning="a"),
        delta(reasoning_content="b"),
        delta(reasoning="c", reasoning_content="c"),
        delta("stop", content="d"),
    )
    events = await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM))))
    assert complete(events).message.reasoning == "abc"


async def test_tool_call_deltas_of_every_form(serve: Serve, connect: Connect) -> None:
    body = sse(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]),
        delta(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g"}}, {"index": 0, "function": {}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}, {"index": 1, "function": None}]),
        delta(tool_calls=[{"index": 1, "id": "c", "function": {"name": "same index, other id", "arguments": "{}"}}]),
        delta(tool_calls=[{"id": "d", "function": {"name": "no index", "arguments": "[1"}}]),
        delta(tool_calls=[{"function": {"arguments": "]"}}]),
        delta(tool_calls=[{"index": 9, "function": {"name": "no id", "arguments": "{}"}}, None, 7]),
        delta("tool_calls"),
    )
    response = complete(await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM)))))
    assert response.tool_calls == (
        ToolCall("a", "f", '{"x": 1}'),
        ToolCall("b", "g", "{}"),
        ToolCall("c", "same index, other id", "{}"),
        ToolCall("d", "no index", "[1]"),
    )
    assert response.dropped_tool_calls >= 1


@pytest.mark.parametrize(
    "deltas",
    [
        [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}],
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": {}}},
            {"index": 0, "function": {"arguments": '{"x": 1}'}},
        ],
        [
            {"id": "a", "function": {"name": "f", "arguments": '{"x"'}},
            {"id": "a", "function": {"name": None, "arguments": ": 1}"}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}},
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": ": 1}"}},
        ],
        [
            {"index": 0, "id": "a", "function": {"name": "f"}},
            {"function": {"arguments": '{"x": 1}'}},
        ],
    ],
    ids=["arguments as an object", "empty object first", "id again, no index", "name again", "head with index only"],
)
async def test_tool_call_deltas_that_other_endpoints_send(serve: Serve, connect: Connect, deltas: list[Any]) -> None:
    body = sse(*(delta(tool_calls=[entry]) for entry in deltas), delta("tool_calls"))
    response = complete(await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM)))))
    assert response.tool_calls == (ToolCall("a", "f", '{"x": 1}'),)
    assert response.dropped_tool_calls == 0


TEXTS = [{"type": "text", "text": "Sure"}, {"text": ", "}, "why ", {"type": "text", "text": "not."}]
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("deltas", "said", "content"),
    [
        ([{"content": TEXTS[:2]}, {"content": TEXTS[2:]}], "Sure, why not.", "Sure, why not."),
        ([{"refusal": "I will "}, {"content": None, "refusal": "not."}], "I will not.", "I will not."),
        (
            [{"content": "Look: "}, {"content": [TEXTS[0], IMAGE]}],
            "Look: Sure",
            [{"type": "text", "text": "Look: Sure"}, IMAGE],
        ),
    ],
    ids=["a list of texts", "a refusal", "other parts too"],
)
async def test_content_of_other_shapes(
    serve: Serve, connect: Connect, deltas: list[dict[str, Any]], said: str, content: Any
) -> None:
    body = sse(*(delta(**fields) for fields in deltas), delta("stop"))
    events = await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM))))
    assert "".join(event.text for event in events if isinstance(event, ContentDelta)) == said
    assert complete(events).message.content == content


async def test_a_whole_message_in_one_chunk(serve: Serve, connect: Connect) -> None:
    body = sse({"choices": [{"index": 0, "message": {"content": "all of it"}, "finish_reason": "stop"}]})
    events = await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM))))
    assert complete(events).message.content == "all of it"


async def test_the_cost_header_is_not_that_of_a_stream(serve: Serve, connect: Connect) -> None:
    # The proxy sends the headers before it knows what the answer will cost.
    reply = Reply(text="hi", usage=USAGE, headers={semconv.LITELLM_COST_HEADER: "0.25"})
    response = complete(await events_of(connect(serve(reply))))
    assert (response.cost, response.cost_source) == (None, "unknown")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
async def test_comments_names_and_both_line_ends(serve: Serve, connect: Connect, newline: str) -> None:
    body = sse(delta(content="hé"), delta("stop", content="llo"), newline=newline)
    noise = f": keep-alive{newline}{newline}event: message{newline}id: 7{newline}retry: 10{newline}".encode()
    events = await events_of(connect(serve(Reply(body=noise + body, headers=EVENT_STREAM))))
    assert complete(events).message.content == "héllo"


async def test_a_stream_that_comes_byte_by_byte(serve: Serve, connect: Connect) -> None:
    reply = Reply(text="grüße", usage=USAGE, drip=0.0)
    assert complete(await events_of(connect(serve(reply)))).message.content == "grüße"


@pytest.mark.parametrize("ending", [b"", b"data: [DON", b"data: {"])
async def test_a_finish_reason_without_done_is_fine(serve: Serve, connect: Connect, ending: bytes) -> None:
    body = sse(delta("stop", content="hi"), done=False) + ending
    events = await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM))))
    assert complete(events).outcome == "completed"


async def test_a_connection_cut_after_the_finish_reason_is_fine(serve: Serve, connect: Connect) -> None:
    reply = Reply(text="hi", usage=USAGE, cut_after=3)
    assert complete(await events_of(connect(serve(reply)))).message.content == "hi"


async def test_an_error_inside_the_stream(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    stream = connect(serve(Reply(text="half an ", stream_error="overloaded"))).call(messages=HELLO).__aiter__()
    assert await anext(stream) == ContentDelta("half an ")
    with pytest.raises(LiteLLMStreamError, match=r"LiteLLM API error: the stream failed: 500 .*overloaded") as caught:
        await anext(stream)
    assert (caught.value.status, caught.value.code, caught.value.truncated) == (500, "500", False)
    assert observer.only.result is not None
    assert (observer.only.result.message.content, observer.only.result.outcome) == ("half an ", "error")


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        ("plain text", "plain text", 200),
        ({"message": "m"}, "m", 200),
        ({"message": "m", "type": "overloaded"}, "overloaded: m", 200),
        ({"code": 429}, '429: {"error":{"code":429}}', 429),
        ({"code": 7, "message": "m"}, "7: m", 200),
        ({"message": None, "type": 7}, '{"error":{"message":null,"type":7}}', 200),
    ],
)
async def test_error_objects_of_other_shapes(
    serve: Serve, connect: Connect, error: Any, said: str, status: int
) -> None:
    with pytest.raises(LiteLLMStreamError) as caught:
        await events_of(connect(serve(Reply(body=sse({"error": error}), headers=EVENT_STREAM))))
    assert str(caught.value) == f"LiteLLM API error: the stream failed: {said}"
    assert caught.value.status == status


@pytest.mark.parametrize(
    "reply",
    [
        Reply(text="half an answer", cut_after=2),
        Reply(text="half an ", finish_reason=None),
        Reply(body=sse(delta(content="half an "), done=False) + b'data: {"cho', headers=EVENT_STREAM),
    ],
    ids=["cut", "no finish reason", "cut in a chunk"],
)
async def test_a_stream_without_an_end_is_truncated(
    serve: Serve, connect: Connect, observer: RememberingObserver, reply: Reply
) -> None:
    with pytest.raises(LiteLLMStreamError, match="ended before the answer was complete") as caught:
        await events_of(connect(serve(reply)))
    assert caught.value.truncated
    assert observer.only.error is caught.value
    assert observer.only.result is not None
    assert (observer.only.result.message.content, observer.only.result.outcome) == ("half an ", "truncated")


async def test_a_stream_cut_before_its_first_chunk(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    with pytest.raises(LiteLLMStreamError) as caught:
        await events_of(connect(serve(Reply(text="nothing", cut_after=0))))
    assert caught.value.truncated
    assert observer.only.result is None


async def test_a_chunk_that_is_not_json(serve: Serve, connect: Connect) -> None:
    body = sse(delta(content="hi"), "{not json", delta("stop"))
    with pytest.raises(LiteLLMStreamError, match=r"a chunk is not JSON: \{not json"):
        await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM))))


async def test_chunks_of_strange_shapes_are_passed_over(serve: Serve, connect: Connect) -> None:
    body = sse([], 7, None, {"choices": None}, {"choices": [None]}, {"choices": [{"delta": None}]}, delta("stop"))
    response = complete(await events_of(connect(serve(Reply(body=body, headers=EVENT_STREAM)))))
    assert response.message.content is None


async def test_a_page_in_place_of_a_stream(serve: Serve, connect: Connect) -> None:
    reply = Reply(body=b"<html>Sign in</html>", headers={"content-type": "text/html; charset=utf-8"})
    with pytest.raises(LiteLLMStreamError, match="cannot be read: it is text/html"):
        await events_of(connect(serve(reply)))


async def test_a_plain_completion_in_place_of_a_stream_is_taken(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    completion = {
        "choices": [
            {
                "message": {
                    "content": "hi",
                    "reasoning_content": "hm",
                    "tool_calls": [{"id": "a", "function": {"name": "f"}}],
                },
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
    events = await events_of(connect(serve(Reply(body=json.dumps(completion).encode()))))
    assert [event.kind for event in events] == [
        "thought-stream",
        "content-delta",
        "tool-call",
        "llm-usage",
        "content-complete",
    ]
    assert observer.only.chunks == 1


async def test_an_error_status_of_a_streamed_request(serve: Serve, connect: Connect) -> None:
    with pytest.raises(LiteLLMAuthenticationError, match="401 Unauthorized: no key"):
        await events_of(connect(serve(Reply(status=401, text="no key"))))
    with pytest.raises(LiteLLMAPIError, match="502 Bad Gateway: <html>down</html>"):
        await events_of(
            connect(serve(Reply(status=502, body=b"<html>down</html>", headers={"content-type": "text/html"})))
        )


async def test_chunks_are_told_to_the_observer_but_framing_is_not(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    reply = Reply(text="12345678", reasoning="1234", tool_calls=(("f", "{}"),), chunk_size=4, usage=USAGE)
    await events_of(connect(serve(reply)))
    assert observer.only.chunks == 1 + 2 + 2  # reasoning, text, the head and the arguments of the tool call


async def test_a_connection_is_used_again_after_a_stream(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi"), Reply(text="there"))
    provider = connect(server)
    for _ in range(2):
        await events_of(provider)
    assert len(server.requests) == 2
    assert server.connections == 1

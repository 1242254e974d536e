"""Joining streams: however a reply is split into chunks, it is the same reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.core.shapes.anthropic_messages import ANTHROPIC_MESSAGES
from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT
from looopy_otel.core.shapes.openai_responses import OPENAI_RESPONSES
from looopy_otel.core.shapes.recognise import joiner_for
from looopy_otel.core.shapes.shape import Joiner, Progress, WireFormat
from looopy_otel.core.types import ContentDelta, LLMResponse, Message, ThoughtStream, ToolCall
from looopy_otel.core.usage import Usage
from tests.core.shapes.forms import as_attributes, as_json, sdk

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
ARGUMENTS = st.dictionaries(TEXT, TEXT, max_size=3).map(json.dumps)
CALLS = st.lists(st.tuples(st.sampled_from(["add", "search"]), ARGUMENTS), max_size=3)


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """A text in pieces, none of them empty."""
    cuts = sorted(draw(st.sets(st.integers(1, max(len(text) - 1, 1)), max_size=6)))
    bounds = [0, *(cut for cut in cuts if cut < len(text)), len(text)]
    return [text[start:end] for start, end in pairwise(bounds) if start < end]


@st.composite
def interleaved(draw: st.DrawFn, rows: Sequence[Sequence[Any]]) -> list[Any]:
    """The entries of several rows in one order that keeps the order of each."""
    left, result = [list(row) for row in rows if row], list[Any]()
    while left:
        row = draw(st.sampled_from(left))
        result.append(row.pop(0))
        left = [row for row in left if row]
    return result


class Reply:
    """What a model says: reasoning, text and tool calls."""

    def __init__(self, reasoning: str, text: str, calls: Sequence[tuple[str, str]]) -> None:
        self.reasoning, self.text, self.calls = reasoning, text, calls

    @property
    def message(self) -> Message:
        calls = tuple(ToolCall(f"c{place}", name, text) for place, (name, text) in enumerate(self.calls))
        return Message("assistant", self.text or None, calls, reasoning=self.reasoning or None)


REPLIES = st.builds(Reply, TEXT, TEXT, CALLS)


def chat_chunk(delta: dict[str, Any], finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "r1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **fields}


@st.composite
def chat_chunks(draw: st.DrawFn, reply: Reply) -> list[dict[str, Any]]:
    rows = [[{"reasoning_content": piece} for piece in draw(pieces(reply.reasoning))]]
    rows.append([{"content": piece} for piece in draw(pieces(reply.text))])
    calls: list[list[dict[str, Any]]] = []
    for index, (name, arguments) in enumerate(reply.calls):
        start = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        rest = [{"index": index, "function": {"arguments": piece}} for piece in draw(pieces(arguments))]
        calls.append([start, *rest])
    starts, rests = [row[:1] for row in calls], [row[1:] for row in calls]
    entries = [entry for row in starts for entry in row] + draw(interleaved(rests))
    deltas = [*rows[0], *rows[1], *({"tool_calls": [entry]} for entry in entries)]
    usage = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}
    return [
        chat_chunk({"role": "assistant", "content": ""}),
        *map(chat_chunk, deltas),
        chat_chunk({}, "stop"),
        chat_chunk({}, choices=[], usage=usage),
    ]


@st.composite
def message_events(draw: st.DrawFn, reply: Reply) -> list[dict[str, Any]]:
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    if reply.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in draw(pieces(reply.reasoning))]
        signed = {"type": "signature_delta", "signature": "sig"}
        blocks.append(({"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]))
    if reply.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in draw(pieces(reply.text))]
        blocks.append(({"type": "text", "text": ""}, deltas))
    for place, (name, arguments) in enumerate(reply.calls):
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in draw(pieces(arguments))]
        blocks.append(({"type": "tool_use", "id": f"c{place}", "name": name, "input": {}}, deltas))
    message: dict[str, Any] = {
        "id": "r1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 5, "output_tokens": 1},
    }  # fmt: skip
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": ending, "usage": {"output_tokens": 6}})
    return [*events, {"type": "message_stop"}]


RESPONSE: dict[str, Any] = {
    "id": "r1", "object": "response", "created_at": 1, "model": "m", "output": [], "status": "in_progress",
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
}  # fmt: skip


@st.composite
def response_events(draw: st.DrawFn, reply: Reply) -> list[dict[str, Any]]:
    def event(kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": f"response.{kind}", "sequence_number": 0, **fields}

    rows: list[list[dict[str, Any]]] = []
    if reply.reasoning:
        item: dict[str, Any] = {"id": "rs", "type": "reasoning", "summary": []}
        place: dict[str, Any] = {"item_id": "rs", "output_index": len(rows), "summary_index": 0}
        deltas = [event("reasoning_summary_text.delta", **place, delta=p) for p in draw(pieces(reply.reasoning))]
        rows.append([event("output_item.added", output_index=len(rows), item=item), *deltas])
    if reply.text:
        item = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        place = {"item_id": "m", "output_index": len(rows), "content_index": 0, "logprobs": []}
        deltas = [event("output_text.delta", **place, delta=piece) for piece in draw(pieces(reply.text))]
        rows.append([event("output_item.added", output_index=len(rows), item=item), *deltas])
    for number, (name, arguments) in enumerate(reply.calls):
        item = {"id": f"f{number}", "type": "function_call", "call_id": f"c{number}", "name": name, "arguments": ""}
        place = {"item_id": f"f{number}", "output_index": len(rows)}
        deltas = [event("function_call_arguments.delta", **place, delta=piece) for piece in draw(pieces(arguments))]
        rows.append([event("output_item.added", output_index=len(rows), item=item), *deltas])
    usage = {
        "input_tokens": 5, "output_tokens": 6, "total_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }  # fmt: skip
    last = {**RESPONSE, "status": "completed", "usage": usage}
    return [event("created", response=RESPONSE), *draw(interleaved(rows)), event("completed", response=last)]


FORMATS: dict[str, tuple[WireFormat, Callable[[Reply], st.SearchStrategy[list[dict[str, Any]]]], str]] = {
    "chat": (OPENAI_CHAT, chat_chunks, "chat chunk"),
    "messages": (ANTHROPIC_MESSAGES, message_events, "message event"),
    "responses": (OPENAI_RESPONSES, response_events, "response event"),
}


@pytest.mark.parametrize("form", ["json", "sdk"])
@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_any_split_joins_to_the_same(name: str, form: str, data: st.DataObject) -> None:
    wire_format, split, kind = FORMATS[name]
    reply = data.draw(REPLIES)
    chunks = [(sdk(kind) if form == "sdk" else as_json)(chunk) for chunk in data.draw(split(reply))]
    joiner = joiner_for(chunks[0])
    assert joiner is not None
    assert type(joiner) is type(wire_format.joiner())
    brought = [joiner.add(chunk) for chunk in chunks]
    response = joiner.response()
    assert joiner.finished
    assert response is not None
    assert response.message == reply.message
    assert response.usage is not None
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (5, 6)
    assert (response.usage_source, response.id, response.model) == ("reported", "r1", "m")
    events = [event for progress in brought for event in progress.events]
    assert "".join(event.text for event in events if isinstance(event, ContentDelta)) == reply.text
    assert "".join(event.text for event in events if isinstance(event, ThoughtStream)) == reply.reasoning
    assert any(progress.delta for progress in brought) == bool(reply.reasoning or reply.text or reply.calls)


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
def test_a_stream_that_breaks_off_keeps_what_came(name: str, data: st.DataObject) -> None:
    _, split, _ = FORMATS[name]
    reply = data.draw(REPLIES)
    chunks = data.draw(split(reply))
    kept = data.draw(st.integers(1, len(chunks)))
    joiner = joiner_for(chunks[0])
    assert joiner is not None
    told = [event for chunk in chunks[:kept] for event in joiner.add(chunk).events]
    response = joiner.response("abandoned")
    assert response is not None
    assert response.outcome == "abandoned"
    text = "".join(event.text for event in told if isinstance(event, ContentDelta))
    assert (response.message.content or "") == text
    assert reply.text.startswith(text)


STRANGE = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.sampled_from(["", "x", "0"]) | st.binary(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "choices", "delta", "message", "index", "content", "text", "tool_calls", "function", "arguments",
             "name", "id", "usage", "finish_reason", "content_block", "input", "item", "response", "output",
             "output_index", "partial_json", "audio", "images", "function_call", "prompt_tokens", "summary", "role"]
        ),
        inner | st.sampled_from(["content_block_delta", "message_start", "message_delta", "content_block_start",
                                 "response.output_item.added", "response.output_text.delta", "response.completed",
                                 "response.function_call_arguments.delta", "tool_use", "function_call", "reasoning"]),
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
@given(chunks=st.lists(STRANGE, max_size=6), as_objects=st.booleans())
def test_strange_chunks_do_no_harm(name: str, chunks: list[Any], as_objects: bool) -> None:
    joiner = FORMATS[name][0].joiner()
    assert joiner.response() is None
    for chunk in chunks:
        assert isinstance(joiner.add(as_attributes(chunk) if as_objects else chunk), Progress)
    assert isinstance(joiner.response("error"), LLMResponse) or not chunks


@given(answer=STRANGE, as_objects=st.booleans())
def test_strange_answers_do_no_harm(answer: Any, as_objects: bool) -> None:
    for wire_format in (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC_MESSAGES):
        response = wire_format.response(as_attributes(answer) if as_objects else answer)
        assert response is None or isinstance(response.message, Message)


def joined(joiner: Joiner, chunks: Sequence[Any]) -> LLMResponse:
    for chunk in chunks:
        joiner.add(chunk)
    response = joiner.response()
    assert response is not None
    return response


USAGE = {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11}


@pytest.mark.parametrize(
    ("last", "hidden"),
    [
        (chat_chunk({}, choices=[], usage=USAGE), True),
        (chat_chunk({}, usage=USAGE), True),
        (chat_chunk({}, "stop", usage=USAGE), False),
        (chat_chunk({"content": "x"}, usage=USAGE), False),
        (chat_chunk({}), False),
    ],
)
def test_which_chunk_carries_the_usage_alone(last: dict[str, Any], hidden: bool) -> None:
    joiner = OPENAI_CHAT.joiner()
    joiner.add(chat_chunk({"role": "assistant", "content": "a"}))
    joiner.add(chat_chunk({}, "stop"))
    assert joiner.add(last).only_usage == hidden


def test_running_counts_in_every_chunk_hide_nothing_and_are_an_estimate_until_the_end() -> None:
    joiner = OPENAI_CHAT.joiner()
    running = {"prompt_tokens": 5, "completion_tokens": 1}
    first = joiner.add(chat_chunk({"role": "assistant"}, usage=running))
    second = joiner.add(chat_chunk({"content": "a"}, usage=running))
    assert not first.only_usage
    assert not second.only_usage
    partial = joiner.response("abandoned")
    assert partial is not None
    assert (partial.usage, partial.usage_source) == (Usage(5, 1), "estimated")
    whole = joined(joiner, [chat_chunk({}, "stop", usage=USAGE)])
    assert (whole.usage, whole.usage_source) == (Usage(5, 6), "reported")


def test_several_choices_side_by_side() -> None:
    def chunk(index: int, content: str, finish_reason: str | None = None) -> dict[str, Any]:
        delta = {"content": content}
        return chat_chunk({}, choices=[{"index": index, "delta": delta, "finish_reason": finish_reason}])

    joiner = OPENAI_CHAT.joiner()
    chunks = [chunk(1, "x"), chunk(0, "a"), chunk(1, "y"), chunk(0, "b", "stop")]
    response = joined(joiner, chunks)
    assert not joiner.finished
    assert (response.message.content, [other.content for other in response.others]) == ("ab", ["xy"])
    assert joined(joiner, [chunk(1, "", "length")]).finish_reason == "stop"
    assert joiner.finished


CALL_STREAMS: dict[str, list[dict[str, Any]]] = {
    "no index, the id in every chunk": [
        {"id": "a", "function": {"name": "add", "arguments": "{"}},
        {"id": "b", "function": {"name": "sub", "arguments": "{}"}},
        {"id": "a", "function": {"arguments": "}"}},
    ],
    "no index, the id first": [
        {"id": "a", "function": {"name": "add", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "function": {"name": "sub", "arguments": "{}"}},
    ],
    "one index for all": [
        {"index": 0, "id": "a", "function": {"name": "add", "arguments": "{}"}},
        {"index": 0, "id": "b", "function": {"name": "sub", "arguments": "{}"}},
    ],
    "the name in every chunk": [
        {"index": 0, "id": "a", "function": {"name": "add", "arguments": "{"}},
        {"index": 0, "id": "a", "function": {"name": "add", "arguments": "}"}},
        {"index": 1, "id": "b", "function": {"name": "sub", "arguments": {}}},
    ],
}


@pytest.mark.parametrize("case", CALL_STREAMS)
def test_tool_calls_as_various_endpoints_stream_them(case: str) -> None:
    response = joined(OPENAI_CHAT.joiner(), [chat_chunk({"tool_calls": [entry]}) for entry in CALL_STREAMS[case]])
    assert response.tool_calls == (ToolCall("a", "add", "{}"), ToolCall("b", "sub", "{}"))


def test_unusable_tool_calls_are_counted() -> None:
    entries: list[dict[str, Any]] = [{"index": 0, "id": "a", "function": {}}, {"index": 1, "function": {"name": "sub"}}]
    response = joined(OPENAI_CHAT.joiner(), [chat_chunk({"tool_calls": entries})])
    assert (response.tool_calls, response.dropped_tool_calls) == ((), 2)


def test_spoken_words_pictures_and_the_older_function_call() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,x"}}
    deltas: list[dict[str, Any]] = [
        {"audio": {"id": "a1", "transcript": "He"}},
        {"audio": {"transcript": "llo", "data": "AA"}},
        {"audio": {"data": "BB"}},
        {"images": [picture]},
        {"function_call": {"name": "add", "arguments": "{"}},
        {"function_call": {"arguments": "}"}},
    ]
    joiner = OPENAI_CHAT.joiner()
    assert all(joiner.add(chat_chunk(delta)).delta for delta in deltas)
    response = joined(joiner, [chat_chunk({}, "function_call")])
    assert response.message.content == [
        picture,
        {"type": "audio", "audio": {"id": "a1", "transcript": "Hello", "data": "AABB"}},
    ]
    assert response.tool_calls == (ToolCall("add", "add", "{}"),)


def test_half_an_emoji_at_the_cut() -> None:
    response = joined(
        OPENAI_CHAT.joiner(), [chat_chunk({"content": "a\ud83d"}), chat_chunk({"content": "\ude00\ud83d"})]
    )
    assert response.message.content == "a😀\ufffd"


def test_a_whole_message_in_one_chunk_and_a_text_completion() -> None:
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}]}
    assert joined(OPENAI_CHAT.joiner(), [whole]).message.content == "a"
    texts = [{"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in ("O", "nce")]
    assert joined(OPENAI_CHAT.joiner(), texts).message.content == "Once"


def test_azure_sends_a_first_chunk_without_choices() -> None:
    joiner = joiner_for({"choices": [], "prompt_filter_results": []})
    assert joiner is not None
    progress = joiner.add({"choices": [], "prompt_filter_results": []})
    assert (progress.delta, progress.only_usage) == (False, False)
    assert joined(joiner, [chat_chunk({"content": "a"}, "stop")]).message.content == "a"


def test_what_anthropic_told_before_a_stream_broke_off_is_an_estimate() -> None:
    start = {"id": "r", "model": "m", "usage": {"input_tokens": 5, "cache_read_input_tokens": 10, "output_tokens": 1}}
    joiner = ANTHROPIC_MESSAGES.joiner()
    response = joined(joiner, [{"type": "message_start", "message": start}, {"type": "ping"}])
    assert (response.usage, response.usage_source) == (Usage(15, 1, cache_read_tokens=10), "estimated")
    assert not joiner.finished
    ended = joined(joiner, [{"type": "message_delta", "delta": {"stop_reason": "x"}, "usage": {"output_tokens": 9}}])
    assert (ended.usage, ended.usage_source) == (Usage(15, 9, cache_read_tokens=10), "reported")


def test_the_output_of_a_message_that_broke_off_is_estimated() -> None:
    joiner = ANTHROPIC_MESSAGES.joiner()
    joiner.add({"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}})
    for text in ("x" * 30, "y" * 31):
        joiner.add({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
    response = joiner.response("abandoned")
    assert response is not None
    assert (response.usage, response.usage_source) == (Usage(5, 16), "estimated")
    joiner.add({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 14}})
    response = joiner.response()
    assert response is not None
    assert (response.usage, response.usage_source) == (Usage(5, 14), "reported")


def test_anthropics_other_blocks_and_citations_are_kept() -> None:
    search: dict[str, Any] = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    found: dict[str, Any] = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    cited = {"type": "char_location", "cited_text": "x"}
    events: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 0, "content_block": search},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"q":1}'}},
        {"type": "content_block_start", "index": 1, "content_block": found},
        {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "y"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation": cited}},
    ]
    content = joined(ANTHROPIC_MESSAGES.joiner(), events).message.content
    assert content == [{**search, "input": '{"q":1}'}, found, {"type": "text", "text": "y", "citations": [cited]}]


@pytest.mark.parametrize(
    ("status", "finish_reason", "outcome"),
    [
        ("completed", "completed", "completed"),
        ("failed", "failed", "error"),
        ("incomplete", "content_filter", "completed"),
    ],
)
def test_how_a_response_of_openai_ends(status: str, finish_reason: str, outcome: str) -> None:
    details = {"reason": "content_filter"} if status == "incomplete" else None
    done = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "whole"}]}
    last = {**RESPONSE, "status": status, "output": [done], "incomplete_details": details}
    events = [
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "who"},
        {"type": f"response.{status}", "response": last},
    ]
    joiner = OPENAI_RESPONSES.joiner()
    response = joined(joiner, events)
    assert joiner.finished
    assert (response.message.content, response.finish_reason, response.outcome) == ("whole", finish_reason, outcome)


def test_items_that_are_done_replace_their_deltas() -> None:
    item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "whole"}]}
    events = [
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "who"},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    response = joined(OPENAI_RESPONSES.joiner(), events)
    assert (response.message.content, response.usage_source, response.finish_reason) == ("whole", "missing", None)

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.post import Post
from tests.fuzz import targets
from tests.support.fault_server import Connection, FaultServer

STATUSES = st.one_of(st.sampled_from([200, 202, 204, 301, 400, 401, 413, 429, 500, 503]), st.integers(100, 999))
HEADER_TEXT = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40)
RETRY_AFTER = st.one_of(
    HEADER_TEXT,
    st.sampled_from(["nan", "inf", "-1", "1e400", "Wed, 21 Oct 2015 07:28:00 GMT", "Mon, 99 Foo 9999 99:99:99 -9999"]),
    st.integers().map(str),
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "retry-after": RETRY_AFTER,
        "content-type": st.sampled_from(["application/x-protobuf", "application/json", "text/html", "x"]),
    },
)
TELLING = st.text(max_size=50).map(lambda text: f"bad key {targets.SECRET} {text}".encode())


@given(STATUSES, HEADERS, st.one_of(st.binary(max_size=300), TELLING))
@settings(max_examples=200)
def test_any_answer_of_an_otlp_endpoint_is_judged(status: int, headers: Mapping[str, str], body: bytes) -> None:
    targets.otlp_answer(status, headers, body)


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Something that begins as a response over HTTP does."""
    names = st.sampled_from(["content-length", "transfer-encoding", "content-encoding", "location", "retry-after"])
    values = st.one_of(HEADER_TEXT, st.sampled_from(["chunked", "gzip", "0", "5", "-1", "99999999999999999999"]))
    headers = "".join(f"{name}: {value}\r\n" for name, value in draw(st.dictionaries(names, values)).items())
    return f"HTTP/1.1 {draw(STATUSES)} X\r\n{headers}\r\n".encode("latin-1") + draw(st.binary(max_size=100))


def test_any_bytes_of_an_otlp_endpoint_are_a_verdict() -> None:
    said = b""

    def saying(connection: Connection) -> None:
        connection.request()
        connection.send(said)
        with suppress(OSError):
            connection.socket.shutdown(socket.SHUT_WR)
        connection.close()

    with FaultServer(saying) as server:
        post = Post(HTTPDestination("otlp", server.traces_url, timeout=2.0))

        @given(st.one_of(st.binary(max_size=100), responses()))
        @settings(max_examples=100)
        def check(head: bytes) -> None:
            nonlocal said
            said = head
            verdict = post.send(b"\x0a\x00")
            assert verdict.kind in ("delivered", "retry", "rejected")

        check()
        post.close()


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.just("x" * 300)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
COMPLETION: dict[str, Any] = {
    "id": "c-1",
    "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
CHUNK: dict[str, Any] = {
    "id": "c-1",
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "assistant",
                "content": "Hi",
                "tool_calls": [
                    {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
}


Place = tuple[str | int, ...]


def places(value: Any, path: Place = ()) -> list[Place]:
    """Every place in a JSON value."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(cast("dict[str | int, Any]", value).items())
    elif isinstance(value, list):
        inner = list(enumerate(cast("list[Any]", value)))
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def with_changed(value: Any, path: Place, new: Any) -> Any:
    """The same JSON value, but for one place."""
    if not path:
        return new
    copy: Any = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copy


@st.composite
def changed(draw: st.DrawFn, value: Any) -> bytes:
    """That JSON value with something else in one place."""
    return json.dumps(with_changed(value, draw(st.sampled_from(places(value))), draw(JSON))).encode()


STREAMS = st.lists(
    st.one_of(
        changed(CHUNK).map(lambda event: b"data: " + event + b"\n\n"),
        st.sampled_from(
            [b"data: [DONE]\n\n", b": ping\n\n", b"data: {\n\n", b'data: {"error": 1}\n\n', b"\r", b"\xff"]
        ),
        st.binary(max_size=30),
    ),
    max_size=6,
).map(b"".join)
KINDS = st.sampled_from(["application/json", "text/event-stream", "text/html", ""])
COST = st.one_of(HEADER_TEXT, st.sampled_from(["nan", "inf", "-1", "1e999", "0.1"]))
LLM_HEADERS = st.fixed_dictionaries({"content-type": KINDS, "x-litellm-response-cost": COST})


@given(
    STATUSES.filter(lambda status: status >= 200), LLM_HEADERS, st.one_of(changed(COMPLETION), st.binary(max_size=60))
)
@settings(max_examples=100)
def test_any_plain_answer_of_an_llm_endpoint_is_a_response_or_an_own_error(
    status: int, headers: Mapping[str, str], body: bytes
) -> None:
    targets.llm_answer(status, headers, body, streamed=False)


@given(LLM_HEADERS, STREAMS)
@settings(max_examples=100)
def test_any_stream_of_an_llm_endpoint_is_a_response_or_an_own_error(headers: Mapping[str, str], body: bytes) -> None:
    targets.llm_answer(200, headers, body, streamed=True)

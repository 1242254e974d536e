from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets

TRACEPARENTS = st.one_of(
    st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True),
    st.sampled_from(
        [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
        ]
    ),
    st.text(max_size=80),
)
BAGGAGE = st.one_of(
    st.text(max_size=300),
    st.text(max_size=250).map(lambda value: f"session.id={value};p=1,user.id={value[::-1]}"),
    st.sampled_from(["session.id=%zz", "user.id=%ff%fe", "session.id=" + "%41" * 300, "=", ",,,;;=", "user.id"]),
)
TEXT_HEADERS = st.fixed_dictionaries(
    {}, optional={"traceparent": TRACEPARENTS, "tracestate": st.text(max_size=600), "baggage": BAGGAGE}
)
ODD: st.SearchStrategy[Any] = st.one_of(
    TEXT_HEADERS,
    TEXT_HEADERS.map(lambda headers: [(name.upper(), value) for name, value in headers.items()]),
    TEXT_HEADERS.map(lambda headers: {f"HTTP_{name.upper()}": value for name, value in headers.items()}),
    TEXT_HEADERS.map(lambda headers: [(n.encode(), v.encode("utf-8", "replace")) for n, v in headers.items()] * 2),
    st.dictionaries(
        st.one_of(st.text(max_size=12), st.integers(), st.binary(max_size=12)), st.one_of(st.none(), st.text())
    ),
    st.lists(st.one_of(st.tuples(st.text(), st.text()), st.integers(), st.lists(st.binary(), max_size=3))),
    st.one_of(st.none(), st.integers(), st.text(), st.binary()),
)


@given(ODD)
@settings(max_examples=200)
def test_any_headers_of_a_request_are_borne(headers: Any) -> None:
    targets.incoming_headers(headers)

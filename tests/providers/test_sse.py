"""Server-sent events, cut anywhere."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from looopy_otel.providers.sse import EventParser

TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1)


def parse(pieces: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + list(parser.end())


@given(st.lists(TEXTS), st.data(), st.sampled_from(["\n", "\r\n"]))
def test_events_survive_any_cut(texts: list[str], data: st.DataObject, newline: str) -> None:
    stream = "".join(f"data: {text}{newline}{newline}" for text in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(pieces) == [text.encode() for text in texts]


def test_fields_other_than_data_are_passed_over() -> None:
    assert parse([b": ping\n\nevent: x\nid: 1\nretry: 2\ndata: a\nother\n\n"]) == [b"a"]


def test_data_of_several_lines_is_one_event() -> None:
    assert parse([b"data: a\ndata:b\ndata:  c\n\n"]) == [b"a\nb\n c"]


def test_an_event_without_its_empty_line_counts_at_the_end() -> None:
    assert parse([b"data: a\n\ndata: b\n"]) == [b"a", b"b"]
    assert parse([b"data: a\n\ndata: b"]) == [b"a", b"b"]

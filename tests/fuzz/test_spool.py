from __future__ import annotations

import gzip

from hypothesis import example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

from tests.export.spans import finished
from tests.fuzz import targets

MESSAGE = encode_spans(
    [finished(f"span {n}", {"gen_ai.input.messages": "x" * 50, "n": n}) for n in range(5)]
).SerializeToString()
REAL = st.sampled_from([MESSAGE, MESSAGE + MESSAGE, gzip.compress(MESSAGE, 1), gzip.compress(MESSAGE) * 2])

DIRECTORIES = st.one_of(
    st.just(targets.DEAD),
    st.from_regex(r"\d{1,10}-\d{1,20}(@[0-9a-f]{12})?\.\d{1,10}", fullmatch=True),
    st.sampled_from(["rejected", "usage", ".", "..", f"{targets.DEAD}/deeper", "0-0.0", "-1-1.1"]),
    st.text(min_size=1, max_size=20),
)
NAMES = st.one_of(
    st.from_regex(r"\d{1,20}(\.[12]){0,3}-\d{1,9}\.otlp(\.tmp)?", fullmatch=True),
    st.sampled_from(["0000000001-4.otlp", "0000000001-999999999.otlp", "usage", "1-1.otlp/", "-.otlp", "٣٣-٣.otlp"]),
    st.text(min_size=1, max_size=20),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Something real, with bytes changed, cut out and put in."""
    body = bytearray(draw(REAL))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["change", "cut", "insert", "end"])):
            case "change" if place < len(body):
                body[place] = draw(st.integers(0, 255))
            case "cut":
                del body[place : place + draw(st.integers(1, 40))]
            case "insert":
                body[place:place] = draw(st.binary(max_size=20))
            case _:
                del body[place:]
    return bytes(body)


BODIES = st.one_of(mutated(), st.binary(max_size=200), st.just(b""))


@given(BODIES)
@example(gzip.compress(b"\x0a\x00" * 10))
@settings(max_examples=200)
def test_any_body_is_a_batch_or_is_refused(body: bytes) -> None:
    targets.encoded_batch(body)


@given(st.lists(st.tuples(DIRECTORIES, NAMES, BODIES), max_size=6))
@settings(max_examples=100)
def test_anything_in_a_spool_is_borne(files: list[tuple[str, str, bytes]]) -> None:
    targets.spool(files)

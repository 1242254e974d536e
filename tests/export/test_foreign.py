"""What users and other libraries set on spans arrives as it was meant, whatever it is."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import Span, SpanContext, get_current_span

import looopy_otel as lo
from looopy_otel.core.settings import Dialect
from looopy_otel.export.foreign import foreign_attributes
from tests.support.otlp_sink import OTLPSink
from tests.support.spans import Span as SentSpan

ODD: dict[str, Any] = {
    "none": None,
    "no list": [],
    "no dict": {},
    "text": "half an emoji \ud83d",
    "pair": "\ud83d\ude80",
    "int": 2**63 - 1,
    "huge": 2**64,
    "bytes": b"\x00\x01\x02",
    "list": ["a", "b\ud800"],
    "numbers": [1, 2],
    "mixed": ["a", 1, None],
    "with huge": [1, 2**70],
    "nested": {"a": {"b": [1, None]}, "c\ud800": "\ud800", "d": 2**70},
    "key \ud800": True,
    "nan": math.nan,
}
PLAIN: dict[str, Any] = {
    "text": "half an emoji \ufffd",
    "pair": "🚀",
    "int": 2**63 - 1,
    "huge": str(2**64),
    "bytes": "<3 bytes>",
    "list": ["a", "b\ufffd"],
    "numbers": [1, 2],
    "mixed": '["a",1,null]',
    "with huge": f'[1,"{2**70}"]',
    "nested": '{"a":{"b":[1,null]},"c\ufffd":"\ufffd","d":"' + str(2**70) + '"}',
    "key \ufffd": True,
    "nan": "nan",
}


def test_values_become_what_every_backend_can_show() -> None:
    assert foreign_attributes(ODD, dict) == PLAIN
    assert foreign_attributes(None, dict) == {}


def test_structures_pass_the_gate_as_structures() -> None:
    seen: list[Any] = []

    def redact(attributes: Any) -> Any:
        seen.append(attributes["nested"])
        return {"nested": {"password": "***"}}

    assert foreign_attributes({"nested": {"password": "x", "raw": b"x"}}, redact) == {"nested": '{"password":"***"}'}
    assert seen == [{"password": "x", "raw": "<1 bytes>"}]


def test_a_structure_without_a_bottom_ends() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert "…" in str(foreign_attributes({"deep": deep}, dict)["deep"])


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as sink:
        yield sink


def set_everywhere(span: Span) -> None:
    span.set_attributes(ODD)
    span.add_event("event \ud800", ODD)
    span.add_link(SpanContext(1, 2, is_remote=False), ODD)


def sent(sink: OTLPSink, tmp_path: Path, dialect: Dialect, capture: Any) -> dict[str, SentSpan]:
    with lo.configure(
        exporters="otlp", otlp_endpoint=sink.url, spool_directory=tmp_path, dialects={"otlp": dialect}, capture=capture
    ) as telemetry:
        tracer = telemetry.tracer("scope \ud800")
        with tracer.start_as_current_span("theirs \ud800") as span:
            set_everywhere(span)
        with lo.span("ours \ud800"):
            set_everywhere(get_current_span())
        assert telemetry.flush(20.0).exported == 2
    return {span.name: span for span in sink.spans}


@pytest.mark.parametrize("capture", ["full", "redacted"])
@pytest.mark.parametrize("dialect", ["langfuse", "genai", "seed"])
def test_on_the_wire_nothing_is_lost_nested_or_without_a_value(
    sink: OTLPSink, tmp_path: Path, dialect: Dialect, capture: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        spans = sent(sink, tmp_path, dialect, capture)
    assert set(spans) == {"theirs \ufffd", "ours \ufffd"}
    for span in spans.values():
        assert PLAIN.items() <= span.attributes.items()
        (event,) = span.events
        assert (event.name, event.attributes) == ("event \ufffd", PLAIN)
        (link,) = span.links
        assert link.attributes == PLAIN
    assert caplog.text == ""

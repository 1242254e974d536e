"""A refused batch loses its bad span, not the others."""

from __future__ import annotations

import gzip
import logging
import random
import string
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from looopy_otel.core.semconv import CONTENT_SHED, GEN_AI_INPUT_MESSAGES, SESSION_ID
from looopy_otel.export.backoff import Backoff
from looopy_otel.export.batch import Batch
from looopy_otel.export.bisection import REFUSED_IN_A_ROW, Bisection
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.otlp import OTLPExporter
from looopy_otel.export.spool import flush_spool
from tests.export.patience import soon
from tests.export.spans import destination, finished, outgoing, rejected_files, spooled_files
from tests.support.otlp_sink import Answer, OTLPSink
from tests.support.spans import Span, decode

QUICK = Backoff(first=0.01, most=0.05)


def named(*bad: str) -> Callable[[Span], bool]:
    return lambda span: span.name in bad


NONE = named()


class PickySink(OTLPSink):
    """Refuses every request that holds a bad span, or is too large."""

    def __init__(self, status: int, is_bad: Callable[[Span], bool] = NONE, limit: int = 1 << 30) -> None:
        super().__init__()
        self._refusal = status
        self._is_bad = is_bad
        self._limit = limit

    def take(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        spans = decode(ExportTraceServiceRequest.FromString(gzip.decompress(body)))
        refused = len(body) > self._limit or any(map(self._is_bad, spans))
        self.answer(then=Answer(self._refusal if refused else 200))
        return super().take(method, path, headers, body)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[[str], OTLPExporter]]:
    built: list[OTLPExporter] = []

    def make(url: str) -> OTLPExporter:
        exporter = OTLPExporter(destination(url), tmp_path, backoff=QUICK)
        built.append(exporter)
        return exporter

    yield make
    for exporter in built:
        exporter.close(time.monotonic())


Build = Callable[[str], OTLPExporter]
NAMES = [f"span-{number}" for number in range(200)]


def test_one_bad_span_among_many_is_the_only_one_lost(tmp_path: Path, build: Build) -> None:
    with PickySink(400, named("span-77")) as sink:
        exporter = build(sink.traces_url)
        spans = outgoing(*NAMES)
        exporter.accept(spans)
        assert exporter.flush(soon())
        assert sink.span_names == [name for name in NAMES if name != "span-77"]
        sent = {one.span.name: one.span for one in spans}
        for span in sink.spans:
            context = sent[span.name].context
            assert context is not None
            assert (span.span_id, span.start, span.end) == (
                f"{context.span_id:016x}",
                sent[span.name].start_time,
                sent[span.name].end_time,
            )
            assert (span.resource["service.name"], span.scope) == ("shop", "looopy_otel")
        stats = exporter.stats()
        assert (stats.exported, stats.dropped, stats.spooled) == (199, {"http-400": 1}, 0)
        assert len(sink.requests) < 20
    assert len(rejected_files(tmp_path)) == 1
    assert spooled_files(tmp_path) == []


def test_several_bad_spans_side_by_side_at_the_beginning_cost_no_good_one(build: Build) -> None:
    bad = NAMES[:4]
    with PickySink(400, named(*bad)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing(*NAMES))
        assert exporter.flush(soon())
        assert sink.span_names == NAMES[4:]
        assert exporter.stats().dropped == {"http-400": 4}


@pytest.mark.parametrize("every", [2, 3, 7])
def test_bad_spans_all_over_cost_no_good_one_and_not_much_more_than_two_requests_each(build: Build, every: int) -> None:
    bad = NAMES[::every]
    with PickySink(400, named(*bad)) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing(*NAMES))
        assert exporter.flush(soon())
        assert sink.span_names == [name for name in NAMES if name not in bad]
        assert exporter.stats().dropped == {"http-400": len(bad)}
        assert len(sink.requests) < 2 * len(NAMES)


def test_an_endpoint_that_refuses_everything_is_not_asked_for_every_span(build: Build) -> None:
    with OTLPSink() as sink:
        sink.answer(then=Answer(400))
        exporter = build(sink.traces_url)
        for _ in range(10):
            exporter.accept(outgoing(*NAMES))
        assert exporter.flush(soon())
        assert exporter.stats().dropped == {"http-400": 2000}
        assert len(sink.requests) < 70
        sink.answer()
        exporter.accept(outgoing("good"))
        assert exporter.flush(soon())
    with PickySink(400, named("span-3")) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing(*NAMES))
        assert exporter.flush(soon())
        assert exporter.stats().dropped == {"http-400": 1}


def long(name: str, size: int) -> Outgoing:
    noise = "".join(random.Random(1).choices(string.ascii_letters, k=size))
    return Outgoing(finished(name, {GEN_AI_INPUT_MESSAGES: noise, SESSION_ID: "s-1"}))


def test_batches_that_are_too_large_go_in_parts(build: Build) -> None:
    with PickySink(413, limit=6000) as sink:
        exporter = build(sink.traces_url)
        exporter.accept(outgoing(*NAMES * 10))
        assert exporter.flush(soon())
        assert sink.span_names == NAMES * 10
        assert exporter.stats().dropped == {}


def test_a_span_that_is_too_large_goes_without_its_content(tmp_path: Path, build: Build) -> None:
    with PickySink(413, limit=3000) as sink:
        exporter = build(sink.traces_url)
        exporter.accept([*outgoing("one"), long("large", 200_000), *outgoing("three")])
        assert exporter.flush(soon())
        assert sink.span_names == ["one", "large", "three"]
        assert sink.spans[1].attributes == {SESSION_ID: "s-1", CONTENT_SHED: True}
        stats = exporter.stats()
        assert (stats.exported, stats.dropped, stats.content_shed) == (3, {}, {"http-413": 1})
    assert rejected_files(tmp_path) == []


def test_a_span_that_is_too_large_without_content_is_set_aside(tmp_path: Path, build: Build) -> None:
    with PickySink(413, named("large")) as sink:
        exporter = build(sink.traces_url)
        exporter.accept([*outgoing("one"), long("large", 2000)])
        assert exporter.flush(soon())
        assert sink.span_names == ["one"]
        stats = exporter.stats()
        assert (stats.dropped, stats.content_shed) == ({"http-413": 1}, {})
    assert len(rejected_files(tmp_path)) == 1


def test_what_wrong_settings_had_set_aside_is_delivered_when_asked_for(
    tmp_path: Path, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    with OTLPSink(Answer(401), Answer(401)) as sink, caplog.at_level(logging.WARNING, "looopy_otel"):
        exporter = build(sink.traces_url)
        for name in ("one", "two"):
            exporter.accept(outgoing(name))
            assert exporter.flush(soon())
        assert "spool flush --rejected" in caplog.text
        assert flush_spool(destination(sink.traces_url), tmp_path, soon()).result.exported == 0
        delivered = flush_spool(destination(sink.traces_url), tmp_path, soon(), rejected=True)
        assert (delivered.result.exported, delivered.result.dropped) == (2, 0)
        assert sink.span_names == ["one", "two"]
    assert rejected_files(tmp_path) == []


def single(sequence: int) -> Batch:
    return Batch(sequence, 1, 10)


def test_a_batch_of_which_something_was_accepted_is_searched_to_its_end() -> None:
    bisection = Bisection()
    bisection.accepted(single(1))
    for _ in range(REFUSED_IN_A_ROW):
        bisection.refused(single(1))
    assert bisection.allows(replace(single(1), spans=512))
    assert not bisection.allows(replace(single(2), spans=512))
    assert not bisection.allows(single(1))


def test_single_spans_that_are_refused_end_the_search_until_something_is_accepted() -> None:
    bisection = Bisection()
    two = replace(single(1), spans=2)
    for number in range(REFUSED_IN_A_ROW):
        assert bisection.allows(two)
        bisection.refused(single(number))
    assert not bisection.allows(two)
    bisection.accepted(single(99))
    assert bisection.allows(two)

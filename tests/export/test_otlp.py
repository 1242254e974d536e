from __future__ import annotations

from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from looopy_otel.core.settings import ConsoleDestination, CustomDestination, HTTPDestination, LocalDestination
from looopy_otel.export.otlp import BATCH_BYTES, destination_key, encoded_batches
from tests.export.spans import built, destination, finished


def names(body: bytes) -> list[str]:
    message = ExportTraceServiceRequest.FromString(body)
    return [span.name for resource in message.resource_spans for scope in resource.scope_spans for span in scope.spans]


def no_loss(error: Exception) -> None:
    raise AssertionError(error)


def test_spans_keep_their_order_their_resource_and_their_scope() -> None:
    spans = [finished(f"span-{number}", {"n": number}) for number in range(100)]
    ((body, count),) = encoded_batches(spans, no_loss)
    assert count == 100
    assert names(body) == [span.name for span in spans]
    message = ExportTraceServiceRequest.FromString(body)
    resources = {str(resource.resource.attributes) for resource in message.resource_spans}
    scopes = {scope.scope.name for resource in message.resource_spans for scope in resource.scope_spans}
    assert (len(resources), scopes) == (1, {"looopy_otel"})


def test_large_batches_are_split_by_bytes_and_nothing_is_lost() -> None:
    spans = [finished(f"span-{number}", {"text": "ü" * 60_000}) for number in range(20)]
    batches = list(encoded_batches(spans, no_loss, limit=500_000))
    assert all(len(body) <= 500_000 for body, _ in batches)
    assert [name for body, _ in batches for name in names(body)] == [span.name for span in spans]
    assert [count for _, count in batches] == [len(names(body)) for body, _ in batches]
    assert len(batches) > 1


def test_a_span_larger_than_the_limit_goes_alone() -> None:
    spans = [finished("small"), finished("large", {"text": "x" * 200_000}), finished("last")]
    assert [names(body) for body, _ in encoded_batches(spans, no_loss, limit=1000)] == [["small"], ["large"], ["last"]]


def test_a_span_that_cannot_be_encoded_costs_no_other() -> None:
    lost: list[Exception] = []
    spans = [finished("one"), finished("lone surrogate \ud800"), finished("three")]
    ((body, count),) = encoded_batches(spans, lost.append)
    assert names(body) == ["one", "three"]
    assert (count, len(lost)) == (2, 1)


def test_the_directory_of_a_destination_tells_no_secret() -> None:
    key = destination_key(destination("https://u:password1@example.com/v1/traces", headers={"x-key": "topsecret"}))
    assert key.startswith("otlp-")
    assert "secret" not in key
    assert "password1" not in key
    assert key != destination_key(destination("https://example.com/v1/traces", headers={"x-key": "another"}))


def test_every_kind_of_destination_is_built_without_touching_anything(tmp_path: Path) -> None:
    class Exporter:
        def export(self, spans: object) -> None: ...

        def shutdown(self) -> None: ...

    kinds = (
        HTTPDestination("langfuse", "http://127.0.0.1:1/v1/traces", dialects=("langfuse",)),
        LocalDestination(tmp_path / "data" / "traces.db"),
        ConsoleDestination(),
        CustomDestination(Exporter(), name="Exporter"),
    )
    exporters = [built(kind, tmp_path / "spool") for kind in kinds]
    assert [(one.name, one.dialects) for one in exporters] == [
        ("langfuse", ("langfuse",)),
        ("local", ()),
        ("console", ("seed",)),
        ("Exporter", ("genai", "langfuse", "seed")),
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_huge_span_travels_alone_and_lists_count_as_well_as_text() -> None:
    listed = [finished("listed", {"list": ["x" * 1000] * 1000}) for _ in range(10)]
    spans = [*listed, finished("small"), finished("huge", {"text": "x" * 6_000_000}), finished("small")]
    lost: list[Exception] = []
    batches = list(encoded_batches(spans, lost.append))
    assert [count for _, count in batches] == [4, 4, 3, 1, 1]
    assert [len(body) > BATCH_BYTES for body, _ in batches] == [False, False, False, True, False]
    assert lost == []

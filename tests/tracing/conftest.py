"""A running configuration with an exporter in memory, handed in as any user could."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo


@dataclass
class Recorded:
    """What reached a handed-in exporter."""

    telemetry: lo.Telemetry
    exporter: InMemorySpanExporter

    def spans(self) -> list[ReadableSpan]:
        """All spans so far, in the order in which they ended."""
        self.telemetry.flush()
        return list(self.exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """The one span of that name."""
        (found,) = [span for span in self.spans() if span.name == name]
        return found

    def parent_name(self, name: str) -> str | None:
        """Name of the parent of the one span of that name, or None for a root."""
        child = self.span(name)
        parents = {span.context.span_id: span.name for span in self.spans() if span.context}
        return None if child.parent is None else parents.get(child.parent.span_id, "foreign")


def attributes(span: ReadableSpan) -> dict[str, object]:
    """The span's attributes as a plain dict."""
    return dict(span.attributes or {})


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter, capture="full", environment="test", release="r1") as telemetry:
        yield Recorded(telemetry, exporter)

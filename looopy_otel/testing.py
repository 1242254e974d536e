"""The public test kit: see what your agent traces, in memory, in a test of your own.

::

    from looopy_otel.testing import capture_spans

    def test_the_agent_uses_its_tool():
        with capture_spans() as captured:
            agent.run("What is 6 times 7?")
        assert captured.outline() == [
            "agent.execute",
            "  agent.iteration",
            "    llm.call",
            "    tool.execute",
            "  agent.iteration",
            "    llm.call",
        ]
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from looopy_otel.core.guard import guard
from looopy_otel.core.settings import Capture, Dialect
from looopy_otel.telemetry import Telemetry, configure

__all__ = ("CapturedSpans", "capture_spans")


class CapturedSpans:
    """What was traced inside `capture_spans`.

    Attributes:
        telemetry: The running configuration.
    """

    def __init__(self, telemetry: Telemetry, exporter: InMemorySpanExporter) -> None:
        self.telemetry = telemetry
        self._exporter = exporter

    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended so far, in the order of their starts."""
        self.telemetry.flush()
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def span(self, name: str) -> ReadableSpan:
        """The one span of that name.

        Raises:
            LookupError: If there is none, or more than one.
        """
        found = [span for span in self.spans() if span.name == name]
        if len(found) != 1:
            raise LookupError(f"{len(found)} spans are called {name!r}; there are: {[s.name for s in self.spans()]}")
        return found[0]

    def attributes(self, name: str) -> dict[str, Any]:
        """The attributes of the one span of that name."""
        return dict(self.span(name).attributes or {})

    def outline(self) -> list[str]:
        """The trees, a line per span in the order of their starts, children indented by two blanks."""
        spans = self.spans()
        known = {_span_id(span) for span in spans}
        roots = [span for span in spans if span.parent is None or span.parent.span_id not in known]
        return [line for root in roots for line in _lines(root, spans, 0)]


@contextmanager
def capture_spans(
    *, capture: Capture = "full", dialects: Sequence[Dialect] = ("genai", "langfuse", "seed")
) -> Generator[CapturedSpans]:
    """Traces into memory, and raises the faults of this library instead of swallowing them.

    Args:
        capture: What is recorded of content.
        dialects: What the spans carry.

    Yields:
        What is traced inside; it can still be read after the block.
    """
    exporter = InMemorySpanExporter()
    before, guard.raising = guard.raising, True
    try:
        with configure(
            exporters=exporter,
            capture=capture,
            dialects={type(exporter).__name__: tuple(dialects)},
            metrics="none",
        ) as telemetry:
            yield CapturedSpans(telemetry, exporter)
    finally:
        guard.raising = before


def _span_id(span: ReadableSpan) -> int:
    return span.context.span_id if span.context else 0


def _lines(span: ReadableSpan, spans: Sequence[ReadableSpan], depth: int) -> Iterator[str]:
    yield "  " * depth + span.name
    for child in spans:
        if child.parent is not None and child.parent.span_id == _span_id(span):
            yield from _lines(child, spans, depth + 1)

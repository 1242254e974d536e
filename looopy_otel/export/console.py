"""Standard error as a destination, for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from looopy_otel.core.settings import ConsoleDestination, Dialect
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.tally import Tally

VALUE_CHARACTERS = 300


class ConsoleExporter:
    """Prints one short block per span: name, duration, status, ids, then one attribute a line, long values cut."""

    def __init__(self, destination: ConsoleDestination) -> None:
        self.name: str = destination.name
        self.dialects: tuple[Dialect, ...] = destination.dialects
        self._tally = Tally(destination.name)

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Prints a batch; a closed standard error is counted."""
        text = "".join(f"{line}\n" for outgoing in spans for line in block(outgoing.span))
        try:
            # Looked up at each batch: tests and notebooks exchange it.
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError) as error:
            self._tally.failed(f"standard error cannot be written: {error}")
            self._tally.dropped("console", len(spans))
        else:
            self._tally.exported(len(spans))

    def flush(self, deadline: float) -> bool:
        """Nothing waits here."""
        return True

    def close(self, deadline: float) -> None:
        """Nothing to let go of."""

    def stats(self) -> DestinationStats:
        """How much was printed."""
        return self._tally.stats()


def block(span: ReadableSpan) -> Iterator[str]:
    """The lines of one span."""
    seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
    status = "" if span.status.is_ok else f"  ERROR {_short(span.status.description or '')}".rstrip()
    yield f"{span.name}  {seconds:.3f} s{status}"
    if span.context is not None:
        parent = f"  parent {format_span_id(span.parent.span_id)}" if span.parent is not None else ""
        yield f"  trace {format_trace_id(span.context.trace_id)}  span {format_span_id(span.context.span_id)}{parent}"
    for key, value in (span.attributes or {}).items():
        yield f"  {key} = {_short(value)}"


def _short(value: Any) -> str:
    text = str(value)
    text = "".join(character if character.isprintable() else " " for character in text[: VALUE_CHARACTERS + 1])
    return text if len(text) <= VALUE_CHARACTERS else text[:VALUE_CHARACTERS] + "…"

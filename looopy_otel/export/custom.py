"""A user's own `SpanExporter` as a destination."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from looopy_otel.core.guard import guard
from looopy_otel.core.settings import CustomDestination, Dialect
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.deadline import remaining, run_until
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.tally import Tally


class CustomExporter:
    """Calls the exporter on its own thread (see `Detached`); what it raises or refuses is counted."""

    def __init__(self, destination: CustomDestination) -> None:
        self.name: str = destination.name
        self.dialects: tuple[Dialect, ...] = destination.dialects
        self._exporter: SpanExporter = destination.exporter
        self._tally = Tally(destination.name)
        self._closed = False

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Hands the rendered spans on."""
        if self._closed:
            self._tally.dropped("after-shutdown", len(spans))
            return
        result: SpanExportResult | None = None
        try:
            with guard(f"export.{self.name}"):
                result = self._exporter.export([outgoing.span for outgoing in spans])
        finally:
            if result is SpanExportResult.SUCCESS:
                self._tally.exported(len(spans))
            else:
                what = "raised an exception" if result is None else "answered that it failed"
                self._tally.failed(f"{self.name}.export() {what}")
                self._tally.dropped("exporter", len(spans))

    def flush(self, deadline: float) -> bool:
        """Asks the exporter to flush, for as long as `deadline` allows."""
        if remaining(deadline) <= 0:
            return False
        return run_until(deadline, lambda: self._flush(int(remaining(deadline) * 1000)))

    def close(self, deadline: float) -> None:
        """Shuts the exporter down, for as long as `deadline` allows."""
        self._closed = True
        run_until(deadline, self._shutdown)

    def stats(self) -> DestinationStats:
        """How the exporter did."""
        return self._tally.stats()

    def _flush(self, milliseconds: int) -> None:
        # An exporter is often a class with the two methods that matter; the SDK asks for no more either.
        force_flush = getattr(self._exporter, "force_flush", None)
        if force_flush is not None:
            with guard(f"export.{self.name}"):
                force_flush(milliseconds)

    def _shutdown(self) -> None:
        with guard(f"export.{self.name}"):
            self._exporter.shutdown()

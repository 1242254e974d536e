"""The store on this machine as a destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from looopy_otel.core.errors import StoreError
from looopy_otel.core.settings import Dialect, LocalDestination
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.tally import Tally
from looopy_otel.store.span import StoredSpan
from looopy_otel.store.sqlite import Store


class LocalExporter:
    """Writes spans and drafts to the SQLite store, on the worker's thread."""

    dialects: tuple[Dialect, ...] = ()

    def __init__(self, destination: LocalDestination) -> None:
        self._path: Path = destination.path
        self._tally = Tally(destination.name)
        self._store: Store | None = None
        self.name: str = destination.name

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Inserts a batch in one transaction; what cannot be written is counted and told in the stats."""
        try:
            if self._store is None:
                self._store = Store(self._path)
            self._store.insert([stored_span(outgoing) for outgoing in spans])
        except StoreError as error:
            self._lose("store", spans, error)
        except (TypeError, ValueError) as error:
            if len(spans) == 1:
                self._lose("unstorable", spans, error)
            else:
                # One span holds what JSON or UTF-8 cannot say: the others shall not pay for it.
                for outgoing in spans:
                    self.accept([outgoing])
        else:
            self._tally.exported(len(spans))

    def flush(self, deadline: float) -> bool:
        """Nothing waits here."""
        return True

    def close(self, deadline: float) -> None:
        """Closes the store."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def stats(self) -> DestinationStats:
        """The store's health."""
        return self._tally.stats()

    def _lose(self, reason: str, spans: Sequence[Outgoing], error: Exception) -> None:
        self._tally.failed(str(error))
        self._tally.dropped(reason, len(spans))


def stored_span(outgoing: Outgoing) -> StoredSpan:
    """Builds what the store keeps of a span.

    Raises:
        ValueError: If the span has no context.
    """
    span = outgoing.span
    if span.context is None:
        raise ValueError("a span without a context cannot be stored")
    start_time = span.start_time or 0
    return StoredSpan(
        trace_id=format_trace_id(span.context.trace_id),
        span_id=format_span_id(span.context.span_id),
        parent_id=format_span_id(span.parent.span_id) if span.parent is not None else None,
        name=span.name,
        kind=span.kind.name,
        start_time=start_time,
        end_time=span.end_time or start_time,
        status=span.status.status_code.name,
        status_message=span.status.description,
        scope=span.instrumentation_scope.name if span.instrumentation_scope else "",
        attributes=_plain(span.attributes),
        events=_events(span),
        links=_links(span),
        resource=_plain(span.resource.attributes),
        draft=outgoing.draft,
    )


def _events(span: ReadableSpan) -> list[Mapping[str, Any]]:
    return [
        {"name": event.name, "time": event.timestamp, "attributes": _plain(event.attributes)} for event in span.events
    ]


def _links(span: ReadableSpan) -> list[Mapping[str, Any]]:
    return [
        {
            "trace_id": format_trace_id(link.context.trace_id),
            "span_id": format_span_id(link.context.span_id),
            "attributes": _plain(link.attributes),
        }
        for link in span.links
    ]


def _plain(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        key: list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
        for key, value in (attributes or {}).items()
    }

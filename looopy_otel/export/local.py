"""The store on this machine as a destination."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

import orjson
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from looopy_otel.core.draft import draft_from_json, draft_to_json
from looopy_otel.core.errors import StoreError, StoreLockedError
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.settings import DEFAULT_MEMORY_LIMIT, Dialect, LocalDestination
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.deadline import remaining
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.queue import LIGHT_BYTES
from looopy_otel.export.shed_content import LONGEST_KEPT, MOST_KEPT, light_attributes, light_draft, without_long
from looopy_otel.export.tally import Tally
from looopy_otel.store.rows import Row, row_bytes, row_from_span
from looopy_otel.store.span import StoredSpan
from looopy_otel.store.sqlite import Store

PATIENCE: Final = 0.2
"""Seconds that one try waits while another process has the store locked."""

MOST: Final = 8
"""Into how many shares the memory goes, of which one is kept for rows that wait for the lock, beside the queue's."""

_ROWS_AT_ONCE: Final = 512
_PAUSE: Final = 0.01


class LocalExporter:
    """Writes spans and drafts to the SQLite store, on a thread of its own (see `Detached`).

    While another process has the store locked, spans wait in memory; each further batch, a flush and the close try
    again. Over a share of the memory first the content of the oldest ones is shed, then spans.

    Args:
        destination: The store's file.
        memory: Counts what waits; by default a count of its own.
    """

    dialects: tuple[Dialect, ...] = ()

    def __init__(self, destination: LocalDestination, memory: MemoryBudget | None = None) -> None:
        self._path: Path = destination.path
        self._memory = memory or MemoryBudget(DEFAULT_MEMORY_LIMIT)
        self._tally = Tally(destination.name)
        self._store: Store | None = None
        self._closed = False
        self.name: str = destination.name
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._writing = threading.Lock()
        self._rows: deque[Row] = deque()
        self._bytes = 0
        self._light = 0
        self._arriving = 0

    def accept(self, spans: Sequence[Outgoing]) -> None:
        """Inserts a batch in one transaction; what cannot be written is counted and told in the stats."""
        with self._writing:
            self._arriving = len(spans)
            try:
                for outgoing in spans:
                    self._keep(outgoing)
                self._write(math.inf)
                self._shed_excess()
            finally:
                self._arriving = 0
        if self._closed:
            self._finish(time.monotonic())

    def flush(self, deadline: float) -> bool:
        """Writes what waits for the lock, until `deadline`."""
        while self._rows and remaining(deadline) > 0:
            self._try(deadline)
        return not self._rows

    def close(self, deadline: float) -> None:
        """Writes what waits for the lock, until `deadline`, drops the rest and closes the store."""
        self._closed = True
        self.flush(deadline)
        self._finish(deadline)

    def stats(self) -> DestinationStats:
        """The store's health."""
        # What is still arriving is counted by the worker, in whose hands it is.
        return self._tally.stats(queued=max(0, len(self._rows) - self._arriving))

    def _keep(self, outgoing: Outgoing) -> None:
        try:
            row = row_from_span(stored_span(outgoing))
        except (TypeError, ValueError) as error:
            self._lose("unstorable", 1, error)
        else:
            self._rows.append(row)
            self._hold(row_bytes(row))

    def _try(self, deadline: float) -> None:
        """Writes once, and then lets the worker have its turn."""
        if self._writing.acquire(timeout=remaining(deadline)):
            try:
                self._write(deadline)
            finally:
                self._writing.release()
        if self._rows:
            time.sleep(min(_PAUSE, remaining(deadline)))

    def _write(self, deadline: float) -> None:
        """Inserts what waits until it finds the store locked, or `deadline`. Called by whoever is writing."""
        while self._rows:
            rows = list(islice(self._rows, _ROWS_AT_ONCE))
            try:
                self._insert(rows, time.monotonic() + min(PATIENCE, remaining(deadline)))
            except StoreLockedError as error:
                self._tally.failed(str(error))
                return
            except StoreError as error:
                self._lose("store", len(rows), error)
            else:
                self._tally.exported(len(rows))
            self._take_out(len(rows))
            if time.monotonic() >= deadline:
                return

    def _insert(self, rows: Sequence[Row], deadline: float) -> None:
        if self._store is None:
            self._store = Store(self._path, patience=remaining(deadline))
        self._store.insert_rows(rows, patience=remaining(deadline))

    def _finish(self, deadline: float) -> None:
        """Tries a last time and closes; where another thread is writing beyond `deadline`, that one does it."""
        if not self._writing.acquire(timeout=remaining(deadline)):
            return
        try:
            self._write(deadline)
            if self._rows:
                self._tally.dropped("shutdown", len(self._rows))
                self._take_out(len(self._rows))
            store, self._store = self._store, None
            if store is not None:
                store.close()
        finally:
            self._writing.release()

    def _shed_excess(self) -> None:
        light = dropped = 0
        while self._bytes > self._memory.limit // MOST and self._rows:
            if self._light < len(self._rows):
                light += self._lighten(self._light)
                self._light += 1
            else:
                self._take_out(1)
                dropped += 1
        if light:
            self._tally.content_shed("memory-full", light)
        if dropped:
            self._tally.dropped("memory-full", dropped)

    def _lighten(self, index: int) -> bool:
        """Takes the content from one of the rows; false where it has none to speak of."""
        row = self._rows[index]
        if row_bytes(row) <= LIGHT_BYTES:
            return False
        self._rows[index] = light = _without_content(row)
        self._hold(row_bytes(light) - row_bytes(row))
        return True

    def _take_out(self, rows: int) -> None:
        for _ in range(rows):
            self._hold(-row_bytes(self._rows.popleft()))
        self._light = max(0, self._light - rows)

    def _hold(self, size: int) -> None:
        self._bytes += size
        self._memory.take(size)

    def _lose(self, reason: str, spans: int, error: Exception) -> None:
        self._tally.failed(str(error))
        self._tally.dropped(reason, spans)


def _without_content(row: Row) -> Row:
    attributes: Mapping[str, Any] = light_attributes(_loaded(row["attributes"]))
    parts = {column: [_light_part(part) for part in _loaded(row[column])[:MOST_KEPT]] for column in ("events", "links")}
    draft = row["draft"]
    if draft is not None:
        draft = draft_to_json(light_draft(draft_from_json(draft))).decode()
    return {
        **row,
        "name": row["name"][:LONGEST_KEPT],
        "status_message": (row["status_message"] or "")[:LONGEST_KEPT] or None,
        "attributes": orjson.dumps(attributes).decode(),
        **{column: orjson.dumps(light).decode() for column, light in parts.items()},
        "draft": draft,
    }


def _loaded(text: str) -> Any:
    return orjson.loads(text)


def _light_part(part: dict[str, Any]) -> dict[str, Any]:
    """An event or a link."""
    texts = {key: value[:LONGEST_KEPT] for key, value in part.items() if isinstance(value, str)}
    return {**part, **texts, "attributes": without_long(part["attributes"])}


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

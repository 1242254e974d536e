"""The exporter behind the SDK's batch processor: redacts, prices, measures and renders each span, and hands it on."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from looopy_otel.core.draft import Draft, LLMDraft
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.semconv import EXCEPTION_EVENT, EXCEPTION_MESSAGE, EXCEPTION_TYPE, METRIC_UNPRICED_CALLS
from looopy_otel.core.settings import Dialect
from looopy_otel.core.text import valid_text
from looopy_otel.export.destination import DestinationExporter, Outgoing
from looopy_otel.export.drafted import DraftedSpan
from looopy_otel.export.foreign import foreign_attributes, valid_scope
from looopy_otel.export.metrics import Metering
from looopy_otel.export.run_costs import RunCosts

logger = logging.getLogger("looopy_otel")

SLICE_SECONDS: Final = 0.0005
"""How long the worker keeps the interpreter lock at a stretch, as far as single spans allow."""

LATE_SECONDS: Final = 0.2
"""How long a span that goes its whole way on its caller's thread waits for a destination that is busy with others."""

WARNED_MODELS: Final = 100
"""How many models without a price are warned of, one by one."""

_FOR_EVER: Final = -1.0
NOTHING: Final[Mapping[str, AttributeValue]] = {}
Render = Callable[[Draft, Sequence[Dialect]], Mapping[str, AttributeValue]]


class Worker(SpanExporter):
    """Takes batches on the batch processor's thread. Does no network I/O and raises nothing.

    Args:
        redact: Gives the draft past the gate.
        redact_attributes: Gives attributes, of whoever's making, past the gate.
        redact_text: Gives a text past the gate.
        redact_name: Gives a span's or an event's name past the gate.
        price: Gives the draft with its cost.
        render: Gives a draft's attributes in some dialects.
        is_own: True for the keys that were set from the draft's own facts at the start of a span; the rendering
            sets them again.
        destinations: Where every span goes.
        metering: Measures every operation, whether or not its span is sampled; None where nothing is measured.
    """

    def __init__(
        self,
        *,
        redact: Callable[[Draft], Draft],
        redact_attributes: Callable[[Mapping[str, Any]], dict[str, Any]],
        redact_text: Callable[[str], str],
        redact_name: Callable[[str], str],
        price: Callable[[Draft], Draft],
        render: Render,
        is_own: Callable[[str], bool],
        destinations: Sequence[DestinationExporter],
        metering: Metering | None = None,
    ) -> None:
        self._redact = redact
        self._redact_attributes = redact_attributes
        self._redact_text = redact_text
        self._redact_name = redact_name
        self._price = price
        self._render = render
        self._is_own = is_own
        self._metering = metering
        self._groups: dict[tuple[Dialect, ...], list[DestinationExporter]] = {}
        for destination in destinations:
            self._groups.setdefault(tuple(sorted(set(destination.dialects))), []).append(destination)
        self.destinations: Final = tuple(destinations)
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._accepting = {id(destination): threading.Lock() for destination in self.destinations}
        self._handed_on = 0
        self._dropped: Counter[str] = Counter()
        self._unpriced: Counter[str] = Counter()
        self._run_costs = RunCosts()
        self._warned_models: set[str] = set()

    @property
    def handed_on(self) -> int:
        """Spans that were taken and have gone to every destination, or are lost; what is in hand is not among them."""
        with self._lock:
            return self._handed_on

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans lost here, by reason: ``fault``, or ``stalled`` where a destination was busy too long."""
        with self._lock:
            return dict(self._dropped)

    @property
    def unpriced_calls(self) -> Mapping[str, int]:
        """LLM calls that were answered and have no known cost, by model."""
        with self._lock:
            return dict(self._unpriced)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Takes one batch through every stage. A fault costs the span, or the destination, that it is in."""
        self._export(spans, _FOR_EVER)
        return SpanExportResult.SUCCESS

    def export_late(self, span: ReadableSpan) -> None:
        """Takes one span through every stage on its caller's thread, which a stalled destination does not hold up."""
        self._export([span], LATE_SECONDS)

    def _export(self, spans: Sequence[ReadableSpan], patience: float) -> None:
        try:
            batches = self._batches(spans)
            for dialects, destinations in self._groups.items():
                for destination in destinations if batches[dialects] else ():
                    self._hand_on(destination, batches[dialects], patience)
        finally:
            with self._lock:
                self._handed_on += len(spans)

    def _batches(self, spans: Sequence[ReadableSpan]) -> dict[tuple[Dialect, ...], list[Outgoing]]:
        batches: dict[tuple[Dialect, ...], list[Outgoing]] = {dialects: [] for dialects in self._groups}
        until = time.perf_counter() + SLICE_SECONDS
        for span in spans:
            if isinstance(span, DraftedSpan) and not span.is_sampled:
                self._measure_unsampled(span)
            else:
                self._take(span, batches)
            if time.perf_counter() >= until:
                # Gives the interpreter lock away: without it a waiting thread gets its turn after 5 ms only.
                time.sleep(0)
                until = time.perf_counter() + SLICE_SECONDS
        return batches

    def _hand_on(self, destination: DestinationExporter, batch: Sequence[Outgoing], patience: float) -> None:
        turn = self._accepting[id(destination)]
        if not turn.acquire(timeout=patience):
            self._count(self._dropped, "stalled", len(batch))
            return
        accepted = False
        try:
            with guard(f"export.{destination.name}"):
                destination.accept(batch)
                accepted = True
        finally:
            turn.release()
            if not accepted:
                self._count(self._dropped, "fault", len(batch))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Delivers what the destinations have accepted, within one deadline for all of them.

        Returns:
            True when nothing is left to deliver.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        self._hurry()
        measured = self._metering.flush() if self._metering is not None else None
        done = True
        for destination in self.destinations:
            with guard(f"export.{destination.name}"):
                done = destination.flush(deadline) and done
        if measured is not None:
            with guard("export.metrics"):
                done = measured(deadline) and done
        return done

    def shutdown(self, timeout_millis: float = 5000) -> None:
        """Closes the destinations and the metrics, within one deadline for all of them."""
        deadline = time.monotonic() + timeout_millis / 1000
        self._hurry()
        measured = self._metering.flush() if self._metering is not None else None
        for destination in self.destinations:
            with guard(f"export.{destination.name}"):
                destination.close(deadline)
        if self._metering is not None and measured is not None:
            with guard("export.metrics"):
                measured(deadline)
            with guard("export.metrics"):
                self._metering.close(deadline)

    def _hurry(self) -> None:
        """Sets all destinations going at once, before they are waited for one after the other."""
        for destination in self.destinations:
            with guard(f"export.{destination.name}"):
                destination.flush(time.monotonic())

    def _take(self, span: ReadableSpan, batches: Mapping[tuple[Dialect, ...], list[Outgoing]]) -> None:
        made: dict[tuple[Dialect, ...], Outgoing] | None = None
        try:
            with guard("export.worker"):
                made = self._made(span)
        finally:
            if made is None:
                self._count(self._dropped, "fault")
        for dialects, outgoing in (made or {}).items():
            batches[dialects].append(outgoing)

    def _measure_unsampled(self, span: DraftedSpan) -> None:
        with guard("export.worker"):
            self._measure(span, self._priced(span, span.draft))

    def _priced(self, span: ReadableSpan, draft: Draft) -> Draft:
        priced = self._price(self._redact(draft))
        return self._run_costs.settled(priced, span.context.span_id if span.context is not None else None)

    def _measure(self, span: ReadableSpan, draft: Draft) -> None:
        self._count_unpriced(draft)
        if self._metering is not None:
            with guard("export.metrics"):
                self._metering.record(draft, span.context)

    def _made(self, span: ReadableSpan) -> dict[tuple[Dialect, ...], Outgoing]:
        draft = span.draft if isinstance(span, DraftedSpan) else None
        if draft is not None:
            draft = self._priced(span, draft)
            self._measure(span, draft)
        attributes = self._others_attributes(span, draft)
        status, events, links = self._status(span, draft), self._events(span, draft), self._links(span)
        name, scope = valid_text(self._redact_name(span.name)), valid_scope(span.instrumentation_scope)
        made: dict[tuple[Dialect, ...], Outgoing] = {}
        for dialects in self._groups:
            rendered: Mapping[str, AttributeValue] = (
                self._render(draft, dialects) if draft is not None and dialects else NOTHING
            )
            readable = ReadableSpan(
                name=name,
                context=span.context,
                parent=span.parent,
                resource=span.resource,
                attributes={**attributes, **rendered},
                events=events,
                links=links,
                kind=span.kind,
                status=status,
                start_time=span.start_time,
                end_time=span.end_time,
                instrumentation_scope=scope,
            )
            made[dialects] = Outgoing(readable, draft)
        return made

    def _others_attributes(self, span: ReadableSpan, draft: Draft | None) -> Mapping[str, AttributeValue]:
        attributes = span.attributes or {}
        if draft is not None:
            attributes = {key: value for key, value in attributes.items() if not self._is_own(key)}
        return foreign_attributes(attributes, self._redact_attributes)

    def _status(self, span: ReadableSpan, draft: Draft | None) -> Status:
        if draft is not None and draft.error is not None:
            return Status(StatusCode.ERROR, valid_text(draft.error.message) or None)
        description = span.status.description
        return Status(span.status.status_code, valid_text(self._redact_text(description)) if description else None)

    def _events(self, span: ReadableSpan, draft: Draft | None) -> list[Event]:
        events = [
            Event(
                valid_text(self._redact_name(event.name)),
                foreign_attributes(event.attributes, self._redact_attributes),
                event.timestamp,
            )
            for event in span.events
        ]
        if draft is not None and draft.error is not None:
            facts = {EXCEPTION_TYPE: draft.error.type, EXCEPTION_MESSAGE: valid_text(draft.error.message)}
            events.append(Event(EXCEPTION_EVENT, {key: value for key, value in facts.items() if value}, span.end_time))
        return events

    def _links(self, span: ReadableSpan) -> list[Link]:
        return [Link(link.context, foreign_attributes(link.attributes, self._redact_attributes)) for link in span.links]

    def _count_unpriced(self, draft: Draft) -> None:
        if not isinstance(draft, LLMDraft) or draft.cost is not None or not draft.answered:
            return
        model = draft.response_model or draft.request_model
        self._count(self._unpriced, model)
        # Without usage there is nothing to price; that is no fault of the price table.
        if draft.usage is not None and self._is_news(model):
            logger.warning(
                "looopy-otel: no price is known for the model %r: its calls have no cost. "
                "They are counted in stats().unpriced_calls and in the metric %s. "
                "Say what it costs, in USD per million tokens: configure(prices={%r: {'input': …, 'output': …}}), "
                "or in the file of LOOOPY_OTEL_PRICES.",
                model,
                METRIC_UNPRICED_CALLS,
                model,
            )

    def _is_news(self, model: str) -> bool:
        with self._lock:
            if model in self._warned_models or len(self._warned_models) >= WARNED_MODELS:
                return False
            self._warned_models.add(model)
            return True

    def _count(self, counter: Counter[str], key: str, spans: int = 1) -> None:
        with self._lock:
            counter[key] += spans

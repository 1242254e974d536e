"""The exporter behind the SDK's batch processor: redacts, prices, measures and renders each span, and hands it on."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.util.types import AttributeValue

from looopy_otel.core.draft import Draft
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.settings import Dialect, TailSampling
from looopy_otel.export.carried import facts_of, project_of
from looopy_otel.export.deadline import Halt
from looopy_otel.export.destination import DestinationExporter, Outgoing
from looopy_otel.export.drafted import DraftedSpan
from looopy_otel.export.gated import SpanGate, with_attributes
from looopy_otel.export.groups import Batches, Group, Slices
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.metrics import Metering
from looopy_otel.export.neighbours import project_of_sdk
from looopy_otel.export.placing import not_elsewhere, placing_of, under_nearest, with_placing
from looopy_otel.export.route import Router
from looopy_otel.export.run_costs import RunCosts
from looopy_otel.export.tail_sampling import TailSampler
from looopy_otel.export.unpriced import UnpricedCalls

LATE_SECONDS: Final = 0.2
"""How long a span that goes its whole way on its caller's thread waits for a destination that is busy with others."""

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
        destinations: Where spans go.
        metering: Measures every operation, whether or not its span is sampled; None where nothing is measured.
        router: Tells which destination takes which span; by default each takes all.
        tail_sampling: Which whole traces are kept; None for all.
        memory: Counts what waits for its trace to end; by default a count of its own.
        is_under_way: True for the topmost span of a trace here, by its span id, that is to come yet.
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
        router: Router | None = None,
        tail_sampling: TailSampling | None = None,
        memory: MemoryBudget | None = None,
        is_under_way: Callable[[str], bool] = lambda root: False,
    ) -> None:
        self._redact = redact
        self._gate = SpanGate(redact_attributes, redact_text, redact_name, is_own)
        self._price = price
        self._render = render
        self._metering = metering
        self._router = router or Router()
        self._groups: dict[tuple[Dialect, ...], Group] = {}
        for position, destination in enumerate(destinations):
            group = self._groups.setdefault(tuple(sorted(set(destination.dialects))), Group())
            group.add(destination, self._router.projects_at(position))
        self.destinations: Final = tuple(destinations)
        self._unpriced = UnpricedCalls()
        self._tail: TailSampler[Outgoing] | None = None
        if tail_sampling is not None:
            memory = memory or MemoryBudget(tail_sampling.memory)
            self._tail = TailSampler(tail_sampling, memory, self._hand_on_held, is_under_way)
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._accepting = {id(destination): threading.Lock() for destination in self.destinations}
        self._halt = Halt()
        self._dropped: Counter[str] = Counter()
        self._run_costs = RunCosts()

    @property
    def held(self) -> int:
        """Spans that tail sampling keeps back, or has let go on and that have not gone to every destination yet."""
        return 0 if self._tail is None else self._tail.unsettled

    @property
    def sampled_out(self) -> int:
        """Spans of traces that tail sampling did not keep."""
        return 0 if self._tail is None else self._tail.sampled_out

    @property
    def undecided(self) -> int:
        """Spans that tail sampling let pass before their trace was over, since too much waited."""
        return 0 if self._tail is None else self._tail.undecided

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans lost here, by reason.

        ``fault``; ``stalled`` where a destination was busy too long; ``unknown-project`` and ``no-project`` where no
        Langfuse is there that a span may go to.
        """
        with self._lock:
            return dict(self._dropped)

    @property
    def unpriced_calls(self) -> Mapping[str, int]:
        """LLM calls that were answered and have no known cost, by model."""
        return self._unpriced.by_model

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Takes one batch through every stage. A fault costs the span, or the destination, that it is in."""
        self._export(spans, _FOR_EVER)
        return SpanExportResult.SUCCESS

    def export_late(self, span: ReadableSpan) -> None:
        """Takes one span through every stage on its caller's thread, which a stalled destination does not hold up."""
        self._export([span], LATE_SECONDS)

    def park(self, seconds: float) -> None:
        """Has the thread that is in `export` halt for good between two spans, and waits so long for it."""
        self._halt.ask(seconds)

    def _export(self, spans: Sequence[ReadableSpan], patience: float) -> None:
        settling = 0
        try:
            batches, slices = Batches(), Slices()
            for span in spans:
                if isinstance(span, DraftedSpan) and not span.is_sampled:
                    self._measure_unsampled(span)
                else:
                    kept = self._take(span)
                    settling += len(kept)
                    self._render_all(kept, batches, slices)
                slices.step()
                if patience == _FOR_EVER:
                    self._halt.step()
            self._distribute(batches, patience)
        finally:
            if self._tail is not None:
                self._tail.settled(settling)

    def _hand_on_held(self, kept: Sequence[Outgoing], patience: float = _FOR_EVER) -> None:
        """Takes the rest of the way what tail sampling has let go on by itself."""
        if self._tail is None or not kept:
            return
        try:
            batches = Batches()
            self._render_all(kept, batches, Slices())
            self._distribute(batches, patience)
        finally:
            self._tail.settled(len(kept))

    def _render_all(self, kept: Sequence[Outgoing], batches: Batches, slices: Slices) -> None:
        for outgoing in kept:
            # A span of the Langfuse SDK goes where that sends it.
            of_sdk = project_of_sdk(outgoing.span) is not None
            if not of_sdk and (refused := self._router.refused(outgoing.project)) is not None:
                self._count(self._dropped, refused)
            made: dict[tuple[Dialect, ...], Outgoing] | None = None
            try:
                with guard("export.worker"):
                    made = self._rendered(outgoing)
            finally:
                if made is None:
                    self._count(self._dropped, "fault")
            for dialects, rendered in (made or {}).items():
                batches.add(dialects, rendered)
            slices.step()

    def _distribute(self, batches: Batches, patience: float) -> None:
        for dialects, group in self._groups.items():
            for destination, projects in group.members:
                if batch := not_elsewhere(batches.of(dialects, projects), destination):
                    self._hand_on(destination, batch, patience)

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
        for destination in self._by_patience():
            with guard(f"export.{destination.name}"):
                done = destination.flush(deadline) and done
        if measured is not None:
            with guard("export.metrics"):
                done = measured(deadline) and done
        return done

    def shutdown(self, timeout_millis: float = 5000) -> None:
        """Closes the destinations and the metrics, within one deadline for all of them."""
        deadline = time.monotonic() + timeout_millis / 1000
        if self._tail is not None:
            with guard("export.tail_sampling"):
                self._hand_on_held(self._tail.close(), min(1.0, timeout_millis / 2000))
        self._hurry()
        measured = self._metering.flush() if self._metering is not None else None
        for destination in self._by_patience():
            with guard(f"export.{destination.name}"):
                destination.close(deadline)
        if self._metering is not None and measured is not None:
            with guard("export.metrics"):
                measured(deadline)
            with guard("export.metrics"):
                self._metering.close(deadline)

    def _by_patience(self) -> Sequence[DestinationExporter]:
        """The order in which destinations are waited for.

        Those with senders go on by themselves while others are waited for; a user's exporter, the last to get spans, is
        flushed only while there is time.
        """
        return self.destinations[::-1]

    def _hurry(self) -> None:
        """Sets all destinations going at once, before they are waited for one after the other."""
        for destination in self.destinations:
            with guard(f"export.{destination.name}"):
                destination.flush(time.monotonic())

    def _take(self, span: ReadableSpan) -> Sequence[Outgoing]:
        """Takes a span past the gate, prices and measures it; gives what goes on now: it, its trace, or nothing."""
        kept: Sequence[Outgoing] | None = None
        try:
            with guard("export.worker"):
                outgoing = self._passed(span)
                kept = [outgoing] if self._tail is None else self._tail.offer(facts_of(span, outgoing), outgoing)
        finally:
            if kept is None:
                self._count(self._dropped, "fault")
        return kept or ()

    def _measure_unsampled(self, span: DraftedSpan) -> None:
        with guard("export.worker"):
            self._measure(span, self._priced(span, span.draft))

    def _priced(self, span: ReadableSpan, draft: Draft) -> Draft:
        priced = self._redact(draft)
        # A span without its cost is worth more than none.
        with guard("export.pricing"):
            priced = self._price(priced)
            priced = self._run_costs.settled(priced, span.context.span_id if span.context is not None else None)
        return priced

    def _measure(self, span: ReadableSpan, draft: Draft) -> None:
        with guard("export.metrics"):
            self._unpriced.look_at(draft)
            if self._metering is not None:
                self._metering.record(draft, span.context)

    def _passed(self, span: ReadableSpan) -> Outgoing:
        draft = span.draft if isinstance(span, DraftedSpan) else None
        project = project_of(span)
        if draft is not None:
            draft = self._priced(span, draft)
            self._measure(span, draft)
        return Outgoing(with_placing(self._gate.passed(span, draft), placing_of(span)), draft, project)

    def _rendered(self, outgoing: Outgoing) -> dict[tuple[Dialect, ...], Outgoing]:
        """The span for each group of destinations that takes it."""
        span, draft, project = outgoing.span, outgoing.draft, outgoing.project
        made: dict[tuple[Dialect, ...], Outgoing] = {}
        for dialects, group in self._groups.items():
            if not group.takes(project):
                continue
            rendered = self._render(draft, dialects) if draft is not None and dialects else NOTHING
            whole = with_attributes(span, rendered) if rendered else span
            made[dialects] = Outgoing(under_nearest(whole, placing_of(span), dialects), draft, project)
        return made

    def _count(self, counter: Counter[str], key: str, spans: int = 1) -> None:
        with self._lock:
            counter[key] += spans

"""Joins drafts with their spans and queues them for the worker; all that stands on the caller's path."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanContext

from looopy_otel.core.draft import Draft
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.settings import DEFAULT_MEMORY_LIMIT
from looopy_otel.export.deadline import Standby, remaining, run_until
from looopy_otel.export.drafted import DraftedSpan, not_sampled
from looopy_otel.export.losses import LossLog
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.queue import ByteQueue
from looopy_otel.export.shed_content import without_content
from looopy_otel.export.weight import span_bytes
from looopy_otel.export.worker import Worker

SHUTDOWN_MILLISECONDS: Final = 5000
CLOSING_SHARE: Final = 0.2
"""How much of the time that a shutdown has is kept for closing the destinations, whatever the worker is stuck in."""

SETTLING_SECONDS: Final = 0.1
"""How long before the end of a shutdown the destinations give up, at most."""

PARKING_SECONDS: Final = 0.1
"""How long the end of the interpreter waits for the worker to come to a halt between two spans."""

Stamp = Callable[[Span, Context | None], None]
Admits = Callable[[ReadableSpan], bool]
Recall = Callable[[ReadableSpan], ReadableSpan]


class DraftProcessor(SpanProcessor):
    """The span processor of the pipeline. Its threads start at the first span.

    It has a queue of its own in the place of the SDK's batch processor, which counts spans and not bytes, loses the
    newest of them and not the oldest, knows no deadline for its flush, and starts a thread in every forked child.

    Args:
        worker: The exporter behind the queue.
        delay: Seconds that a span waits for others before the worker takes it, at most.
        stamp: Called at each span's start, to set identity on it; its faults are swallowed.
        admits: Tells of an ended span whether it goes out; of one that does not, only the draft goes on, to be
            measured. By default all go out.
        recall: Gives a span that goes out with what has been known of it since its start; by default as it is.
        memory: Counts what waits; by default a count of its own.
        drained_in: Seconds in which the worker has to be able to take all that waits, at the end for example.
        losses: Told where something may have been lost; by default nobody is.
        prepare: Loads what the worker needs, on its thread, before anything else; by default nothing.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        delay: float,
        stamp: Stamp | None,
        admits: Admits | None = None,
        recall: Recall | None = None,
        memory: MemoryBudget | None = None,
        drained_in: float = math.inf,
        losses: LossLog | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        memory = memory or MemoryBudget(DEFAULT_MEMORY_LIMIT)
        self._worker = worker
        self._stamp = stamp
        self._admits = admits
        self._recall = recall
        self._losses = losses
        self._prepare = prepare
        self._closed = False
        self._closing = Standby()
        self._queue = ByteQueue[ReadableSpan](
            "looopy-otel-worker",
            take=self._take,
            weigh=span_bytes,
            lighten=without_content,
            memory=memory,
            too_much=lambda waiting, taken_next: memory.overflow,
            delay=delay,
            paces=True,
            drained_in=drained_in,
            lost=None if losses is None else losses.look_soon,
            begin=self._begin,
        )
        memory.spare_spans_with(self._queue.shed_content)
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A signal handler or a finaliser may end a span while this very thread counts another.
        self._lock = threading.RLock()
        self._drafts: dict[int, Draft] = {}
        self._late = self._too_late = 0
        self._started = False

    @property
    def queued(self) -> int:
        """Spans that have not gone to every destination yet, those in the worker's hands included."""
        return self._queue.waiting + self._worker.held + self._late

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans lost here, by reason: ``memory-full``, or ``shutdown`` where it ended before the worker took them."""
        return Counter(self._queue.dropped) + Counter(shutdown=self._too_late)

    @property
    def content_shed(self) -> Mapping[str, int]:
        """Spans whose content was lost here, by reason."""
        return self._queue.content_shed

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamps the span, and starts the worker's thread at the first one."""
        with guard("export.start"):
            if not self._started:
                self._start()
            if self._stamp is not None:
                self._stamp(span, parent_context)

    def hand_over(self, span_context: SpanContext, draft: Draft) -> None:
        """Keeps a draft for the span that is about to end; that of one that is not sampled is queued to be measured."""
        if span_context.trace_flags.sampled:
            self._drafts[span_context.span_id] = draft
            return
        with guard("export.unsampled"):
            self._enqueue(DraftedSpan.unsampled(span_context, draft))

    def on_end(self, span: ReadableSpan) -> None:
        """Queues the span, with its draft if there is one; waits a moment where memory is full and the worker is on."""
        with guard("export.end"):
            context = span.context
            if context is None:
                return
            draft = self._drafts.pop(context.span_id, None)
            if not context.trace_flags.sampled:
                return
            if self._admits is None or self._admits(span):
                known = span if self._recall is None else self._recall(span)
                self._enqueue(known if draft is None else DraftedSpan.of(known, draft))
            elif draft is not None:
                self._enqueue(DraftedSpan.unsampled(not_sampled(context), draft))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Takes what is queued through the worker and has the destinations deliver it, within the timeout.

        Returns:
            True when nothing is left.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        done = self._queue.drain(deadline)
        delivered: list[bool] = []

        def deliver() -> None:
            delivered.append(self._worker.force_flush(int(remaining(deadline) * 1000)))

        # On another thread: a disk that does not answer holds up whoever asks it.
        run_until(deadline, deliver)
        return done and delivered == [True]

    def hasten(self) -> None:
        """Lets no span's end wait for room any more."""
        self._queue.hasten()

    def shutdown(self, timeout_millis: float = SHUTDOWN_MILLISECONDS) -> None:
        """Drains the queue and closes the destinations, within the timeout.

        Spans that end later go to the destinations directly: an outbox on disk keeps them for the next process.
        """
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        seconds = timeout_millis / 1000
        deadline = time.monotonic() + seconds
        self._queue.close(deadline - seconds * CLOSING_SHARE)
        # What the destinations count at their deadline is counted when this one has come.
        theirs = deadline - min(seconds * CLOSING_SHARE / 2, SETTLING_SECONDS)
        self._closing.run_until(deadline, lambda: self._worker.shutdown(remaining(theirs) * 1000))
        if self._queue.waiting and not threading.main_thread().is_alive():
            # The interpreter is about to end, which tears threads down wherever they are; one in the middle of the
            # matcher's C++ would take the process with it (abort).
            self._worker.park(PARKING_SECONDS)

    def _begin(self) -> None:
        if self._prepare is not None:
            # While the interpreter ends, what somebody's import hook needs may not start. What is missing then is
            # loaded where it is used, or not there.
            with guard("export.prepare"), suppress(RuntimeError):
                self._prepare()

    def _take(self, spans: Sequence[ReadableSpan]) -> None:
        self._worker.export(spans)
        if self._losses is not None:
            self._losses.look()

    def _start(self) -> None:
        with self._lock:
            if not self._closed and self._queue.start():
                try:
                    self._closing.start()
                except RuntimeError:
                    return
            self._started = True

    def _enqueue(self, span: ReadableSpan) -> None:
        if not self._started:
            self._start()
        if not self._queue.put(span):
            if _is_torn_down():
                with self._lock:
                    self._too_late += 1
                return
            # Without a thread to take it, the span goes the rest of the way on its caller's, to disk at the most.
            self._count_late(1)
            try:
                self._worker.export_late(span)
            finally:
                self._count_late(-1)

    def _count_late(self, spans: int) -> None:
        with self._lock:
            self._late += spans


def _is_torn_down() -> bool:
    """True on a thread that the interpreter, which is ending, may tear down wherever it is.

    In the middle of the matcher's C++ that would take the process with it (abort).
    """
    return threading.current_thread().daemon and not threading.main_thread().is_alive()

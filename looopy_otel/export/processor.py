"""Joins drafts with their spans and queues them for the worker; all that stands on the caller's path."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext

from looopy_otel.core.draft import Draft
from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.export.deadline import remaining, run_until
from looopy_otel.export.drafted import DraftedSpan
from looopy_otel.export.worker import Worker

QUEUE_SPANS: Final = 65536
BATCH_SPANS: Final = 512
SHUTDOWN_MILLISECONDS: Final = 5000

Stamp = Callable[[Span, Context | None], None]


class DraftProcessor(SpanProcessor):
    """The span processor of the pipeline, around the SDK's batch processor, whose thread starts at the first span.

    Args:
        worker: The exporter behind the queue.
        delay: Seconds between the worker's rounds.
        stamp: Called at each span's start, to set identity on it; its faults are swallowed.
    """

    def __init__(self, worker: Worker, *, delay: float, stamp: Stamp | None) -> None:
        self._worker = worker
        self._delay = delay
        self._stamp = stamp
        self._batch: _Batch | None = None
        self._closed = False
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        # A signal handler or a finaliser may end a span while this very thread queues another.
        self._lock = threading.RLock()
        self._drafts: dict[int, Draft] = {}
        self._taken = 0
        self._dropped: Counter[str] = Counter()

    @property
    def queued(self) -> int:
        """Spans that have not gone to every destination yet, those in the worker's hands included."""
        handed_on = self._worker.handed_on
        with self._lock:
            return self._taken - handed_on

    @property
    def dropped(self) -> Mapping[str, int]:
        """Spans lost here, by reason: ``queue-full``, or ``shutdown`` where it ended before the worker took them."""
        with self._lock:
            return dict(self._dropped)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamps the span, and starts the worker's thread at the first one."""
        with guard("export.start"):
            if self._batch is None and not self._closed:
                self._start()
            if self._stamp is not None:
                self._stamp(span, parent_context)

    def hand_over(self, span_context: SpanContext, draft: Draft) -> None:
        """Keeps a draft for the span that is about to end; that of one that is not sampled is queued to be measured."""
        if span_context.trace_flags.sampled:
            self._drafts[span_context.span_id] = draft
            return
        with guard("export.unsampled"):
            if self._batch is None and not self._closed:
                self._start()
            self._enqueue(DraftedSpan.unsampled(span_context, draft))

    def on_end(self, span: ReadableSpan) -> None:
        """Queues the span, with its draft if there is one."""
        with guard("export.end"):
            context = span.context
            if context is None:
                return
            draft = self._drafts.pop(context.span_id, None)
            if context.trace_flags.sampled:
                self._enqueue(span if draft is None else DraftedSpan.of(span, draft))

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Takes what is queued through the worker and has the destinations deliver it, within the timeout.

        Returns:
            True when nothing is left.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        batch = self._batch
        done = batch is None or run_until(deadline, batch.force_flush)
        return self._worker.force_flush(int(remaining(deadline) * 1000)) and done

    def shutdown(self, timeout_millis: float = SHUTDOWN_MILLISECONDS) -> None:
        """Drains the queue and closes the destinations, within the timeout.

        Spans that end later go to the destinations directly: an outbox on disk keeps them for the next process.
        """
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        if self._batch is not None:
            self._lose(self._batch.shut_down(timeout_millis))
        else:
            self._worker.shutdown(timeout_millis)

    def _start(self) -> None:
        with self._lock:
            if self._batch is None:
                try:
                    self._batch = _Batch(self._worker, self._delay)
                except RuntimeError:
                    # The interpreter is shutting down and no thread may start: spans go to the worker directly.
                    return

    def _enqueue(self, span: ReadableSpan) -> None:
        with self._lock:
            batch = None if self._closed else self._batch
            if batch is not None and batch.queued >= QUEUE_SPANS:
                self._dropped["queue-full"] += 1
                return
            self._taken += 1
            if batch is not None:
                batch.take(span)
                return
        # Without a thread to take it, the span goes the rest of the way on its caller's, to disk at the most.
        self._worker.export_late(span)

    def _lose(self, spans: int) -> None:
        """Counts spans that are still in the queue and will stay there."""
        if spans:
            with self._lock:
                self._taken -= spans
                self._dropped["shutdown"] += spans


class _Batch(BatchSpanProcessor):
    """The SDK's batch processor, with the two things that it does not offer: its queue's length and a deadline."""

    def __init__(self, worker: Worker, delay: float) -> None:
        super().__init__(
            worker, max_queue_size=QUEUE_SPANS, schedule_delay_millis=delay * 1000, max_export_batch_size=BATCH_SPANS
        )

    @property
    def queued(self) -> int:
        return len(cast("deque[object]", self._batch_processor._queue))  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]

    def take(self, span: ReadableSpan) -> None:
        """Queues a span; `on_end` would leave out what is not sampled."""
        self._batch_processor.emit(span)

    def shut_down(self, timeout_millis: float) -> int:
        """Drains the queue and shuts the worker down; tells how many spans are left that will not be taken any more."""
        # `BatchSpanProcessor.shutdown` takes no timeout and waits 30 s; what it wraps takes one and hands the rest on.
        self._batch_processor.shutdown(int(timeout_millis))
        return self.queued

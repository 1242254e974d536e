"""Metrics by OTLP over HTTP: a reader that collects and pushes on a thread of its own, within its callers' deadlines.

The SDK's periodic reader starts its thread when it is made, its exporter hides what an endpoint answers behind retries
of its own, and neither keeps a deadline.
"""

from __future__ import annotations

import gzip
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any, Final

from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter, ObservableUpDownCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricReader, MetricsData

from looopy_otel.core.guard import guard
from looopy_otel.core.settings import OTLPMetrics, Temporality
from looopy_otel.export.deadline import remaining
from looopy_otel.export.post import Post, suppress_instrumentation
from looopy_otel.export.verdict import Verdict

logger = logging.getLogger("looopy_otel")

UNSENT_DELTAS: Final = 60
"""How many pushes are kept for an endpoint that does not take them, where each says only what is new."""

_SECONDS_BETWEEN_WARNINGS = 600.0
"""How often the same trouble is told of: an endpoint without a route for metrics refuses every push."""

_CUMULATIVE = AggregationTemporality.CUMULATIVE
_DELTA = AggregationTemporality.DELTA
_UP_AND_DOWN = {UpDownCounter: _CUMULATIVE, ObservableUpDownCounter: _CUMULATIVE}
# https://opentelemetry.io/docs/specs/otel/metrics/sdk_exporters/otlp/#additional-environment-variable-configuration
_TEMPORALITIES: Mapping[Temporality, dict[type, AggregationTemporality]] = {
    "cumulative": {Counter: _CUMULATIVE, Histogram: _CUMULATIVE, ObservableCounter: _CUMULATIVE, **_UP_AND_DOWN},
    "delta": {Counter: _DELTA, Histogram: _DELTA, ObservableCounter: _DELTA, **_UP_AND_DOWN},
    "lowmemory": {Counter: _DELTA, Histogram: _DELTA, ObservableCounter: _CUMULATIVE, **_UP_AND_DOWN},
}


class OTLPMetricReader(MetricReader):
    """Pushes what a MeterProvider has, every interval from the first measurement on; belongs to one process.

    What an endpoint does not take is told again by the next push, since that says all since the start; with delta
    temporality it is kept, a while, and sent first.

    Args:
        settings: Where, and how often.
    """

    def __init__(self, settings: OTLPMetrics) -> None:
        super().__init__(preferred_temporality=dict(_TEMPORALITIES[settings.temporality]))
        self._cumulative = settings.temporality == "cumulative"
        self._interval = settings.interval
        self._gzip = settings.endpoint.gzip
        self._post = Post(settings.endpoint, things="metrics")
        self._unsent: deque[bytes] = deque(maxlen=1 if self._cumulative else UNSENT_DELTAS)
        # A finaliser may ask while this very thread does.
        self._signal = threading.Condition()
        self._thread: threading.Thread | None = None
        self._needed = False
        self._closed = False
        self._asked = 0
        self._done = 0
        self._pause = settings.interval
        self._warned_at: dict[str, float] = {}

    def wake(self) -> None:
        """Says that there is something to push; starts the thread if there is none. Never waits."""
        if self._needed:
            return
        with self._signal:
            if self._needed or self._closed:
                return
            self._needed = True
            thread = threading.Thread(target=self._run, name="looopy-otel-metrics", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is shutting down: `wait` pushes on its caller's thread.
                return
            self._thread = thread

    def ask(self) -> int:
        """Asks for a push now, and does not wait for it.

        Returns:
            A ticket for `wait`.
        """
        with self._signal:
            if self._needed and not self._closed:
                self._asked += 1
                self._signal.notify_all()
            return self._asked

    def wait(self, ticket: int, deadline: float) -> bool:
        """Waits until what was asked for is done.

        Args:
            ticket: From `ask`.
            deadline: A value of `time.monotonic`.

        Returns:
            True when the endpoint has all.
        """
        with self._signal:
            if self._thread is not None:
                self._signal.wait_for(lambda: self._done >= ticket or self._closed, remaining(deadline))
        if self._thread is None and self._done < ticket and remaining(deadline) > 0:
            copy_context().run(self._push_here, remaining(deadline))
        return self._done >= ticket and not self._unsent

    def close(self, deadline: float) -> None:
        """Pushes the last state, unless the endpoint did not take the one before, and stops."""
        if not self._closed and not self._unsent and remaining(deadline) > 0:
            self.wait(self.ask(), deadline)
        with self._signal:
            self._closed = True
            self._signal.notify_all()
        if self._thread is not None:
            self._thread.join(remaining(deadline))
        self._post.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Pushes now; as `ask` and `wait`."""
        return self.wait(self.ask(), time.monotonic() + timeout_millis / 1000)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """As `close`."""
        self.close(time.monotonic() + timeout_millis / 1000)

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        # Loaded at the first push, so that no start of a program pays for it.
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

        body = encode_metrics(metrics_data).SerializeToString()
        if len(self._unsent) == UNSENT_DELTAS:
            self._warn("full", "the oldest metrics that wait for the endpoint are given up")
        self._unsent.append(gzip.compress(body, 1, mtime=0) if self._gzip else body)

    def _run(self) -> None:
        suppress_instrumentation()
        while self._wait_for_work():
            with guard("export.metrics"):
                self._push(None)
        self._post.close()

    def _wait_for_work(self) -> bool:
        with self._signal:
            self._signal.wait_for(lambda: self._closed or self._asked > self._done, self._pause)
            return not self._closed

    def _push_here(self, timeout: float) -> None:
        suppress_instrumentation()
        with guard("export.metrics"):
            self._push(timeout)

    def _push(self, timeout: float | None) -> None:
        asked = self._asked
        try:
            self.collect()
            self._send(timeout)
        finally:
            with self._signal:
                self._done = asked
                self._signal.notify_all()

    def _send(self, timeout: float | None) -> None:
        self._pause = self._interval
        while self._unsent:
            verdict = self._post.send(self._unsent[0], timeout=timeout)
            if verdict.message:
                self._warn(verdict.reason, f"{self._post.message(verdict)}; {self._consequence(verdict)}")
            if verdict.kind == "retry":
                self._pause = max(self._interval, verdict.wait or 0.0)
                return
            self._unsent.popleft()

    def _consequence(self, verdict: Verdict) -> str:
        if verdict.kind == "retry":
            return "the next push says all again" if self._cumulative else "they are kept and sent again"
        return "they are lost" if verdict.kind == "rejected" else "the others arrived"

    def _warn(self, reason: str, message: str) -> None:
        now = time.monotonic()
        if now - self._warned_at.get(reason, -_SECONDS_BETWEEN_WARNINGS) < _SECONDS_BETWEEN_WARNINGS:
            return
        self._warned_at[reason] = now
        logger.warning("looopy-otel: metrics: %s", message)

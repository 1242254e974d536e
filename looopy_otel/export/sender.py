"""Ships the batches of one outbox to one OTLP/HTTP endpoint, in order, one POST each, until they are acknowledged."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Final

from looopy_otel.core.fork import reset_after_fork
from looopy_otel.core.guard import guard
from looopy_otel.core.settings import HTTPDestination
from looopy_otel.export.backoff import Backoff
from looopy_otel.export.bisection import Bisection
from looopy_otel.export.circuit import Circuit
from looopy_otel.export.deadline import remaining
from looopy_otel.export.outbox import Batch, Outbox
from looopy_otel.export.post import Post, suppress_instrumentation
from looopy_otel.export.tally import Tally
from looopy_otel.export.verdict import Verdict

logger = logging.getLogger("looopy_otel")

ADOPT_SECONDS: Final = 30.0
"""How often a sender, idle or busy, looks for batches that nobody answers for any more."""
_SECONDS_BETWEEN_WARNINGS = 60.0
_TOO_LARGE = "http-413"
_REJECTED = (
    "the spans are set aside and counted as dropped; once it is put right, `looopy-otel spool flush --rejected` "
    "sends them"
)
_FAULT = Verdict("retry", "fault", "a fault of this library; see stats().internal_errors")


class Sender:
    """One daemon thread, started at the first batch, that empties an outbox.

    At its start, every `ADOPT_SECONDS`, and at each flush and close it adopts what others left behind: a process that
    ended, or an earlier configuration of this one, whose spans may end long after it was replaced.

    Where no thread can start any more (interpreter shutdown), `flush` and `close` ship on their caller's thread.

    Args:
        destination: The endpoint.
        outbox: What is to be shipped.
        tally: Told what became of it.
        backoff: Seconds between tries.

    Attributes:
        circuit: How the endpoint is.
    """

    def __init__(
        self, destination: HTTPDestination, outbox: Outbox, tally: Tally, *, backoff: Backoff | None = None
    ) -> None:
        self._destination = destination
        self._outbox = outbox
        self._tally = tally
        self.circuit: Final = Circuit(backoff or Backoff())
        self._post = Post(destination)
        self._reset()
        reset_after_fork(self._reset)

    def _reset(self) -> None:
        self._signal = threading.Condition()
        self._shipping = threading.Lock()
        self._thread: threading.Thread | None = None
        self._post.reset()
        self._to_adopt = False
        self._hurry = False
        self._closed = False
        self._failed_tries = 0
        self._bisection = Bisection()
        self.circuit.reset()
        self._touched_at = 0.0
        self._asked_until = 0.0
        self._warned_at = -_SECONDS_BETWEEN_WARNINGS

    def wake(self) -> None:
        """Says that the outbox has something; starts the thread if there is none. Never waits."""
        with self._signal:
            self._start()
            if not self.circuit.is_open:
                self._signal.notify_all()

    def flush(self, deadline: float) -> bool:
        """Ships until the outbox is empty or `deadline`; a pause between tries is cut short once.

        Returns:
            True when the outbox is empty and nothing is left to adopt.
        """
        return self._empty_until(deadline, lambda: False)

    def close(self, deadline: float) -> None:
        """Ships until the outbox is empty, or `deadline`.

        Where all that is left is safe on disk, one failure ends it, or a wait that the endpoint has asked for.
        """
        with self._signal:
            if self._closed:
                return
            failed = self._failed_tries

        def is_hopeless() -> bool:
            return self._failed_tries > failed or time.monotonic() < self._asked_until

        self._empty_until(deadline, lambda: is_hopeless() and not self._outbox.queued)
        with self._signal:
            self._closed = True
            self._signal.notify_all()
            thread = self._thread
        if thread is not None:
            # A thread in the middle of a request goes on as long as the process; what it sends is acknowledged.
            thread.join(remaining(deadline))
        self._post.close()

    def _empty_until(self, deadline: float, give_up: Callable[[], bool]) -> bool:
        orphans = not self._closed and self._outbox.has_orphans
        with self._signal:
            self._to_adopt = self._to_adopt or orphans
            if not self._is_done():
                self._start()
            self._hurry = True
            self._signal.notify_all()
            if self._thread is not None:
                self._signal.wait_for(lambda: self._is_done() or give_up(), remaining(deadline))
                return self._is_done()
        while not self._is_done() and not give_up() and remaining(deadline) > 0:
            copy_context().run(self._suppressed_round, deadline)
        return self._is_done()

    def _is_done(self) -> bool:
        return self._outbox.is_empty and not self._to_adopt

    def _start(self) -> None:
        """Called with the signal held."""
        if self._thread is not None or self._closed:
            return
        self._to_adopt = True
        thread = threading.Thread(target=self._run, name=f"looopy-otel-{self._destination.label}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is shutting down: what is in the outbox is shipped by `close`, or by the next process.
            return
        self._thread = thread

    def _run(self) -> None:
        suppress_instrumentation()
        while self._wait_for_work():
            with guard("export.sender"):
                self._show_life()
                self._round(None)
                continue
            # Whatever it was, the thread lives on, and does not spin.
            self._pause(_FAULT, None)
        self._post.close()

    def _wait_for_work(self) -> bool:
        with self._signal:
            if self._outbox.is_empty:
                self._hurry = False
            if not self._signal.wait_for(lambda: self._closed or not self._is_done(), ADOPT_SECONDS):
                self._to_adopt = True
            return not self._closed

    def _suppressed_round(self, deadline: float) -> None:
        suppress_instrumentation()
        self._round(deadline)

    def _round(self, deadline: float | None) -> None:
        """Ships the oldest batch once, and after a failure pauses."""
        # What handles a signal may flush on the very thread that is shipping.
        if not self._shipping.acquire(timeout=-1 if deadline is None else remaining(deadline)):
            return
        try:
            self._adopt()
            batch = self._outbox.first()
            verdict = self._ship(batch, deadline) if batch is not None else None
        finally:
            self._shipping.release()
        self._announce()
        if verdict is not None and verdict.kind == "retry":
            self._pause(verdict, deadline)

    def _announce(self) -> None:
        with self._signal:
            self._signal.notify_all()

    def _adopt(self) -> None:
        if not self._to_adopt:
            return
        try:
            with guard("export.adopt"):
                self._outbox.adopt()
        finally:
            self._to_adopt = False

    def _ship(self, batch: Batch, deadline: float | None) -> Verdict | None:
        """Sends one batch; None when it is not there any more."""
        try:
            return self._sent(batch, deadline)
        except OSError as error:
            # It could not be read, or nothing be made of it after it was refused; the outbox has it as it was.
            verdict = Verdict("retry", "spool", f"the spool cannot be read for now: {error}")
            self._settle(batch, verdict)
            return verdict

    def _sent(self, batch: Batch, deadline: float | None) -> Verdict | None:
        body = self._outbox.read(batch)
        if body is None:
            return None
        verdict = _FAULT
        with guard("export.sender"):
            verdict = self._post.send(body, timeout=None if deadline is None else remaining(deadline))
        self._settle(batch, verdict)
        return verdict

    def _settle(self, batch: Batch, verdict: Verdict) -> None:
        message = self._post.message(verdict)
        if message:
            self._tally.failed(message)
        if verdict.kind == "retry":
            self._warn(message, "the spans are kept and sent again")
            self._failed_tries += 1
            return
        self.circuit.answered()
        if verdict.kind == "delivered":
            self._deliver(batch, verdict, message)
        elif not self._mend(batch, verdict):
            self._warn(message, _REJECTED)
            self._bisection.refused(batch)
            self._tally.dropped(verdict.reason, batch.spans)
            self._outbox.set_aside(batch)

    def _deliver(self, batch: Batch, verdict: Verdict, message: str) -> None:
        self._bisection.accepted(batch)
        left_out = min(verdict.rejected_spans, batch.spans)
        # Counted first: whoever sees an empty outbox reads the counts next.
        self._tally.exported(batch.spans - left_out)
        if left_out:
            self._warn(message, "the others arrived")
            self._tally.dropped(verdict.reason, left_out)
        self._outbox.acknowledge(batch)

    def _mend(self, batch: Batch, verdict: Verdict) -> bool:
        """Makes something of a refused batch that may be accepted: two halves, or one span without its content."""
        if not verdict.divisible:
            return False
        if batch.spans > 1:
            return self._bisection.allows(batch) and self._outbox.divide(batch)
        return verdict.reason == _TOO_LARGE and self._outbox.strip(batch, _TOO_LARGE)

    def _warn(self, message: str, consequence: str) -> None:
        if not message or time.monotonic() - self._warned_at < _SECONDS_BETWEEN_WARNINGS:
            return
        self._warned_at = time.monotonic()
        logger.warning("looopy-otel: %s: %s; %s", self._destination.label, message, consequence)

    def _show_life(self) -> None:
        """Tells others that this process lives, and looks for those that do not."""
        if time.monotonic() - self._touched_at >= ADOPT_SECONDS:
            self._touched_at = time.monotonic()
            self._outbox.touch()
            self._to_adopt = True

    def _pause(self, verdict: Verdict, deadline: float | None) -> None:
        """Waits before the next try; hurry cuts it short, except for what the endpoint itself asked for."""
        asked = verdict.wait or 0.0
        seconds = self.circuit.failed(asked)
        if deadline is not None:
            seconds = min(seconds, remaining(deadline))
            asked = min(asked, seconds)
        with self._signal:
            self._asked_until = time.monotonic() + asked
            # A close that waits for nothing else ends now.
            self._signal.notify_all()
            self._signal.wait_for(lambda: self._closed, asked)
            self._signal.wait_for(lambda: self._closed or self._hurry, seconds - asked)
            self._hurry = False

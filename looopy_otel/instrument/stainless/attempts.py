"""The tries of one call, as far as an SDK that retries by itself lets them be seen."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Recorder
from looopy_otel.core.operation import Attempt
from looopy_otel.instrument.under import announce_under


class Attempts:
    """The tries of one call. The first one is told only when a second one follows.

    Args:
        recorder: The call's recorder.

    Attributes:
        response: The HTTP response that the SDK took as the answer, once there is one.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.response: Any = None
        self._number = 1
        self._delay = 0.0
        self._began = time.perf_counter()
        self._refused: BaseException | None = None

    @property
    def recorded(self) -> bool:
        """True when somebody records the call."""
        return self.recorder.span_id is not None

    def refused(self, error: BaseException | None) -> None:
        """Takes what the SDK would raise for an answer that it is about to try again."""
        self._refused = error

    def again(self, delay: float) -> None:
        """Says that the SDK is about to wait, and then to try again.

        Args:
            delay: Seconds.
        """
        # A broken connection is handled in its `except` clause; an error status is told before.
        self._tell(self._refused or sys.exc_info()[1])
        self._number += 1
        self._delay = delay
        self._began = time.perf_counter() + delay
        self._refused = None

    def end(self, error: BaseException | None) -> None:
        """Says how the last try ended."""
        if self._number > 1:
            self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        elapsed = time.perf_counter() - self._began
        if not self.recorded or elapsed < 0:
            return  # Nobody records the call, or its end came while the SDK waited.
        operation = Attempt(number=self._number, delay=self._delay, elapsed=elapsed)
        # Where a `Retry` stands around the request, these are tries within one of its own, which is current here.
        announce_under(self.recorder, operation, current=False).end(None, error)


_current: ContextVar[Attempts | None] = ContextVar("looopy_otel_attempts", default=None)


def current_attempts() -> Attempts | None:
    """The tries of the call that an SDK makes here; None where no recorded call is under way."""
    return _current.get()


@contextmanager
def attempting(attempts: Attempts) -> Generator[None]:
    """Watches the tries that are made inside."""
    before = _current.get()
    _current.set(attempts)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        # Not by a token: an abandoned coroutine is closed in whatever context.
        _current.set(before)
        with guard("instrument.attempts"):
            attempts.end(error)
        error = None

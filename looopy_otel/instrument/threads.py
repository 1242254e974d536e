"""Threads that go on from where they were started, for code that cannot be changed to say so."""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from threading import Thread
from typing import Any, Final

from looopy_otel.instrument.patching import is_instrumented, lasting, patch
from looopy_otel.instrument.propagation import Propagated
from looopy_otel.record.surroundings import Surroundings

_NAME: Final = "threads"
_SERVICE_THREADS: Final = ("looopy-otel", "Otel")
"""How the names of exporters' threads begin, ours and OpenTelemetry's; what starts them first is not their parent."""
_submitting: ContextVar[bool] = ContextVar("looopy_otel_submitting", default=False)


def instrument_threads() -> None:
    """Has all threads and thread pools run their work under the span that is current where it was handed to them.

    As `propagated`, without changing the code: for every ``threading.Thread`` that is started and everything that is
    submitted to a ``ThreadPoolExecutor`` from here on, ``loop.run_in_executor`` included. ``uninstrument("threads")``
    undoes it. A second call does nothing.

    A thread that lives for ever keeps the span under which it was started; start such threads outside of any.
    """
    if is_instrumented(_NAME):
        return
    holds = lasting(_NAME)
    submit, start = ThreadPoolExecutor.submit, Thread.start

    def submit_propagated(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        before = _submitting.get()
        _submitting.set(True)
        try:
            return submit(self, _carried(fn) if holds() and _shares_memory(self) else fn, *args, **kwargs)
        finally:
            _submitting.set(before)

    def start_propagated(self: Thread) -> None:
        # A pool's own thread outlives the work for which it is started.
        if holds() and not _submitting.get() and not self.name.startswith(_SERVICE_THREADS):
            _carry(self)
        start(self)

    patch(_NAME, ThreadPoolExecutor, "submit", submit_propagated)
    patch(_NAME, Thread, "start", start_propagated)


def _carried(function: Any) -> Any:
    known: object = function
    carries = isinstance(known, Propagated)
    return function if carries or not callable(function) else Propagated(function, Surroundings.here())


def _carry(thread: Thread) -> None:
    """Has the thread's `run` carry this place, and stand as it was once it begins."""
    attributes = vars(thread)
    own, run, here = attributes.get("run"), thread.run, Surroundings.here()

    def begin() -> None:
        if own is None:
            attributes.pop("run", None)
        else:
            attributes["run"] = own
        Propagated(run, here)()

    attributes["run"] = begin


def _shares_memory(pool: ThreadPoolExecutor) -> bool:
    """False for pools whose work is pickled for another interpreter."""
    interpreters = sys.modules.get("concurrent.futures.interpreter")
    return interpreters is None or not isinstance(pool, interpreters.InterpreterPoolExecutor)

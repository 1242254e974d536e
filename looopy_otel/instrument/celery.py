"""Celery: tasks go on from the trace of whoever sent them, and nothing waits when a worker's process ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from importlib import import_module
from types import ModuleType
from typing import Any, Final, cast

from looopy_otel.core.errors import MissingExtraError
from looopy_otel.core.flushing import flush, shut_down
from looopy_otel.core.guard import guard
from looopy_otel.core.identity import current_identity
from looopy_otel.core.semconv import CELERY_HEADER
from looopy_otel.instrument.patching import is_instrumented, undo_later
from looopy_otel.instrument.propagation import is_own
from looopy_otel.instrument.remote import asked_for, trace_headers
from looopy_otel.record.surroundings import Surroundings, surrounded

_NAME: Final = "celery"
_OWN: Final = "own"
"""Beside the trace's headers, in a message's: whether the sender's span is ours, and goes where ours go."""

_PROJECT: Final = "project"
"""Beside them: the Langfuse project that the sender's session has chosen."""

_OTHERS: Final = ("traceparent", "tracestate")


def instrument_celery(*, identity: bool = True, flush_timeout: float = 5.0) -> None:
    """Has the tasks of Celery go on from the span under which they were sent, and flushes when a worker ends.

    ::

        app = Celery(…)
        lo.configure()
        lo.instrument_celery()

    Call it, like `configure`, in the module of the application, which both who sends and the workers import; the
    processes of the prefork pool inherit it. The spans of a task, of its retries and of what it sends in turn hang
    under the span that was current when it was sent. No span is made for the task itself: decorate its function.

    The processes of a prefork pool end without Python's exit handlers: tracing is shut down when Celery says that one
    is about to end. What the worker itself has made, or the threads of its pool, is flushed when it stops.
    ``uninstrument("celery")`` undoes it. A second call does nothing.

    Args:
        identity: False to leave the session and the user out of the messages. The name of a `session(project=)` goes
            along in any case: without it a task's spans would go to the default project.
        flush_timeout: Seconds that the flush of a process that ends may take.

    Raises:
        MissingExtraError: If Celery is not installed.
    """
    signals = _signals()
    if is_instrumented(_NAME):
        return
    tasks = _Tasks(identity)
    receivers: tuple[tuple[Any, Callable[..., None]], ...] = (
        (signals.before_task_publish, tasks.sent),
        (signals.task_prerun, tasks.begun),
        (signals.task_postrun, tasks.ended),
    )

    def flushed(**_: object) -> None:
        flush(flush_timeout)

    def ended(**_: object) -> None:
        shut_down(flush_timeout)

    receivers += ((signals.worker_process_shutdown, ended), (signals.worker_shutdown, flushed))
    for signal, receiver in receivers:
        signal.connect(receiver, weak=False)
        undo_later(_NAME, lambda signal=signal, receiver=receiver: signal.disconnect(receiver))


def _signals() -> ModuleType:
    try:
        return import_module("celery.signals")
    except ModuleNotFoundError as missing:
        if missing.name not in ("celery", "celery.signals"):
            raise
        raise MissingExtraError("instrument_celery() needs the package celery: pip install celery") from missing


class _Tasks:
    """What Celery tells of its messages and tasks.

    Args:
        identity: Whether the session and the user go along.
    """

    def __init__(self, identity: bool) -> None:
        self._identity = identity
        self._running: dict[str, surrounded] = {}

    def sent(self, headers: object = None, **_: object) -> None:
        """A message is about to be sent; where a task is tried again, it keeps the trace that it has."""
        with guard("celery.sent"):
            if isinstance(headers, MutableMapping) and CELERY_HEADER not in headers:
                carried: dict[str, Any] = {**trace_headers(identity=self._identity)}
                if (project := current_identity().project) is not None:
                    carried[_PROJECT] = project
                if carried:
                    headers[CELERY_HEADER] = {**carried, _OWN: is_own(Surroundings.here())}

    def begun(self, task_id: str = "", task: Any = None, **_: object) -> None:
        """A task is about to run."""
        with guard("celery.begun"):
            carried = _carried(getattr(task, "request", None))
            if carried:
                place = asked_for(carried, identity=True, own=carried.get(_OWN) is True)
                if isinstance(project := carried.get(_PROJECT), str):
                    place = replace(place, identity=replace(place.identity, project=project))
                block = surrounded(place)
                block.__enter__()
                self._running[task_id] = block

    def ended(self, task_id: str = "", **_: object) -> None:
        """A task has run."""
        with guard("celery.ended"):
            block = self._running.pop(task_id, None)
            if block is not None:
                block.__exit__()


def _carried(request: Any) -> Mapping[str, Any]:
    """What the message of a task carries from us, or from others; its headers are attributes of the request."""
    own: object = getattr(request, CELERY_HEADER, None)
    if isinstance(own, Mapping):
        return cast("Mapping[str, Any]", own)
    return {name: getattr(request, name) for name in _OTHERS if getattr(request, name, None)}

"""Stepping into an operation from a place that had no part in its start: a node's task, a worker thread, a callback."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.context import attach, get_current

from looopy_otel.core.hooks import Handle, innermost, set_innermost
from looopy_otel.core.identity import Identity, current_identity, set_identity
from looopy_otel.record.context import context_of
from looopy_otel.record.nesting import InnerCall
from looopy_otel.record.recorder import SpanRecorder


def _stay() -> None:
    """Leaves a place that was not changed."""


def enter(operation: Handle, identity: Identity) -> Callable[[], None]:
    """Makes an operation under way, and who it belongs to, current here; as often and in as many places as needed.

    Args:
        operation: The recorder that `announce` gave.
        identity: What is current besides.

    Returns:
        What puts back what was current before, unless something else has become current since. It never ends the
        operation.
    """
    if not isinstance(operation, SpanRecorder):
        return _stay
    before = get_current(), innermost(), current_identity()
    attach(context_of(operation.span))
    set_innermost(operation)
    set_identity(identity)

    def leave() -> None:
        if innermost() is operation:
            context, recorder, outer = before
            attach(context)
            set_innermost(recorder)
            set_identity(outer)

    return leave


def _recorded(operation: Handle | None) -> Handle | None:
    return operation.outer if isinstance(operation, InnerCall) else operation


def is_within(operation: Handle | None, outer: Handle | None) -> bool:
    """True when an operation is `outer` or, at any depth, a part of it; a call within a call is that."""
    operation, outer = _recorded(operation), _recorded(outer)
    while operation is not None:
        if operation is outer:
            return True
        operation = operation.parent if isinstance(operation, SpanRecorder) else None
    return False

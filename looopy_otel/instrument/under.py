"""Announcing for frameworks that name the parent: their word holds, except where the context knows it more exactly."""

from __future__ import annotations

from looopy_otel.core.hooks import Recorder, announce, innermost
from looopy_otel.core.operation import Operation
from looopy_otel.record.entry import is_within


def announce_under(parent: Recorder | None, operation: Operation, *, current: bool = True) -> Recorder:
    """Announces an operation under the recorder that a framework means.

    A span that the user's code has opened inside that one here, and not ended, is nearer: then it is the parent.

    Args:
        parent: What the framework means; None for what is current here.
        operation: The operation.
        current: False leaves what is current here alone.
    """
    if parent is not None and is_within(innermost(), parent):
        parent = None
    return announce(operation, parent=parent, current=current)

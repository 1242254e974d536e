"""The observer that turns announced operations into recorded ones; `configure()` puts it into the slot."""

from __future__ import annotations

from looopy_otel.core.hooks import Handle, Recorder
from looopy_otel.core.operation import Operation
from looopy_otel.record.recorder import Recording


class TracingObserver:
    """Starts a recorder for every operation.

    Args:
        recording: What the recorders share.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def start(self, operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
        """Says that an operation starts now, here."""
        return self._recording.start(operation, parent=parent, current=current)

"""The observer that turns announced operations into recorded ones; `configure()` puts it into the slot."""

from __future__ import annotations

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Handle, Recorder
from looopy_otel.core.operation import LLMCall, Operation
from looopy_otel.instrument.anthropic_spans import no_second_span
from looopy_otel.instrument.langfuse import one_generation
from looopy_otel.record.context import Ownership
from looopy_otel.record.langfuse_sdk import langchain_generation_here
from looopy_otel.record.recorder import Recording


class TracingObserver:
    """Starts a recorder for every operation.

    Args:
        recording: What the recorders share.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    @property
    def ownership(self) -> Ownership:
        """Tells our spans from those of others."""
        return self._recording.ownership

    def start(self, operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
        """Says that an operation starts now, here."""
        around = langchain_generation_here()
        recorder = self._recording.start(operation, parent=parent, current=current)
        if isinstance(operation, LLMCall) and recorder is not NO_RECORDER:
            with guard("observer.anthropic"):
                no_second_span()
            with guard("observer.langfuse"):
                one_generation(self._recording.ownership, around)
        return recorder

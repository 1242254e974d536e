"""A run of an agent while nothing is recorded: it still says whose calls those inside are, as budgets count by that."""

from __future__ import annotations

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder, SilentRecorder
from looopy_otel.core.identity import current_identity, set_identity
from looopy_otel.instrument.operations import run_identity, text


class UnrecordedRun(SilentRecorder):
    """The identity of a run, current from here until `end`; except between `suspend` and `resume`.

    Args:
        name: The agent's id.
        task_id: The run's id; by default a new one.
    """

    def __init__(self, name: str, task_id: object = None) -> None:
        self._outer = current_identity()
        self._inner = run_identity(name, task_id)
        self._task_id = self._inner.task_id
        self._active = True
        set_identity(self._inner)

    def suspend(self) -> None:
        """Puts back what was current before, and keeps what is current now."""
        if self._active:
            self._active = False
            self._inner = current_identity()
            set_identity(self._outer)

    def resume(self) -> None:
        """Makes current again what was at `suspend`."""
        if not self._active:
            self._active = True
            self._outer = current_identity()
            set_identity(self._inner)

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        """Puts back what was current before; in another context than the run's, it changes nothing."""
        if self._active and current_identity().task_id == self._task_id:
            set_identity(self._outer)


def unrecorded_run(name: object, task_id: object = None) -> Recorder:
    """Begins such a run, whatever its name; a fault of ours does not reach the caller."""
    with guard("instrument.unrecorded_run"):
        return UnrecordedRun(text(name), task_id)
    return NO_RECORDER

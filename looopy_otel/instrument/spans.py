"""Spans of the user's own: `span()` around a block, `current()` for the innermost recorder."""

from __future__ import annotations

from types import TracebackType

from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, innermost
from looopy_otel.core.operation import Step
from looopy_otel.core.snapshot import snapshot


class span:
    """Records a block of code as a span under the current one, for ``with`` and ``async with``.

    Does nothing before `configure()`. A generator that yields inside the block leaves the span current in its consumer;
    keep the block free of ``yield``.

    Args:
        name: The span's name; low cardinality, such as ``load-documents``. One without any text becomes ``unnamed``.
        input: What the block starts from; recorded under the capture mode.
    """

    __slots__ = ("_recorders", "_step")

    def __init__(self, name: str, *, input: object = None) -> None:
        self._step = (name.strip() if isinstance(name, str) else str(snapshot(name)), input)  # pyright: ignore[reportUnnecessaryIsInstance]
        self._recorders: list[Recorder] = []

    def __enter__(self) -> Recorder:
        name, value = self._step
        recorder = announce(Step(name=name or "unnamed", input=value))
        self._recorders.append(recorder)
        return recorder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._recorders.pop().end(error=error)

    async def __aenter__(self) -> Recorder:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def current() -> Recorder:
    """Returns the recorder of the innermost operation here; outside of any, one that does nothing."""
    return innermost() or NO_RECORDER

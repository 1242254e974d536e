"""Spans of the user's own: `span()` around a block, `current()` for the innermost recorder."""

from __future__ import annotations

from types import TracebackType
from typing import cast

from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, innermost
from looopy_otel.core.operation import Step


class span:
    """Records a block of code as a span under the current one, for ``with`` and ``async with``.

    Does nothing before `configure()`. A generator that yields inside the block leaves the span current in its consumer;
    keep the block free of ``yield``.

    Args:
        name: The span's name; low cardinality, such as ``load-documents``.
        input: What the block starts from; recorded under the capture mode.

    Raises:
        TypeError: If `name` is not a string.
        ValueError: If `name` is empty.
    """

    __slots__ = ("_recorders", "_step")

    def __init__(self, name: str, *, input: object = None) -> None:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"a span's name must be a string, not {type(name).__name__}")
        if not name.strip():
            raise ValueError("a span needs a name that is not empty, such as 'load-documents'")
        self._step = (name, input)
        self._recorders: list[Recorder] = []

    def __enter__(self) -> Recorder:
        name, value = self._step
        recorder = cast("Recorder", announce(Step(name=name, input=value)))
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

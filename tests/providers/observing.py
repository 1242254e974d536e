"""An observer that only remembers what it was told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import TypeVar, cast

from looopy_otel.core.hooks import Handle, Recorder
from looopy_otel.core.operation import Attempt, LLMCall, Operation
from looopy_otel.core.types import LLMResponse

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Op = TypeVar("Op", bound=Operation)


class RememberedHandle:
    """One announced operation."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.trace_id: str | None = "0af7651916cd43dd8448eb211c80319c"
        self.span_id: str | None = "b7ad6b7169203331"
        self.chunks = 0
        self.said = ""
        self.ends: list[tuple[object, BaseException | None]] = []
        self.places = [current_place()]
        self.ended = threading.Event()

    def headers(self) -> Mapping[str, str]:
        return {"traceparent": TRACEPARENT}

    def chunk(self) -> None:
        self.chunks += 1

    def revise(self, operation: Operation) -> None:
        self.revised = operation

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        self.ends.append((result, error))
        self.said = f"{result!r} {error!r} {error}"
        self.places.append(current_place())
        self.ended.set()

    @property
    def result(self) -> LLMResponse | None:
        """The response it ended with."""
        assert len(self.ends) == 1, f"ended {len(self.ends)} times"
        result = self.ends[0][0]
        assert result is None or isinstance(result, LLMResponse)
        return result

    @property
    def error(self) -> BaseException | None:
        """The error it ended with."""
        assert len(self.ends) == 1, f"ended {len(self.ends)} times"
        return self.ends[0][1]

    @property
    def call(self) -> LLMCall:
        assert isinstance(self.operation, LLMCall)
        return self.operation

    async def wait(self) -> None:
        """Waits until the operation has ended."""
        assert await asyncio.to_thread(self.ended.wait, 10.0), "the operation never ended"


class RememberingObserver:
    """Remembers every operation."""

    def __init__(self) -> None:
        self.handles: list[RememberedHandle] = []

    def start(self, operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
        self.handles.append(RememberedHandle(operation))
        return cast("Recorder", self.handles[-1])

    @property
    def only(self) -> RememberedHandle:
        """The one LLM call that was announced."""
        calls = [handle for handle in self.handles if isinstance(handle.operation, LLMCall)]
        assert len(calls) == 1, f"{len(calls)} calls were announced"
        return calls[0]

    @property
    def attempts(self) -> list[Attempt]:
        return [handle.operation for handle in self.handles if isinstance(handle.operation, Attempt)]


def current_place() -> object:
    """The task that runs here, or the thread."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return threading.current_thread()

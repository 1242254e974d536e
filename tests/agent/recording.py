"""An observer that writes down what it is told, with the parent that a tracer would see."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar, cast

from looopy_otel.core.hooks import Handle, Recorder
from looopy_otel.core.operation import AgentRun, Iteration, LLMCall, Operation, ToolRun

_current: ContextVar[Recorded | None] = ContextVar("recorded", default=None)
O = TypeVar("O", bound=Operation)  # noqa: E741

NAMES: dict[type[Operation], str] = {AgentRun: "agent", Iteration: "iteration", LLMCall: "llm", ToolRun: "tool"}


@dataclass(eq=False)
class Recorded:
    operation: Operation
    number: int
    parent: Recorded | None
    task: asyncio.Task[Any] | None
    trace_id: str
    chunks: int = 0
    ends: list[tuple[object, BaseException | None]] = field(default_factory=list[tuple[object, BaseException | None]])

    @property
    def span_id(self) -> str:
        return f"{self.number:016x}"

    @property
    def name(self) -> str:
        return NAMES[type(self.operation)]

    @property
    def result(self) -> Any:
        return self.ends[0][0]

    @property
    def error(self) -> BaseException | None:
        return self.ends[0][1]

    def headers(self) -> Mapping[str, str]:
        return {}

    def chunk(self) -> None:
        self.chunks += 1

    def revise(self, operation: Operation) -> None:
        self.revised = operation

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        assert self.task is asyncio.current_task(), f"{self.name} ended in another task than it started in"
        self.ends.append((result, error))
        _current.set(self.parent)


class RecordingObserver:
    def __init__(self) -> None:
        self.all: list[Recorded] = []
        self._numbers = count(1)

    def start(self, operation: Operation, *, parent: Handle | None = None, current: bool = True) -> Recorder:
        outer = _current.get()
        number = next(self._numbers)
        trace_id = outer.trace_id if outer else f"{number:032x}"
        recorded = Recorded(operation, number, outer, asyncio.current_task(), trace_id)
        self.all.append(recorded)
        _current.set(recorded)
        return cast("Recorder", recorded)

    def of(self, kind: type[O]) -> list[Recorded]:
        return [one for one in self.all if isinstance(one.operation, kind)]

    def assert_sound(self) -> None:
        """Every operation ended exactly once, and hangs under what it belongs to."""
        for one in self.all:
            assert len(one.ends) == 1, f"{one.name} ended {len(one.ends)} times"
            match one.operation:
                case AgentRun():
                    assert one.parent is None or one.parent.name == "tool"
                case Iteration():
                    assert one.parent is not None
                    assert one.parent.name == "agent"
                case _:
                    assert one.parent is not None
                    assert one.parent.name == "iteration"
            if one.parent is not None:
                assert isinstance(one.operation, AgentRun) or (
                    one.operation.identity.task_id == one.parent.operation.identity.task_id
                )

    def tree(self) -> list[str]:
        return [f"{one.number}<{one.parent.number if one.parent else 0} {one.name}" for one in self.all]

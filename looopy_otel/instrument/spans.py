"""Spans around blocks of the user's own code, and `current()` for the innermost recorder.

Each works as ``with`` and ``async with``, may be used several times (also at once, in tasks and threads), and yields a
recorder: ``record(…)``, ``first_chunk()``, ``fail(error)``. An exception that leaves the block is recorded and passes
unchanged. Before `configure()` they do nothing. A generator that yields inside such a block leaves the span current in
its consumer; decorate the generator instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, innermost, installed
from looopy_otel.core.operation import LLMOperation, Operation, Step
from looopy_otel.core.types import ToolLike
from looopy_otel.instrument.operations import (
    UNKNOWN_MODEL,
    agent_run,
    iteration,
    llm_call,
    llm_input,
    text,
    tool_run,
)


class _Block:
    """A block that is recorded as one operation each time it is entered."""

    __slots__ = ("_operation", "_recorders")

    def __init__(self, operation: Callable[[], Operation]) -> None:
        self._operation = operation
        self._recorders: list[Recorder] = []

    def __enter__(self) -> Recorder:
        recorder = NO_RECORDER if installed() is None else announce(self._operation())
        self._recorders.append(recorder)
        return recorder

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        here = innermost()
        # Entered several times at once, it is left by the one that is here.
        recorder = here if here is not None and here in self._recorders else self._recorders[-1]
        self._recorders.remove(recorder)
        recorder.end(error=error)

    async def __aenter__(self) -> Recorder:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


class span(_Block):
    """Records a block of code as a span under the current one.

    Args:
        name: The span's name; low cardinality, such as ``load-documents``. One without any text becomes ``unnamed``.
        input: What the block starts from; recorded under the capture mode.
    """

    __slots__ = ()

    def __init__(self, name: str, *, input: object = None) -> None:
        super().__init__(lambda: Step(name=text(name), input=input))


class agent_span(_Block):
    """Records a block of code as the run of an agent, ``agent.execute``, with the totals of what is inside.

    Args:
        name: The agent's id, which everything inside carries.
        input: What the run starts from: a text, messages, or any other value.
        task_id: The run's id, which everything inside carries; by default a new one each time.
        metadata: Facts about this run.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        *,
        input: object = None,
        task_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(lambda: agent_run(text(name), input, task_id=task_id, metadata=metadata))


class iteration_span(_Block):
    """Records a block of code as one turn of the agent around it, ``agent.iteration``.

    Args:
        number: 1, 2, …; by default the turns of the run are counted.
        input: What is new in this turn: a text, messages, or any other value.
    """

    __slots__ = ("_input",)

    def __init__(self, number: int | None = None, *, input: object = None) -> None:
        super().__init__(lambda: iteration(number))
        self._input = input

    def __enter__(self) -> Recorder:
        recorder = super().__enter__()
        recorder.record(input=self._input)
        return recorder


class llm_span(_Block):
    """Records a block of code as a call of a model, ``llm.call``.

    Tell the answer by ``record(output=…)``: a text, a message, or the response object of a known provider, whose usage,
    model and finish reason are then recorded too. Where an LLM call that is recorded by itself happens inside, that one
    is the generation, and the block becomes a step around it.

    Args:
        model: The model asked for.
        input: The conversation: a text or messages; any other value is recorded as it is.
        name: The name as a step.
        system: ``gen_ai.system``; by default what the model's name says.
        provider_name: ``gen_ai.provider.name``; likewise.
        tools: The tools offered.
        parameters: What else steers the model: ``temperature``, ``max_tokens``, …
        stream: True where the answer comes in chunks; say ``first_chunk()`` at the first one with content.
        operation: What is asked of the model.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        model: str = UNKNOWN_MODEL,
        input: object = None,
        name: str = "llm",
        system: str | None = None,
        provider_name: str | None = None,
        tools: Sequence[ToolLike] = (),
        parameters: Mapping[str, Any] | None = None,
        stream: bool = False,
        operation: LLMOperation = "chat",
    ) -> None:
        fields: dict[str, Any] = {
            "name": text(name, "llm"),
            "system": system,
            "provider_name": provider_name,
            "tools": tuple(tools),
            "parameters": dict(parameters or {}),
            "stream": stream,
            "operation": operation,
        }
        super().__init__(lambda: llm_call(model=text(model, UNKNOWN_MODEL), **llm_input(input), **fields))


class tool_span(_Block):
    """Records a block of code as the run of a tool, ``tool.execute``.

    Args:
        name: The tool.
        input: Its arguments by name.
        call_id: The model's id for the call; by default a new one each time.
        tool_type: ``function``, ``extension`` or ``datastore``.
    """

    __slots__ = ()

    def __init__(
        self, name: str, *, input: object = None, call_id: str | None = None, tool_type: str = "function"
    ) -> None:
        super().__init__(lambda: tool_run(text(name), input, call_id, tool_type))


def current() -> Recorder:
    """Returns the recorder of the innermost operation here; outside of any, one that does nothing."""
    return innermost() or NO_RECORDER

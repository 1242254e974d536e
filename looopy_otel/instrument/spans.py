"""Spans around blocks of the user's own code, and `current()` for the innermost recorder.

Each works as ``with`` and ``async with``, may be used several times (also at once, in tasks and threads), and yields a
recorder: ``record(…)``, ``first_chunk()``, ``fail(error)``. An exception that leaves the block is recorded and passes
unchanged. Before `configure()` they do nothing, except that an `agent_span` still is a run, and of an agent, to
budgets. A generator that yields inside such a block leaves the span current in its consumer; decorate the generator
instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from looopy_otel.core.hooks import NO_RECORDER, Recorder, innermost
from looopy_otel.core.operation import LLMOperation, Step
from looopy_otel.core.types import ToolLike
from looopy_otel.instrument.block import Block
from looopy_otel.instrument.operations import (
    UNKNOWN_MODEL,
    agent_run,
    facts,
    iteration,
    llm_call,
    llm_input,
    offered,
    text,
    tool_run,
)
from looopy_otel.instrument.unrecorded_run import UnrecordedRun, unrecorded_run


class span(Block):
    """Records a block of code as a span under the current one.

    Args:
        name: The span's name; low cardinality, such as ``load-documents``. One without any text becomes ``unnamed``.
        input: What the block starts from; recorded under the capture mode.
    """

    __slots__ = ()

    def __init__(self, name: str, *, input: object = None) -> None:
        super().__init__(lambda: Step(name=text(name), input=input))


class agent_span(Block):
    """Records a block of code as the run of an agent, ``agent.execute``, with the totals of what is inside.

    Args:
        name: The agent's id, which everything inside carries.
        input: What the run starts from: a text, messages, or any other value.
        task_id: The run's id, which everything inside carries; by default a new one each time.
        metadata: Facts about this run.
    """

    __slots__ = ("_run",)

    def __init__(
        self,
        name: str,
        *,
        input: object = None,
        task_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(lambda: agent_run(text(name), input, task_id=task_id, metadata=metadata))
        self._run = (name, task_id)

    def __enter__(self) -> Recorder:
        recorder = super().__enter__()
        return NO_RECORDER if isinstance(recorder, UnrecordedRun) else recorder

    def _announced(self) -> Recorder:
        recorder = super()._announced()
        if recorder is not NO_RECORDER:
            return recorder
        name, task_id = self._run
        return unrecorded_run(name, task_id)


class iteration_span(Block):
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


class llm_span(Block):
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
        super().__init__(
            lambda: llm_call(
                model=text(model, UNKNOWN_MODEL),
                name=text(name, "llm"),
                system=text(system, ""),
                provider_name=text(provider_name, ""),
                tools=offered(tools),
                parameters=facts(parameters),
                stream=stream is True,
                operation=text(operation, "chat"),
                **llm_input(input),
            )
        )


class tool_span(Block):
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
        super().__init__(lambda: tool_run(text(name), input, call_id, text(tool_type, "function")))


def current() -> Recorder:
    """Returns the recorder of the innermost operation here; outside of any, one that does nothing.

    So does that of an operation that is over, which a task that it has started may outlive.
    """
    recorder = innermost()
    return NO_RECORDER if recorder is None or getattr(recorder, "ended", False) else recorder

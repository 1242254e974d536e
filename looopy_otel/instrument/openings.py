"""What each call of a decorated function is announced as: an agent run, a turn, an LLM call, a tool run or a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, innermost, installed
from looopy_otel.core.operation import Step, ToolRun
from looopy_otel.instrument.arguments import Arguments, messages_in, request_in
from looopy_otel.instrument.function_call import FunctionCall, LLMFunctionCall, UnrecordedCall
from looopy_otel.instrument.operations import agent_run, facts, iteration, llm_call, tool_run
from looopy_otel.instrument.unrecorded_run import unrecorded_run


class Kind(Protocol):
    """One kind of operation; picklable, as a decorated function that is sent to another process takes it along."""

    def announced(self, arguments: dict[str, Any]) -> Recorder | None:
        """Opens the recorder of a call with these arguments; None for one that is recorded already."""
        ...

    def call(self, recorder: Recorder) -> FunctionCall:
        """Makes what the wrapper tells of the call."""
        ...


class Opening:
    """Opens the recording of each call of one function.

    Args:
        function: The function, undecorated.
        kind: What its calls are.
    """

    def __init__(self, function: Callable[..., Any], kind: Kind) -> None:
        self._arguments = Arguments(function)
        self._kind = kind

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionCall | None:
        """Opens the recording of one call; None where nothing is recorded."""
        if installed() is None:
            return None
        recorder = None
        try:
            with guard("decorators.open"):
                recorder = self._kind.announced(self._arguments.by_name(args, kwargs))
                return None if recorder is None or recorder is NO_RECORDER else self._kind.call(recorder)
        except BaseException as interrupt:
            if recorder is not None:
                recorder.end(error=interrupt)
            raise
        return None


class RunOpening(Opening):
    """Opens the recording of each call that is a run; one that is not recorded still is a run of its own to budgets.

    Args:
        function: The function, undecorated.
        kind: The runs.
    """

    def __init__(self, function: Callable[..., Any], kind: AgentKind) -> None:
        super().__init__(function, kind)
        self._name = kind.name

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionCall:
        """Opens the recording of one run, or begins one that nobody records."""
        return super().__call__(args, kwargs) or UnrecordedCall(unrecorded_run(self._name))


class AgentKind:
    """Calls that are runs of an agent.

    Args:
        name: The agent's id.
        metadata: Facts about each run.
    """

    def __init__(self, name: str, metadata: Mapping[str, Any] | None) -> None:
        self.name = name
        self._metadata = facts(metadata)

    def announced(self, arguments: dict[str, Any]) -> Recorder | None:
        """Opens a run; a sole argument is what it starts from, several ones are by their names."""
        given: Any = arguments
        if len(arguments) == 1:
            (only,) = arguments.values()
            given = only if isinstance(only, str) or messages_in(only) else arguments
        return announce(agent_run(self.name, given or None, metadata=self._metadata))

    def call(self, recorder: Recorder) -> FunctionCall:
        """A generator's texts are one answer."""
        return FunctionCall(recorder, joined=True)


class IterationKind:
    """Calls that are turns of an agent.

    Args:
        number: The turn; None to count them.
    """

    def __init__(self, number: int | None) -> None:
        self._number = number

    def announced(self, arguments: dict[str, Any]) -> Recorder | None:
        """Opens a turn."""
        recorder = announce(iteration(self._number))
        recorder.record(input=arguments or None)
        return recorder

    def call(self, recorder: Recorder) -> FunctionCall:
        """As any call."""
        return FunctionCall(recorder)


class LLMKind:
    """Calls that ask a model.

    Args:
        name: The step's name, where an LLM call that is recorded inside is the generation.
        stream: True for a generator.
        fields: Fields of the `LLMCall` that are known beforehand; they win over what the arguments say.
    """

    def __init__(self, name: str, stream: bool, fields: Mapping[str, Any]) -> None:
        self._fields = {**fields, "name": name, "stream": stream}

    def announced(self, arguments: dict[str, Any]) -> Recorder | None:
        """Opens a call."""
        fields: dict[str, Any] = {**request_in(arguments), **self._fields}
        return announce(llm_call(**fields))

    def call(self, recorder: Recorder) -> FunctionCall:
        """The result is read as a response."""
        return LLMFunctionCall(recorder)


class ToolKind:
    """Calls of a tool.

    Args:
        name: The tool.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def announced(self, arguments: dict[str, Any]) -> Recorder | None:
        """Opens a tool run, unless this is the function of one that the agent loop has announced."""
        around = innermost()
        operation = getattr(around, "operation", None)
        if isinstance(operation, ToolRun) and operation.name == self._name and not operation.decorated:
            return None
        call_id = arguments.get("call_id") or arguments.get("tool_call_id")
        return announce(replace(tool_run(self._name, arguments, call_id), decorated=True))

    def call(self, recorder: Recorder) -> FunctionCall:
        """As any call."""
        return FunctionCall(recorder)


class StepKind:
    """Any other calls.

    Args:
        name: The step's name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def announced(self, arguments: dict[str, Any]) -> Recorder | None:
        """Opens a step."""
        return announce(Step(name=self._name, input=arguments or None))

    def call(self, recorder: Recorder) -> FunctionCall:
        """As any call."""
        return FunctionCall(recorder)

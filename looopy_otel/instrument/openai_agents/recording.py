"""From the spans of the OpenAI Agents SDK to what is recorded of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

from looopy_otel.core.errors import LooopyError
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Recorder
from looopy_otel.core.identity import Identity, current_identity, new_call_id, new_task_id
from looopy_otel.core.operation import AgentRun, Iteration, LLMCall, Operation, Step, ToolRun
from looopy_otel.core.types import IterationResult, LLMResponse, MessageLike, ToolCall, ToolResult
from looopy_otel.instrument.openai_agents.reading import answer_of, call_of
from looopy_otel.instrument.place import Place
from looopy_otel.instrument.under import announce_under

if TYPE_CHECKING:
    from agents.tracing import Span


class AgentSpanError(LooopyError):
    """What an agent's span tells of a failure, where no exception passed. It stands on the span only."""


@dataclass(slots=True, eq=False)
class _Turn:
    """One turn of an agent.

    Attributes:
        recorder: Its recorder.
        response: The model's last answer in it.
        unclaimed: Tool calls of that answer that no tool's run was found for yet.
    """

    recorder: Recorder
    operation: Iteration
    response: LLMResponse | None = None
    unclaimed: list[ToolCall] = field(default_factory=list[ToolCall])


@dataclass(slots=True, eq=False)
class _Agent:
    """One run of an agent.

    Attributes:
        name: The agent.
        turn: The turn under way.
        count: Turns so far.
        conversation: What the last call of the model was given.
        begun: True when its input is known.
    """

    name: str
    turn: _Turn | None = None
    count: int = 0
    conversation: Sequence[MessageLike] = ()
    begun: bool = False


@dataclass(slots=True, eq=False)
class Opened:
    """A trace or span of the SDK under way.

    Attributes:
        recorder: Records it; None where it is nothing of its own.
        operation: What is recorded.
        identity: Whose it is.
        trace_id: The SDK's trace.
        outer: What it is a part of.
        agent: The agent's run that it is, or is a part of.
        place: Where it became current.
        handled: The exception that was being handled when it started, which is not its own.
    """

    recorder: Recorder | None
    operation: Operation | None
    identity: Identity
    trace_id: str
    outer: Opened | None = None
    agent: _Agent | None = None
    place: Place = field(default_factory=Place)
    handled: BaseException | None = field(default_factory=lambda: sys.exc_info()[1])

    def recording(self) -> Recorder | None:
        """Its recorder, or that of the nearest one around it that has one."""
        found: Opened | None = self
        while found is not None and found.recorder is None:
            found = found.outer
        return found.recorder if found is not None else None


OPEN: Final[dict[str, Opened]] = {}
"""What is under way, by the SDK's ids; shared by all processors, so that what is told to two is recorded once."""


def opened_span(span: Span[Any], outer: Opened | None) -> Opened:
    """What is recorded of a span of the SDK that starts."""
    data = span.span_data
    identity = outer.identity if outer is not None else current_identity()
    agent = outer.agent if outer is not None else None
    match data.type:
        case "agent":
            return _open_agent(span, outer, identity)
        case "turn" if agent is not None:
            turn = _begin_turn(outer, agent, identity, data.turn)
            return Opened(turn.recorder, turn.operation, identity, span.trace_id, outer, agent)
        case "generation" | "response":
            return _open_call(span, outer, identity)
        case "function":
            turn = agent.turn if agent is not None else None
            tool = ToolRun(name=data.name, call_id="", arguments={}, identity=identity)
            claimed = _claim(turn, data.name, None) or new_call_id()
            tool = replace(tool, call_id=claimed)
            return _open(span, outer, tool, identity, turn.recorder if turn is not None else None)
        case "task":
            return Opened(None, None, identity, span.trace_id, outer, agent)
        case kind:
            step = Step(
                name=str(getattr(data, "name", None) or kind),
                input=getattr(data, "data", None) or None,
                identity=identity,
            )
            turn = agent.turn if agent is not None and kind == "handoff" else None
            return _open(span, outer, step, identity, turn.recorder if turn is not None else None)


def _open(
    span: Span[Any], outer: Opened | None, operation: Operation, identity: Identity, under: Recorder | None = None
) -> Opened:
    recorder = announce_under(under or _recording(outer), operation)
    return Opened(recorder, operation, identity, span.trace_id, outer, outer.agent if outer is not None else None)


def _recording(outer: Opened | None) -> Recorder | None:
    return outer.recording() if outer is not None else None


def _open_agent(span: Span[Any], outer: Opened | None, identity: Identity) -> Opened:
    data, task = span.span_data, new_task_id()
    inside = replace(
        identity,
        agent_id=data.name,
        task_id=task,
        root_task_id=identity.root_task_id or identity.task_id,
    )
    run = AgentRun(agent_id=data.name, task_id=task, messages=(), parent_task_id=identity.task_id, identity=inside)
    recorder = announce_under(_recording(outer), run)
    return Opened(recorder, run, inside, span.trace_id, outer, _Agent(data.name))


def _begin_turn(outer: Opened | None, agent: _Agent, identity: Identity, number: int | None = None) -> _Turn:
    """Begins a turn; where the SDK tells none, with each call of the model."""
    _end_turn(agent)
    agent.count = number or agent.count + 1
    turn = Iteration(agent_id=agent.name, number=agent.count, messages=(), identity=identity)
    agent.turn = _Turn(announce_under(_recording(outer), turn, current=number is not None), turn)
    return agent.turn


def _end_turn(agent: _Agent, error: BaseException | None = None) -> None:
    turn, agent.turn = agent.turn, None
    if turn is not None:
        turn.recorder.end(_turn_result(turn), error)


def _turn_result(turn: _Turn) -> IterationResult | None:
    return IterationResult(turn.response.message, turn.response.finish_reason) if turn.response else None


def _open_call(span: Span[Any], outer: Opened | None, identity: Identity) -> Opened:
    under = None
    if outer is not None and outer.agent is not None:
        if isinstance(outer.operation, AgentRun):
            under = _begin_turn(outer, outer.agent, identity).recorder
        elif isinstance(outer.operation, Iteration) and outer.agent.turn is not None:
            under = outer.agent.turn.recorder
    return _open(span, outer, call_of(span.span_data, identity), identity, under)


def finish_span(opened: Opened, span: Span[Any]) -> None:
    """Ends what is recorded of a span of the SDK."""
    data, error = span.span_data, raised(opened)
    match opened.operation:
        case LLMCall():
            _finish_call(opened, span, error)
        case ToolRun():
            _finish_tool(opened, span, error)
        case Iteration() if opened.agent is not None and opened.recorder is not None:
            turn = opened.agent.turn
            result = _turn_result(turn) if turn is not None and turn.recorder is opened.recorder else None
            end(opened, result, error)
        case AgentRun() if opened.agent is not None:
            _finish_agent(opened, opened.agent, _failure(span) if error is None else error)
        case Step() if opened.recorder is not None:
            opened.recorder.record(output=_step_output(data))
            end(opened, None, _failure(span) if error is None else error)
        case _:
            pass


def _finish_call(opened: Opened, span: Span[Any], error: BaseException | None) -> None:
    call, response = call_of(span.span_data, opened.identity), answer_of(span.span_data)
    if opened.recorder is not None:
        opened.recorder.revise(call)
    agent = opened.agent
    if agent is not None and agent.turn is not None and not isinstance(_around(opened), ToolRun):
        _tell_turn(opened, agent, agent.turn, call, response)
    end(opened, response, _failure(span) if error is None else error)


def _around(opened: Opened) -> Operation | None:
    return opened.outer.operation if opened.outer is not None else None


def _tell_turn(opened: Opened, agent: _Agent, turn: _Turn, call: LLMCall, response: LLMResponse | None) -> None:
    """Says to the turn, and to the run, what its model was given and what it answered."""
    before, agent.conversation = agent.conversation, call.messages
    known = len(before) if list(call.messages[: len(before)]) == list(before) else 0
    if call.messages:
        turn.operation = replace(turn.operation, messages=call.messages[known:])
        turn.recorder.revise(turn.operation)
        run = _run_around(opened)
        if not agent.begun and run is not None and run.recorder is not None:
            agent.begun = True
            run.recorder.record(input=list(call.messages))
    if response is not None:
        turn.response, turn.unclaimed = response, list(response.tool_calls)


def _run_around(opened: Opened) -> Opened | None:
    found: Opened | None = opened
    while found is not None and not isinstance(found.operation, AgentRun):
        found = found.outer
    return found


def _claim(turn: _Turn | None, name: str, arguments: object) -> str | None:
    """The id of the tool call that a tool's run is for: the SDK's span does not tell it.

    Args:
        turn: The turn under way.
        name: The tool.
        arguments: Its arguments as the model wrote them; None where they are not told yet: then nothing is claimed.
    """
    calls = [call for call in (turn.unclaimed if turn is not None else ()) if call.name == name]
    if arguments is None or turn is None:
        return calls[0].id if calls else None
    same = next((call for call in calls if call.arguments == arguments), None)
    if same is not None:
        turn.unclaimed.remove(same)
    return same.id if same is not None else None


def _finish_tool(opened: Opened, span: Span[Any], error: BaseException | None) -> None:
    data, tool = span.span_data, cast("ToolRun", opened.operation)
    turn = opened.agent.turn if opened.agent is not None else None
    call_id = _claim(turn, tool.name, data.input) or tool.call_id
    if opened.recorder is not None:
        opened.recorder.revise(replace(tool, call_id=call_id, arguments=_arguments(data.input)))
    told = span.error
    if error is not None or told is None:
        end(opened, ToolResult(data.output) if error is None else None, error)
    else:
        end(opened, ToolResult(data.output or _told_text(told), error_type="tool_error"), None)


def _arguments(text: object) -> Mapping[str, Any] | str:
    if not isinstance(text, str):
        return cast("Mapping[str, Any]", text) if isinstance(text, Mapping) else {}
    try:
        value: Any = json.loads(text) if text else {}
    except ValueError:
        return text
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else text


def _finish_agent(opened: Opened, agent: _Agent, error: BaseException | None) -> None:
    response = agent.turn.response if agent.turn is not None else None
    _end_turn(agent, error)
    if opened.recorder is not None and response is not None:
        message = response.message
        opened.recorder.record(output=message.content if message.content else message)
    end(opened, None, error)


def _step_output(data: Any) -> object:
    match data.type:
        case "handoff":
            return {"from": data.from_agent, "to": data.to_agent}
        case "guardrail":
            return {"triggered": data.triggered}
        case "mcp_tools":
            return data.result
        case _:
            return getattr(data, "output", None)


def raised(opened: Opened) -> BaseException | None:
    """What is passing through the block of a span that is being left."""
    error = sys.exc_info()[1]
    return error if error is not opened.handled else None


def _failure(span: Span[Any]) -> AgentSpanError | None:
    return AgentSpanError(_told_text(span.error)) if span.error is not None else None


def _told_text(told: Mapping[str, Any] | Any) -> str:
    details = cast("Mapping[str, Any]", told.get("data") or {})
    reason = details.get("error")
    return f"{told.get('message')}: {reason}" if reason else str(told.get("message"))


def end(opened: Opened, result: object, error: BaseException | None) -> None:
    """Ends a record with its result, or with what was raised, where it became current."""
    if opened.recorder is not None:
        opened.place.run(opened.recorder.end, result, error)


def close_all(trace_id: str, error: BaseException | None) -> None:
    """Ends what is still under way in a trace that has ended, innermost first."""
    for key, opened in reversed(tuple(OPEN.items())):
        if opened.trace_id == trace_id:
            del OPEN[key]
            if key != trace_id:
                if isinstance(opened.operation, AgentRun) and opened.agent is not None:
                    _end_turn(opened.agent, GeneratorExit() if error is None else error)
                end(opened, None, GeneratorExit() if error is None else error)


def forget(trace_id: str) -> None:
    """Ends a trace that nobody has ended and nobody can any more."""
    opened = OPEN.get(trace_id)
    if opened is not None:
        with guard("openai_agents.forget"):
            close_all(trace_id, None)
            end(opened, None, GeneratorExit())

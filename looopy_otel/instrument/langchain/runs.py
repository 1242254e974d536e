"""The runs that LangChain tells of, while they are under way: which one is a part of which, and the turns of agents."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, cast
from uuid import UUID

from looopy_otel.core.hooks import Recorder, innermost
from looopy_otel.core.identity import Identity, current_identity, new_task_id
from looopy_otel.core.operation import AgentRun, Iteration, Operation
from looopy_otel.core.types import IterationResult, LLMResponse, MessageLike, ToolCall
from looopy_otel.instrument.place import Place, current_task
from looopy_otel.instrument.under import announce_under
from looopy_otel.record.entry import enter, is_within

Kind = Literal["agent", "node", "call", "tool", "step", "passage"]
"""What a run is: the run of a graph, a node of one, a call of a model, a tool, a step; or nothing of its own."""


@dataclass(slots=True, eq=False)
class Turn:
    """One turn of a graph's agent: the node that called the model, and the tools that it asked for.

    Attributes:
        recorder: The turn's recorder.
        place: Where it ends.
        response: The model's last answer in it.
        open_calls: The tools asked for that have not ended yet.
        left: True when its node has ended.
    """

    recorder: Recorder
    place: Place
    response: LLMResponse | None = None
    open_calls: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    left: bool = False

    def end(self, error: BaseException | None = None) -> None:
        """Ends the turn with the model's answer."""
        response = self.response
        result = IterationResult(response.message, response.finish_reason) if response else None
        self.place.run(self.recorder.end, result, error)


@dataclass(slots=True, eq=False)
class Agent:
    """The run of one graph.

    Attributes:
        name: The agent.
        recorder: The run's recorder; never current by itself, since a graph is consumed as a generator.
        turns: The turns under way.
        count: Turns so far.
        conversation: What the last call of a model was given.
        interrupted: True when it waits for somebody.
        claimed: The ids of tool calls that were found for a tool's run.
    """

    name: str
    recorder: Recorder
    turns: list[Turn] = field(default_factory=list[Turn])
    count: int = 0
    conversation: Sequence[MessageLike] = ()
    interrupted: bool = False
    claimed: set[str] = field(default_factory=set[str])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn_that_asked(self, call_id: str | None) -> Turn | None:
        """The turn that a tool call belongs to; the latest one where nobody says."""
        with self.lock:
            asked = (turn for turn in reversed(self.turns) if call_id in turn.open_calls)
            return next(asked, self.turns[-1] if self.turns else None)

    def claim(self, name: str, arguments: object) -> str | None:
        """The id of the tool call that a tool's run is for, where LangChain does not tell it; each is given once.

        Args:
            name: The tool.
            arguments: What it is given; graphs may add to what the model asked for.
        """
        with self.lock:
            open_calls = [call for turn in reversed(self.turns) for call in turn.open_calls.values()]
            calls = [call for call in open_calls if call.name == name and call.id not in self.claimed]
            call = next((call for call in calls if _asks_for(call, arguments)), calls[0] if calls else None)
            if call is not None:
                self.claimed.add(call.id)
            return call.id if call is not None else None

    def close_left_turns(self) -> None:
        """Ends the turns whose node has ended, before the next one begins."""
        with self.lock:
            over = [turn for turn in self.turns if turn.left]
            self.turns = [turn for turn in self.turns if not turn.left]
        for turn in over:
            turn.end()

    def close_turn(self, turn: Turn, error: BaseException | None = None) -> None:
        """Ends one turn."""
        with self.lock:
            if turn in self.turns:
                self.turns.remove(turn)
        turn.end(error)

    def close(self, error: BaseException | None) -> None:
        """Ends all turns."""
        with self.lock:
            turns, self.turns = self.turns, []
        for turn in turns:
            turn.end(error)


@dataclass(slots=True, eq=False)
class Run:
    """One run under way.

    Attributes:
        id: LangChain's id of it.
        kind: What it is.
        outer: The run that it is a part of.
        identity: Whose it is.
        agent: The graph's run that it is, or is a part of.
        recorder: Records it; None where it is nothing of its own.
        operation: What is recorded.
        place: Where it became current.
        leave: Puts back what was current before, where no recorder does.
        inner: What is under way inside.
        turn: The turn that a node has become.
        input: What a node starts from.
        streamed: True once a piece of its text arrived.
        provider: LangChain's name of a model's provider.
        on_task_over: Waits for the end of the task of a call that is part of nothing.
    """

    id: UUID
    kind: Kind
    outer: Run | None
    identity: Identity
    agent: Agent | None = None
    recorder: Recorder | None = None
    operation: Operation | None = None
    place: Place = field(default_factory=Place)
    leave: Callable[[], None] | None = None
    inner: dict[UUID, Run] = field(default_factory=dict["UUID", "Run"])
    turn: Turn | None = None
    input: Any = None
    streamed: bool = False
    provider: str | None = None
    on_task_over: Callable[[asyncio.Task[Any]], None] | None = None

    def nearest(self, *kinds: Kind) -> Run | None:
        """This run or the nearest one around it that is of one of these kinds."""
        run: Run | None = self
        while run is not None and run.kind not in kinds:
            run = run.outer
        return run

    def step_in(self, *, for_good: bool = False) -> None:
        """Makes this run current here, or the one around it where it is nothing of its own.

        Args:
            for_good: True leaves it so: LangChain has made a context for this, and tells the end in another one.
        """
        recorder = self.recording()
        if recorder is not None and not is_within(innermost(), recorder):
            leave = enter(recorder, self.identity)
            self.leave = None if for_good else leave

    def recording(self) -> Recorder | None:
        """The recorder of this run, or of the nearest one around it that has one."""
        run: Run | None = self
        while run is not None and run.recorder is None:
            run = run.outer
        return run.recorder if run is not None else None


class Runs:
    """All runs under way, by LangChain's ids. A run that ends takes along what is still under way inside."""

    def __init__(self) -> None:
        self._runs: dict[UUID, Run] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: UUID) -> bool:
        return run_id in self._runs

    def get(self, run_id: UUID | None) -> Run | None:
        """The run of that id, if it is under way."""
        return self._runs.get(run_id) if run_id is not None else None

    def add(self, run: Run) -> Run:
        """Keeps a run until it ends, or the task does that it is the outermost one of."""
        self._runs[run.id] = run
        if run.outer is not None:
            run.outer.inner[run.id] = run
        elif run.kind == "call" and run.place.task is not None:
            # LangChain does not say when a model's call is cancelled that was awaited.
            run.on_task_over = partial(self._task_is_over, run)
            run.place.task.add_done_callback(run.on_task_over)
        return run

    def _task_is_over(self, run: Run, task: asyncio.Task[Any]) -> None:
        self.finish(run, error=asyncio.CancelledError())

    def leave_cancelled_call(self) -> None:
        """Ends a model's call that is current here though its task has gone on to something else."""
        recorder, task = innermost(), current_task()
        if recorder is None or task is None:
            return
        for run in tuple(self._runs.values()):
            if run.recorder is recorder and run.kind == "call" and run.place.task is task:
                self.finish(run, error=asyncio.CancelledError())

    def finish(self, run: Run, result: object = None, error: BaseException | None = None) -> None:
        """Ends a run, and first what is still under way inside."""
        if self._runs.pop(run.id, None) is None:
            return
        if run.outer is not None:
            run.outer.inner.pop(run.id, None)
        if run.on_task_over is not None and run.place.task is not None:
            run.place.task.remove_done_callback(run.on_task_over)
        for inner in tuple(run.inner.values()):
            self.finish(inner, error=GeneratorExit() if error is None else error)
        if run.kind == "agent" and run.agent is not None:
            run.agent.close(error)
        if run.turn is not None and run.agent is not None:
            self._leave_turn(run.turn, run.agent, error)
        elif run.recorder is not None:
            run.place.run(run.recorder.end, result, error)
        if run.leave is not None:
            run.place.run(run.leave)

    def _leave_turn(self, turn: Turn, agent: Agent, error: BaseException | None) -> None:
        """Ends a node that is a turn: the turn goes on while tools are to be run for it."""
        turn.left = True
        if error is not None or not turn.open_calls:
            agent.close_turn(turn, error)


def _asks_for(call: ToolCall, arguments: object) -> bool:
    """True where all that a model asked for is in what a tool is given."""
    with suppress(ValueError):
        asked, given = json.loads(call.arguments), arguments
        if isinstance(asked, Mapping) and isinstance(given, Mapping):
            fields = cast("Mapping[str, Any]", given)
            return all(name in fields and fields[name] == value for name, value in cast("Any", asked).items())
    return False


def start_agent(run_id: UUID, outer: Run | None, name: str, identity: Identity, messages: Sequence[MessageLike]) -> Run:
    """Announces the run of a graph."""
    task = new_task_id()
    identity = replace(
        identity,
        agent_id=name,
        task_id=task,
        root_task_id=(identity.root_task_id or identity.task_id) if identity.task_id else None,
    )
    operation = AgentRun(
        agent_id=name, task_id=task, messages=messages, parent_task_id=current_task_id(outer), identity=identity
    )
    recorder = announce_under(outer.recording() if outer is not None else None, operation, current=False)
    return Run(run_id, "agent", outer, identity, Agent(name, recorder), recorder, operation)


def current_task_id(outer: Run | None) -> str | None:
    """The task of the run around this place."""
    return (outer.identity if outer is not None else current_identity()).task_id


def begin_turn(node: Run, agent: Agent, messages: Sequence[MessageLike]) -> None:
    """Has a node become a turn of its agent: it calls the model."""
    if node.turn is not None or node.recorder is None:
        return
    agent.close_left_turns()
    with agent.lock:
        agent.count += 1
        number, before = agent.count, agent.conversation
        agent.conversation = messages
        node.turn = Turn(node.recorder, node.place)
        agent.turns.append(node.turn)
    known = len(before) if list(messages[: len(before)]) == list(before) else 0
    name = getattr(node.operation, "name", None)
    node.recorder.revise(
        Iteration(agent_id=agent.name, number=number, messages=messages[known:], identity=node.identity)
    )
    node.recorder.record(metadata={"langgraph_node": name})

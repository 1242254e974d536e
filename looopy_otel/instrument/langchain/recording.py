"""From what LangChain's callbacks tell to runs that are recorded: one function for each kind of start and end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast
from uuid import UUID

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Recorder, installed
from looopy_otel.core.identity import Identity, current_identity, new_call_id
from looopy_otel.core.operation import LLMCall, Step, ToolRun
from looopy_otel.core.types import MessageLike, ToolResult
from looopy_otel.instrument.langchain.reading import (
    is_message,
    plain,
    request_of,
    response_of,
    state_messages,
    state_output,
)
from looopy_otel.instrument.langchain.runs import Run, Runs, begin_turn, start_agent
from looopy_otel.instrument.under import announce_under

_SESSION: Final = ("session_id", "thread_id", "langfuse_session_id")
_USER: Final = ("user_id", "langfuse_user_id")
_HIDDEN: Final = "langsmith:hidden"
RUNS: Final = Runs()
"""Shared by all handlers, so that a run that is told to two of them is recorded once."""


def is_new(run_id: UUID) -> bool:
    """True for a run that is to be recorded and is not yet."""
    if installed() is None or run_id in RUNS:
        return False
    RUNS.leave_cancelled_call()
    return True


def _identity(outer: Run | None, metadata: Mapping[str, Any] | None) -> Identity:
    """Whose a run is: as the one around it, or as the program and the configuration say."""
    here = current_identity()
    if outer is not None and here.task_id != outer.identity.task_id:
        return outer.identity
    facts = metadata or {}
    return replace(
        here,
        session_id=here.session_id or (outer.identity.session_id if outer else _fact(facts, _SESSION)),
        user_id=here.user_id or (outer.identity.user_id if outer else _fact(facts, _USER)),
    )


def _recording(outer: Run | None) -> Recorder | None:
    return outer.recording() if outer is not None else None


def _fact(facts: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((str(facts[name]) for name in names if facts.get(name) not in (None, "")), None)


def start_chain(
    run_id: UUID, outer: Run | None, name: str, inputs: Any, tags: Sequence[str], metadata: Mapping[str, Any]
) -> None:
    """A graph, a node or any other chain starts."""
    identity = _identity(outer, metadata)
    agent = outer.agent if outer is not None else None
    node = metadata.get("langgraph_node") if any(tag.startswith("graph:step:") for tag in tags) else None
    if _is_graph():
        title = str(metadata.get("langgraph_node") or name) if name == "LangGraph" else name
        run = RUNS.add(start_agent(run_id, outer, title, identity, state_messages(inputs)))
        if run.recorder is not None and not state_messages(inputs):
            run.recorder.record(input=plain(inputs))
    elif node is not None and agent is not None and not name.startswith("__") and not _runs_tools(name, inputs):
        run = Run(run_id, "node", outer, identity, agent, input=inputs)

        def called(call: LLMCall) -> None:
            begin_turn(run, agent, call.messages)

        run.operation = Step(name=name, identity=identity, on_call=called)
        run.recorder = announce_under(_recording(outer), run.operation, current=False)
        RUNS.add(run).step_in()
    elif outer is None and _HIDDEN not in tags:
        RUNS.add(_outermost_chain(run_id, name, inputs, identity))
    else:
        passage = RUNS.add(Run(run_id, "passage", outer, identity, agent))
        if not _is_batch():
            passage.step_in(for_good=_is_streamed(inputs))


def _outermost_chain(run_id: UUID, name: str, inputs: Any, identity: Identity) -> Run:
    """A chain that is part of nothing: a step.

    While it is streamed it is not current in the one who reads it, and of several that are started at once, none is
    current in the one who waits for them all.
    """
    streamed = _is_streamed(inputs)
    step = Step(name=name, input=None if streamed else plain(inputs), identity=identity)
    run = Run(run_id, "step", None, identity, None, announce_under(None, step, current=False), step)
    if not streamed and not _is_batch():
        run.step_in()
    return run


def _is_streamed(inputs: Any) -> bool:
    """True for a chain that is streamed, in which LangChain starts a run before it knows the input."""
    return inputs == {"input": ""}


def _is_graph() -> bool:
    """True when a graph's run is starting: LangGraph itself has called the callback manager.

    Neither names nor tags nor metadata tell a graph from a chain in all versions.
    """
    module, function = _caller()
    return module.startswith("langgraph.pregel") and function in ("stream", "astream")


def _is_batch() -> bool:
    """True when LangChain starts the runs of a batch, one after the other in the caller's own context."""
    module, function = _caller()
    return module.startswith("langchain_core.runnables") and function == "batch"


def _caller() -> tuple[str, str]:
    """The module and the function that called LangChain's callback manager."""
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        # Before Python 3.12 a list comprehension has a frame of its own.
        if not module.startswith(("looopy_otel.", "langchain_core.callbacks")) and frame.f_code.co_name != "<listcomp>":
            return module, frame.f_code.co_name
        frame = frame.f_back
    return "", ""


def _runs_tools(name: str, inputs: Any) -> bool:
    """True for the node that only runs the tools that a model asked for; they stand in the model's turn."""
    if isinstance(inputs, Mapping) and cast("Mapping[str, Any]", inputs).get("__type") == "tool_call_with_context":
        return True
    return name == "tools"


def end_chain(run: Run, outputs: Any) -> None:
    """A chain has ended."""
    _record_chain(run, outputs)
    RUNS.finish(run)


def fail_chain(run: Run, error: BaseException) -> None:
    """A chain has failed, was cancelled, or waits for somebody."""
    interrupted = _is_interrupt(error)
    if interrupted and run.agent is not None:
        run.agent.interrupted = True
    _record_chain(run, None)
    RUNS.finish(run, error=None if interrupted else error)


def _record_chain(run: Run, outputs: Any) -> None:
    """Says what came of a chain."""
    if run.recorder is None or run.turn is not None:
        return
    if run.kind == "agent" and run.agent is not None:
        if run.agent.interrupted or "__interrupt__" in (outputs if isinstance(outputs, Mapping) else ()):
            run.recorder.record(metadata={"interrupted": True})
        run.recorder.record(output=state_output(outputs) if outputs is not None else None)
        return
    run.recorder.record(input=plain(run.input), output=plain(outputs))


def start_call(
    run_id: UUID,
    outer: Run | None,
    messages: list[MessageLike],
    serialized: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    facts: Mapping[str, Any],
) -> None:
    """A model is called."""
    request = request_of(serialized, facts.get("invocation_params"), metadata)
    identity = _identity(outer, metadata)
    _begin_turn_around(outer, messages)
    call = LLMCall(
        messages=messages,
        model=request.model,
        system=request.vendor.system if request.vendor else None,
        provider_name=request.vendor.provider_name if request.vendor else None,
        tools=request.tools,
        tool_choice=request.tool_choice,
        response_format=request.response_format,
        parameters=request.parameters,
        stream=request.stream,
        server_address=request.server_address,
        server_port=request.server_port,
        identity=identity,
    )
    recorder = announce_under(_recording(outer), call)
    run = Run(run_id, "call", outer, identity, outer.agent if outer else None, recorder, call)
    run.provider = str((metadata or {}).get("ls_provider") or "") or None
    RUNS.add(run)


def _begin_turn_around(outer: Run | None, messages: Sequence[MessageLike]) -> None:
    """A call that stands directly in a node of a graph makes that node a turn."""
    around = outer.nearest("node", "tool", "agent") if outer is not None else None
    if around is not None and around.kind == "node" and around.agent is not None:
        begin_turn(around, around.agent, messages)


def take_piece(run: Run, *, delta: bool) -> None:
    """A piece of a model's answer arrived."""
    if run.recorder is None:
        return
    if not run.streamed:
        run.streamed = True
        if isinstance(run.operation, LLMCall) and not run.operation.stream:
            run.recorder.revise(replace(run.operation, stream=True))
        # Whoever reads the stream goes on with their own work between two pieces.
        run.place.run(run.recorder.suspend)
    if delta:
        run.recorder.chunk()


def says_something(token: object, message: Any) -> bool:
    """True for a piece of an answer that carries text, reasoning or a part of a tool call."""
    extra = cast("Mapping[str, Any]", getattr(message, "additional_kwargs", None) or {})
    return bool(
        token
        or getattr(message, "content", None)
        or getattr(message, "tool_call_chunks", None)
        or extra.get("reasoning_content")
    )


def end_call(run: Run, result: Any, error: BaseException | None) -> None:
    """A model has answered, or failed."""
    response = None
    with guard("langchain.response"):
        response = response_of(result, streamed=run.streamed and error is None, provider=run.provider)
    node = run.outer.nearest("node", "tool", "agent") if run.outer is not None else None
    if node is not None and node.turn is not None and response is not None and error is None:
        node.turn.response = response
        node.turn.open_calls |= {call.id: call for call in response.tool_calls}
    RUNS.finish(run, response, error)


def start_tool(
    run_id: UUID,
    outer: Run | None,
    name: str,
    arguments: Any,
    call_id: str | None,
    metadata: Mapping[str, Any] | None,
) -> None:
    """A tool is called."""
    identity = _identity(outer, metadata)
    agent = outer.agent if outer is not None else None
    turn = None
    if agent is not None and not _inside_tool(outer):
        call_id = call_id or agent.claim(name, arguments)
        turn = agent.turn_that_asked(call_id)
    tool = ToolRun(name=name, call_id=call_id or new_call_id(), arguments=arguments, identity=identity)
    recorder = announce_under(turn.recorder if turn is not None else _recording(outer), tool, current=False)
    RUNS.add(Run(run_id, "tool", outer, identity, agent, recorder, tool)).step_in()


def _inside_tool(outer: Run | None) -> bool:
    around = outer.nearest("tool", "agent") if outer is not None else None
    return around is not None and around.kind == "tool"


def end_tool(run: Run, output: Any) -> None:
    """A tool has ended."""
    message = output if is_message(output) else None
    call_id = getattr(message, "tool_call_id", None)
    if call_id and isinstance(run.operation, ToolRun) and run.recorder is not None:
        # Versions that tell it only now left two equal calls at the same time to guessing.
        run.operation = replace(run.operation, call_id=str(call_id))
        run.recorder.revise(run.operation)
    _settle_tool_call(run)
    failed = message is not None and getattr(message, "status", None) == "error"
    content = message.content if message is not None else plain(output)
    RUNS.finish(run, ToolResult(content, error_type="tool_error" if failed else None))


def fail_tool(run: Run, error: BaseException) -> None:
    """A tool has failed, or waits for somebody."""
    interrupted = _is_interrupt(error)
    if not interrupted:
        _settle_tool_call(run)
    RUNS.finish(run, error=None if interrupted else error)


def start_retriever(run_id: UUID, outer: Run | None, name: str, query: str, metadata: Mapping[str, Any] | None) -> None:
    """A retriever is asked."""
    identity = _identity(outer, metadata)
    step = Step(name=name, input=query, identity=identity)
    recorder = announce_under(_recording(outer), step)
    RUNS.add(Run(run_id, "step", outer, identity, outer.agent if outer else None, recorder, step))


def _settle_tool_call(run: Run) -> None:
    """Strikes a tool call off what its turn waits for."""
    if run.agent is None or not isinstance(run.operation, ToolRun):
        return
    turn = run.agent.turn_that_asked(run.operation.call_id)
    if turn is not None:
        turn.open_calls.pop(run.operation.call_id, None)


def _is_interrupt(error: BaseException) -> bool:
    """True for what LangGraph raises to steer itself, such as an interrupt."""
    return any(kind.__name__ == "GraphBubbleUp" for kind in type(error).__mro__)

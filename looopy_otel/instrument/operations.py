"""The operations that decorators and context managers announce, from the little that a user has to say."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from looopy_otel.core.hooks import Recorder, innermost
from looopy_otel.core.identity import Identity, current_identity, new_call_id, new_task_id
from looopy_otel.core.operation import AgentRun, Iteration, LLMCall, ToolRun
from looopy_otel.core.snapshot import snapshot
from looopy_otel.core.types import Message
from looopy_otel.core.vendors import vendor_named, vendor_of
from looopy_otel.instrument.arguments import messages_in

UNKNOWN_MODEL: Final = "unknown"
"""The model of a call that nobody has named one for."""

_turns: WeakKeyDictionary[Recorder, int] = WeakKeyDictionary()
_lock = threading.Lock()


def text(name: object, otherwise: str = "unnamed") -> str:
    """A name that is a text, whatever was given; `otherwise` for an empty one."""
    shown = name if isinstance(name, str) else "" if name is None else str(snapshot(name))
    return shown.strip() or otherwise


def facts(given: object) -> Mapping[str, Any]:
    """Facts by their names, whatever was given; what has no names is the one fact ``value``."""
    if given is None:
        return {}
    return dict(cast("Mapping[str, Any]", given)) if isinstance(given, Mapping) else {"value": given}


def offered(tools: object) -> Sequence[Any]:
    """Tools, whatever was given; what is no list of them is the only one."""
    if tools is None:
        return ()
    if isinstance(tools, str | Mapping) or not isinstance(tools, Iterable):
        return (cast("object", tools),)
    return tuple(cast("Iterable[Any]", tools))


def agent_run(name: str, given: object = None, *, task_id: object = None, metadata: object = None) -> AgentRun:
    """A run of an agent, which is also the identity of all that happens inside.

    Args:
        name: The agent's id.
        given: What the run starts from: a text, messages, or any other value.
        task_id: The run's id; by default a new one.
        metadata: Facts about this run.
    """
    identity = run_identity(name, task_id)
    return AgentRun(
        agent_id=name,
        task_id=identity.task_id or "",
        messages=messages_in(given),
        prompt=given,
        parent_task_id=current_identity().task_id,
        metadata=facts(metadata),
        identity=identity,
    )


def run_identity(name: str, task_id: object = None) -> Identity:
    """The identity of a run that begins here; the session stays what it is.

    Args:
        name: The agent's id.
        task_id: The run's id; by default a new one.
    """
    outer = current_identity()
    return replace(
        outer,
        agent_id=name,
        task_id=text(task_id, "") or new_task_id(),
        root_task_id=outer.root_task_id or outer.task_id,
        trace_name=outer.trace_name or name,
    )


def iteration(number: int | None = None) -> Iteration:
    """A turn of the agent whose run is under way here.

    Args:
        number: 1, 2, …; by default the next one of that run. Outside of any run it is 1.
    """
    with suppress(TypeError, ValueError, OverflowError):
        number = None if number is None else int(number)
    if not isinstance(number, int):
        number = _next_turn(_run_here())
    return Iteration(agent_id=current_identity().agent_id or "", number=number, messages=())


def _run_here() -> Recorder | None:
    recorder: Any = innermost()
    while recorder is not None and not isinstance(getattr(recorder, "operation", None), AgentRun):
        recorder = getattr(recorder, "parent", None)
    return recorder


def _next_turn(run: Recorder | None) -> int:
    if run is None:
        return 1
    with _lock:
        _turns[run] = _turns.get(run, 0) + 1
        return _turns[run]


def llm_call(
    *,
    model: str = UNKNOWN_MODEL,
    system: str | None = None,
    provider_name: str | None = None,
    **fields: Any,
) -> LLMCall:
    """A call of a model by the user's own code; an LLM call that is recorded inside takes its place.

    Args:
        model: The model asked for.
        system: ``gen_ai.system``; by default what the provider's name, or else the model's, says.
        provider_name: ``gen_ai.provider.name``; likewise.
        fields: Further fields of `LLMCall`.
    """
    vendor = vendor_named(provider_name) if provider_name else vendor_of(model)
    return LLMCall(
        model=model,
        system=system or vendor.system,
        provider_name=provider_name or vendor.provider_name,
        inner="replace",
        **fields,
    )


def llm_input(given: object) -> dict[str, Any]:
    """What a model is given, as fields of an `LLMCall`: a text and messages are the conversation."""
    messages: Sequence[object] = [Message("user", given)] if isinstance(given, str) else messages_in(given)
    return {"messages": messages, "input": None if messages else given}


def tool_run(name: str, arguments: object, call_id: object = None, tool_type: str = "function") -> ToolRun:
    """A run of a tool.

    Args:
        name: The tool.
        arguments: By name, or whatever it is given.
        call_id: The model's id for the call; by default a new one.
        tool_type: ``gen_ai.tool.type``.
    """
    given = cast("Mapping[str, Any]", arguments)
    return ToolRun(name=name, call_id=text(call_id, "") or new_call_id(), arguments=given, tool_type=tool_type)

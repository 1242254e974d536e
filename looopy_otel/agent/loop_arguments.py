"""What users may hand to an `AgentLoop`: one clear sentence for each argument that is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from looopy_otel.agent.events import Detail

_STORE_METHODS = ("save", "load", "exists", "delete", "list_tasks", "set_ttl")
_ARTIFACT_METHODS = ("create", "append", "get", "list")


def problems_of_loop(given: Mapping[str, Any]) -> Iterator[str]:
    """Says what is wrong with the arguments of `AgentLoop`, but for its tools' names."""
    if not isinstance(given["agent_id"], str) or not given["agent_id"]:
        yield f"agent_id={given['agent_id']!r} must be a text that is not empty"
    if not callable(getattr(given["llm_provider"], "call", None)):
        yield f"llm_provider must be an LLMProvider such as LiteLLM.gpt4(url), not {_kind(given['llm_provider'])}"
    if not _is_sequence(given["tool_providers"]):
        yield f"tool_providers must be a list such as [FunctionTools([…])], not {_kind(given['tool_providers'])}"
    yield from _lacking("task_state_store", given, "a StateStore", _STORE_METHODS)
    yield from _lacking("artifact_store", given, "an ArtifactStore", _ARTIFACT_METHODS)
    if not isinstance(given["system_prompt"], str | None):
        yield f"system_prompt must be a text or None, not {_kind(given['system_prompt'])}"
    if not _is_count(given["max_iterations"]):
        yield f"max_iterations={given['max_iterations']!r} must be a whole number, at least 1"
    if given["tool_timeout"] is not None and not _is_duration(given["tool_timeout"]):
        yield f"tool_timeout={given['tool_timeout']!r} must be a number > 0 (seconds) or None"
    if not _is_sequence(given["middleware"]) or not all(map(callable, given["middleware"])):
        yield "middleware must be a list of callables: async (operation, call_next)"


def check_run(given: Mapping[str, Any]) -> None:
    """Checks the options of a run.

    Raises:
        TypeError: If one has a wrong type.
        ValueError: If one is out of range.
    """
    for name, value in given.items():
        match name:
            case "metadata":
                if not isinstance(value, Mapping | None):
                    raise TypeError(f"metadata must be a mapping such as {{'tier': 'pro'}}, not {_kind(value)}")
            case "max_iterations":
                if value is not None and not _is_count(value):
                    raise ValueError(f"max_iterations={value!r} must be a whole number, at least 1")
            case "detail":
                if value not in cast("tuple[str, ...]", get_args(Detail)):
                    raise ValueError(f"detail={value!r} must be 'task' or 'full'")
            case _:
                if not isinstance(value, str | None):
                    raise TypeError(f"{name} must be a string, not {_kind(value)}; write {name}=str(…)")


def _lacking(name: str, given: Mapping[str, Any], protocol: str, methods: Sequence[str]) -> Iterator[str]:
    missing = [method for method in methods if not callable(getattr(given[name], method, None))]
    if given[name] is not None and missing:
        yield f"{name} must be {protocol} or None: {_kind(given[name])} lacks {', '.join(missing)}"


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and not math.isnan(value)


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__

"""Operations to announce."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from looopy_otel.core.hooks import Recorder, announce
from looopy_otel.core.identity import current_identity
from looopy_otel.core.operation import AgentRun, InnerCalls, Iteration, LLMCall, Step, ToolRun
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.core.usage import Usage

ANSWER = LLMResponse(message=Message("assistant", "Hi."), model="m-1", usage=Usage(11, 7), finish_reason="stop")


def step(name: str, **how: Any) -> Recorder:
    """Starts a step."""
    return announce(Step(name=name), **how)


def llm(inner: InnerCalls = "silent", *, model: str = "m", **how: Any) -> Recorder:
    """Starts an LLM call."""
    return announce(
        LLMCall(messages=[{"role": "user", "content": "Hello"}], model=model, inner=inner, name="ask"), **how
    )


def run(agent: str = "a", task: str = "t", **how: Any) -> Recorder:
    """Starts a run with an identity of its own."""
    identity = replace(current_identity(), agent_id=agent, task_id=task)
    return announce(AgentRun(agent_id=agent, task_id=task, messages=(), identity=identity), **how)


def turn(**how: Any) -> Recorder:
    """Starts a turn."""
    return announce(Iteration(agent_id="a", number=1, messages=()), **how)


def tool(**how: Any) -> Recorder:
    """Starts a tool call."""
    return announce(ToolRun(name="search", call_id="c", arguments={}), **how)

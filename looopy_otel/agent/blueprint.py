"""What an agent is made of, what one run of it was asked, and what the steps of that run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from looopy_otel.agent.artifacts import ArtifactStore
from looopy_otel.agent.errors import MiddlewareResultError
from looopy_otel.agent.events import Detail
from looopy_otel.agent.ledger import Ledger
from looopy_otel.agent.sink import EventSink
from looopy_otel.agent.state import Checkpoint, StateStore
from looopy_otel.agent.toolbox import OfferedTools, Toolbox
from looopy_otel.core.middleware import compose
from looopy_otel.core.operation import CallNext, Middleware, Operation
from looopy_otel.core.types import LLMProvider, MessageLike

R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """An agent. The fields are the arguments of `AgentLoop`."""

    agent_id: str
    provider: LLMProvider
    toolbox: Toolbox
    state_store: StateStore | None
    artifact_store: ArtifactStore | None
    system_prompt: str | None
    max_iterations: int
    middleware: tuple[Middleware, ...]
    tool_timeout: float | None
    tracing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one run was asked. The fields are the arguments of `AgentLoop.execute`.

    Attributes:
        messages: What the run starts from, the system prompt included.
        resumed: The checkpoint that the run goes on from, or None.
    """

    task_id: str
    prompt: Any
    messages: Sequence[MessageLike]
    max_iterations: int
    session_id: str | None = None
    user_id: str | None = None
    parent_task_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    detail: Detail = "task"
    resumed: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class RunScope:
    """What the steps of one run share."""

    blueprint: Blueprint
    request: Request
    sink: EventSink
    ledger: Ledger
    offered: OfferedTools

    async def through_middleware(self, operation: Operation, innermost: CallNext, expected: type[R]) -> R:
        """Runs an operation through the agent's middleware.

        Raises:
            MiddlewareResultError: If what comes back is no `expected`.
        """
        result = await compose(self.blueprint.middleware, innermost)(operation)
        if not isinstance(result, expected):
            raise MiddlewareResultError(
                f"for {type(operation).__name__} a middleware returned {type(result).__name__}, not "
                f"{expected.__name__}; end it with 'return await call_next(operation)'"
            )
        return result

"""The agent loop: asks the model, runs the tools it asks for, and goes on until it asks for none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from looopy_otel.agent.agent_work import AgentWork
from looopy_otel.agent.artifacts import ArtifactStore
from looopy_otel.agent.blueprint import Blueprint, Request
from looopy_otel.agent.conversation import opening_messages
from looopy_otel.agent.events import Detail
from looopy_otel.agent.loop_arguments import check_run, problems_of_loop
from looopy_otel.agent.run import Run
from looopy_otel.agent.state import StateStore
from looopy_otel.agent.stream import AgentStream
from looopy_otel.agent.sub_agent import SubAgentTool
from looopy_otel.agent.tool_context import ToolContext
from looopy_otel.agent.toolbox import Toolbox
from looopy_otel.agent.tools import ToolProvider
from looopy_otel.core.background import run_blocking
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.identity import current_identity, new_task_id
from looopy_otel.core.operation import Middleware
from looopy_otel.core.types import AgentResult, LLMProvider, MessageLike

DEFAULT_SYSTEM_PROMPT = "You are a helpful AI assistant."
DEFAULT_MAX_ITERATIONS = 20


class RunOptions(TypedDict, total=False):
    """The options of `AgentLoop.execute`, for `run` and `arun`."""

    task_id: str | None
    session_id: str | None
    user_id: str | None
    parent_task_id: str | None
    system_prompt: str | None
    max_iterations: int | None
    metadata: Mapping[str, Any] | None
    detail: Detail


class AgentLoop:
    """An agent: a model, its tools, and a loop around them. It may run any number of times, also at once.

    Args:
        agent_id: Its name; on every span and event.
        llm_provider: The model.
        tool_providers: The tools, such as ``[FunctionTools([calculate])]``.
        task_state_store: Where a checkpoint is saved after each turn; None saves none.
        artifact_store: Where tools write documents.
        system_prompt: Stands in front of each call's messages; None or empty for none.
        max_iterations: Turns that one run may take.
        middleware: Stands around every run, turn, LLM call and tool call, first one outermost.
        tool_timeout: Seconds that one tool call may take; None for no limit.
        tracing: False keeps the runs of this agent out of the traces.

    Raises:
        ConfigurationError: Naming every argument that is wrong, and tools of the same name.
    """

    def __init__(
        self,
        *,
        agent_id: str,
        llm_provider: LLMProvider,
        tool_providers: Sequence[ToolProvider] = (),
        task_state_store: StateStore | None = None,
        artifact_store: ArtifactStore | None = None,
        system_prompt: str | None = DEFAULT_SYSTEM_PROMPT,
        max_iterations: int = DEFAULT_MAX_ITERATIONS,
        middleware: Sequence[Middleware] = (),
        tool_timeout: float | None = None,
        tracing: bool = True,
    ) -> None:
        problems = list(
            problems_of_loop(
                {
                    "agent_id": agent_id,
                    "llm_provider": llm_provider,
                    "tool_providers": tool_providers,
                    "task_state_store": task_state_store,
                    "artifact_store": artifact_store,
                    "system_prompt": system_prompt,
                    "max_iterations": max_iterations,
                    "tool_timeout": tool_timeout,
                    "middleware": middleware,
                }
            )
        )
        if problems:
            raise ConfigurationError("AgentLoop: " + "; ".join(problems))
        self._blueprint = Blueprint(
            agent_id=agent_id,
            provider=llm_provider,
            toolbox=Toolbox(tool_providers),
            state_store=task_state_store,
            artifact_store=artifact_store,
            system_prompt=system_prompt,
            max_iterations=max_iterations,
            middleware=tuple(middleware),
            tool_timeout=tool_timeout,
            tracing=tracing,
        )

    @property
    def agent_id(self) -> str:
        """The agent's name."""
        return self._blueprint.agent_id

    def execute(
        self,
        prompt_or_messages: str | Sequence[MessageLike],
        *,
        task_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        parent_task_id: str | None = None,
        system_prompt: str | None = None,
        max_iterations: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        detail: Detail = "task",
    ) -> AgentStream:
        """Prepares a run; nothing happens before its stream is consumed.

        The run belongs to the session, and hangs under the span, of the place where `execute` is called.

        Args:
            prompt_or_messages: What the user says, or a conversation; one that begins with a system message keeps it.
            task_id: The run's id; by default a new one.
            session_id: The conversation that the run belongs to; by default that of ``lo.session()``.
            user_id: The end user; by default that of ``lo.session()``.
            parent_task_id: The run that this one is a part of; by default the run that calls `execute`.
            system_prompt: In the place of the agent's; an empty one for none.
            max_iterations: In the place of the agent's.
            metadata: Facts about this run: on its span, its first event, its checkpoints and in its LLM requests.
            detail: ``task`` for the task, its status and its artifacts; ``full`` for every event.

        Returns:
            The stream of events.

        Raises:
            ValueError: If the prompt is empty, a message has no role, or an option is out of range.
            TypeError: If the prompt is neither text nor messages, or an id is no string.
        """
        check_run(
            {
                "task_id": task_id,
                "session_id": session_id,
                "user_id": user_id,
                "parent_task_id": parent_task_id,
                "system_prompt": system_prompt,
                "max_iterations": max_iterations,
                "metadata": metadata,
                "detail": detail,
            }
        )
        system = self._blueprint.system_prompt if system_prompt is None else system_prompt
        request = Request(
            task_id=task_id or new_task_id(),
            prompt=prompt_or_messages,
            messages=opening_messages(prompt_or_messages, system),
            max_iterations=max_iterations or self._blueprint.max_iterations,
            session_id=session_id,
            user_id=user_id,
            parent_task_id=parent_task_id or current_identity().task_id,
            metadata=dict(metadata or {}),
            detail=detail,
        )
        return AgentStream(Run(AgentWork(self._blueprint, request)), request.task_id)

    def resume(self, task_id: str, *, max_iterations: int | None = None, detail: Detail = "task") -> AgentStream:
        """Prepares a run that goes on from a task's last checkpoint.

        Its span is linked to that of the first run. It begins a new trace; inside an open span, such as that of the
        request that resumes, it is a part of that span's trace. A turn that was under way when the task ended is taken
        again. `max_iterations` counts this run's turns.

        Args:
            task_id: The task, saved by an agent of this id. It keeps its session, user, tags and metadata, and the
                trace's name where no other is open.
            max_iterations: In the place of the agent's.
            detail: As for `execute`.

        Returns:
            The stream of events. It fails with `TaskNotFoundError` for a task that is not in the store, and with
            `TaskStateError` for one that is completed or belongs to another agent.

        Raises:
            ConfigurationError: If this agent has no state store.
            ValueError: If an option is out of range.
        """
        check_run({"task_id": task_id, "max_iterations": max_iterations, "detail": detail})
        if self._blueprint.state_store is None:
            raise ConfigurationError("resume() needs AgentLoop(task_state_store=…)")
        request = Request(
            task_id=task_id,
            prompt=None,
            messages=(),
            max_iterations=max_iterations or self._blueprint.max_iterations,
            detail=detail,
        )
        return AgentStream(Run(AgentWork(self._blueprint, request, resume=True)), task_id)

    async def arun(self, prompt_or_messages: str | Sequence[MessageLike], **options: Unpack[RunOptions]) -> AgentResult:
        """Runs to the end. The arguments are those of `execute`.

        Returns:
            How the run ended; a spent budget or number of turns is an outcome, not an error.

        Raises:
            Exception: What the run raised.
        """
        return await self.execute(prompt_or_messages, **options).finish()

    def run(self, prompt_or_messages: str | Sequence[MessageLike], **options: Unpack[RunOptions]) -> AgentResult:
        """The same as `arun`, for sync code; inside a running event loop it blocks that loop.

        The run happens on a background thread. Ctrl-C cancels it and waits for its end, five seconds at most.
        """
        return run_blocking(lambda: self.execute(prompt_or_messages, **options).finish())

    def as_tool(self, *, name: str | None = None, description: str | None = None) -> SubAgentTool:
        """Makes this agent a tool of another one: ``AgentLoop(tool_providers=[researcher.as_tool()], …)``.

        Its runs hang under the other's tool call. Their tokens, cost and calls count in the other's totals and budgets.

        Args:
            name: The tool's name; by default the agent's id.
            description: What the model is told of it.
        """

        async def ask(prompt: str, context: ToolContext) -> AgentResult:
            return await self.arun(prompt, parent_task_id=context.task_id)

        return SubAgentTool(self.agent_id, ask, name, description)

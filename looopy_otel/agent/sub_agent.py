"""An agent as a tool of another one."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from looopy_otel.agent.errors import InvalidArgumentsError
from looopy_otel.agent.tool_context import ToolContext
from looopy_otel.core.types import AgentResult, ToolCall, ToolDefinition, ToolResult


class _Task(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(description="What the agent is to do, with all that it needs to know.")


class SubAgentTool:
    """Offers one agent as a tool that takes a ``prompt``. Made by `AgentLoop.as_tool`.

    Args:
        agent_id: The agent.
        ask: Runs it as a part of the run that calls.
        name: The tool's name; by default the agent's id, with ``_`` for what a tool's name may not have.
        description: What the model is told.
    """

    def __init__(
        self,
        agent_id: str,
        ask: Callable[[str, ToolContext], Awaitable[AgentResult]],
        name: str | None,
        description: str | None,
    ) -> None:
        self._ask = ask
        self._definition = ToolDefinition(
            name or re.sub(r"[^a-zA-Z0-9_-]", "_", agent_id)[:64],
            description or f"Asks the agent {agent_id}.",
            {
                "type": "object",
                "properties": {"prompt": {"type": "string", "description": _Task.model_fields["prompt"].description}},
                "required": ["prompt"],
                "additionalProperties": False,
            },
        )

    def get_tools(self) -> Sequence[ToolDefinition]:
        """The one tool."""
        return (self._definition,)

    def can_handle(self, name: str) -> bool:
        """True for the tool's name."""
        return name == self._definition.name

    async def execute(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Runs the agent to its end.

        Returns:
            Its output; an error where it did not complete.

        Raises:
            InvalidArgumentsError: If the arguments are not one ``prompt``.
            Exception: What the agent's run raised.
        """
        try:
            task = _Task.model_validate_json(call.arguments)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise InvalidArgumentsError(problems) from None
        result = await self._ask(task.prompt, context)
        if result.outcome == "completed":
            return ToolResult(result.output or "")
        kept = f" Its last words: {result.output}" if result.output else ""
        return ToolResult(f"Error: the agent did not complete: {result.reason}.{kept}", result.outcome)

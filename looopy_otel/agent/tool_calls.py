"""The tool calls of one turn: all at once, results in the order asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from looopy_otel.agent.artifacts import Artifact
from looopy_otel.agent.blueprint import RunScope
from looopy_otel.agent.errors import BudgetExceededError, InvalidArgumentsError
from looopy_otel.agent.events import ArtifactUpdateEvent, ToolCompleteEvent, ToolStartEvent
from looopy_otel.agent.plain import text_for_model
from looopy_otel.agent.tool_arguments import decode_arguments
from looopy_otel.agent.tool_context import ToolArtifacts, ToolContext, ToolLogger
from looopy_otel.agent.tools import TOOL_GRACE, execute_tool
from looopy_otel.core.hooks import announce
from looopy_otel.core.identity import current_identity
from looopy_otel.core.operation import ToolRun
from looopy_otel.core.semconv import ERROR_TYPE_UNKNOWN_TOOL
from looopy_otel.core.types import Message, ToolCall, ToolResult

_logger = logging.getLogger("looopy_otel.agent.tools")


async def run_tools(scope: RunScope, calls: Sequence[ToolCall]) -> tuple[Message, ...]:
    """Runs tool calls, each in a task of its own.

    Returns:
        One ``tool`` message per call, in their order.

    Raises:
        BudgetExceededError: If a budget refused one; those that it let pass have ended by then.
        BaseException: What a middleware raised, or a `KeyboardInterrupt` and the like of a tool. Then, and when the
            run is cancelled, the other calls are cancelled.
    """
    if not calls:
        return ()
    tasks = [asyncio.create_task(_run_tool(scope, call), name=f"looopy-otel-tool-{call.name}") for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error
        outcomes = [task.result() for task in tasks]
    finally:
        await _end(tasks)
    for outcome in outcomes:
        if isinstance(outcome, BudgetExceededError):
            raise outcome
    return tuple(outcome for outcome in outcomes if isinstance(outcome, Message))


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    pending = [task for task in tasks if not task.done()]
    for task in tasks:
        task.cancel()
        task.add_done_callback(_retrieve)
    if pending:
        # Each ends its tool within the grace; a middleware may still hold it up.
        await asyncio.wait(pending, timeout=2 * TOOL_GRACE)


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def _run_tool(scope: RunScope, call: ToolCall) -> Message | BudgetExceededError:
    operation = ToolRun(name=call.name, call_id=call.id, arguments=_decoded(call.arguments), emit=scope.sink.emit)

    async def innermost(asked: ToolRun) -> ToolResult:
        if asked is not operation:
            handle.revise(asked)
        scope.ledger.admit("tool")
        unchanged = asked.name == call.name and asked.arguments is operation.arguments
        # The model's own text, unless a middleware put something else in its place.
        text = call.arguments if unchanged else text_for_model(asked.arguments)
        return await _execute(scope, ToolCall(call.id, asked.name, text))

    handle = announce(operation)
    scope.sink.add(ToolStartEvent, tool_call_id=call.id, tool_name=call.name, arguments=operation.arguments)
    try:
        result = await scope.through_middleware(operation, innermost, ToolResult)
        content = text_for_model(result.content)
    except BudgetExceededError as error:
        handle.end(None, error=error)
        _tell(scope, call, ToolResult(str(error), type(error).__name__))
        return error
    except BaseException as error:
        handle.end(None, error=error)
        raise
    handle.end(result)
    _tell(scope, call, result)
    return Message("tool", content, tool_call_id=call.id, name=call.name)


async def _execute(scope: RunScope, call: ToolCall) -> ToolResult:
    offered, timeout = scope.offered, scope.blueprint.tool_timeout
    result = await execute_tool(offered.provider_of, call, _context(scope, call, timeout), timeout)
    if result is not None:
        return result
    names = ", ".join(offered.owners) or "none"
    return ToolResult(f"Error: there is no tool {call.name!r}; the tools are: {names}", ERROR_TYPE_UNKNOWN_TOOL)


def _context(scope: RunScope, call: ToolCall, timeout: float | None) -> ToolContext:
    blueprint, task_id, identity = scope.blueprint, scope.request.task_id, current_identity()

    def announce_artifact(artifact: Artifact, append: bool, last_chunk: bool) -> None:
        scope.sink.add(ArtifactUpdateEvent, artifact=artifact, append=append, last_chunk=last_chunk)

    extra = {"task_id": task_id, "agent_id": blueprint.agent_id, "tool": call.name}
    logger: ToolLogger = logging.LoggerAdapter(_logger, extra)
    return ToolContext(
        task_id=task_id,
        agent_id=blueprint.agent_id,
        session_id=identity.session_id,
        user_id=identity.user_id,
        call_id=call.id,
        artifacts=ToolArtifacts(blueprint.artifact_store, task_id, announce_artifact),
        logger=logger,
        deadline=None if timeout is None else time.monotonic() + timeout,
    )


def _decoded(arguments: str) -> Mapping[str, Any] | str:
    try:
        return decode_arguments(arguments)
    except InvalidArgumentsError:
        return arguments


def _tell(scope: RunScope, call: ToolCall, result: ToolResult) -> None:
    scope.sink.add(
        ToolCompleteEvent,
        tool_call_id=call.id,
        tool_name=call.name,
        success=not result.is_error,
        result=result.content,
        error_type=result.error_type,
    )

"""The story of one run: turn after turn until the model asks for no tool, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from looopy_otel.agent.blueprint import Blueprint, Request, RunScope
from looopy_otel.agent.conversation import text_of
from looopy_otel.agent.errors import BudgetExceededError
from looopy_otel.agent.event_log import EventLog
from looopy_otel.agent.events import StatusUpdateEvent, TaskEvent, TaskState, TaskStatus, now
from looopy_otel.agent.ledger import open_ledger
from looopy_otel.agent.model_call import ask_model
from looopy_otel.agent.plain import plain
from looopy_otel.agent.sink import EventSink
from looopy_otel.agent.state import Checkpoint
from looopy_otel.agent.tool_calls import run_tools
from looopy_otel.agent.toolbox import OfferedTools
from looopy_otel.core.background import GRACE
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import Handle, announce
from looopy_otel.core.identity import current_identity
from looopy_otel.core.messages import message_to_dict
from looopy_otel.core.operation import AgentRun, Iteration
from looopy_otel.core.snapshot import text_of as text_of_error
from looopy_otel.core.types import AgentResult, IterationResult, MessageLike, RunOutcome

_STATES: dict[RunOutcome, TaskState] = {"completed": "completed", "cancelled": "canceled"}


class Execution:
    """One run under way. Made inside the run's own task and identity."""

    def __init__(self, blueprint: Blueprint, request: Request, log: EventLog) -> None:
        context_id = current_identity().session_id or request.task_id
        self._blueprint = blueprint
        self._request = request
        self._sink = EventSink(log, request.task_id, context_id, request.detail)
        self._ledger = open_ledger()
        self._scope = RunScope(blueprint, request, self._sink, self._ledger, OfferedTools())
        self._handle: Handle
        self._earlier = 0 if request.resumed is None else request.resumed.iterations
        self._iterations = 0
        self._output = None if request.resumed is None else request.resumed.output
        self._conversation: Sequence[MessageLike] = request.messages

    async def run(self) -> None:
        """Runs to the end; the log is closed then, however it ends.

        Raises:
            BaseException: What ended the run early, budgets and the limit of turns excepted.
        """
        request = self._request
        self._sink.add(TaskEvent, id=request.task_id, parent_task_id=request.parent_task_id, metadata=request.metadata)
        operation = AgentRun(
            agent_id=self._blueprint.agent_id,
            task_id=request.task_id,
            messages=request.messages,
            prompt=request.prompt,
            parent_task_id=request.parent_task_id,
            resumed_trace=None if request.resumed is None else request.resumed.trace,
            metadata=request.metadata,
            emit=self._sink.emit,
        )
        self._handle = announce(operation)
        try:
            result = await self._performed(operation)
        except asyncio.CancelledError as error:
            await self._end_early(self._result("cancelled", "the run was cancelled"), error, raised=None)
            raise
        except BudgetExceededError as error:
            await self._end_early(self._result("budget_exceeded", str(error)), error, raised=None)
        except (KeyboardInterrupt, SystemExit) as error:
            await self._end_early(self._result("cancelled", f"{type(error).__name__} in the run"), error, raised=error)
            raise
        except GeneratorExit as error:
            # The event loop was closed under the run: nothing can be awaited any more.
            result = self._result("cancelled", "the event loop of the run is gone")
            self._handle.end(result, error=error)
            self._close(result, error, None)
            raise
        except BaseException as error:
            await self._end_early(
                self._result("failed", text_of_error(error) or type(error).__name__), error, raised=error
            )
            raise
        else:
            self._handle.end(result)
            self._close(result, None, None)

    async def _performed(self, operation: AgentRun) -> AgentResult:
        self._scope = replace(self._scope, offered=self._blueprint.toolbox.offer())
        await self._save("working")
        self._sink.add(StatusUpdateEvent, status=TaskStatus(state="working"))

        async def innermost(asked: AgentRun) -> AgentResult:
            if asked is not operation:
                self._handle.revise(asked)
            return await self._iterate(asked)

        result = await self._scope.through_middleware(operation, innermost, AgentResult)
        result = replace(result, task_id=self._request.task_id, trace_id=self._handle.trace_id)
        await self._save(_STATES.get(result.outcome, "failed"))
        return result

    async def _iterate(self, operation: AgentRun) -> AgentResult:
        before: Sequence[MessageLike] = ()
        new = operation.messages
        for number in range(self._earlier + 1, self._earlier + self._request.max_iterations + 1):
            result = await self._iteration(number, before, new)
            if not result.tool_messages:
                return self._result("completed")
            new = result.tool_messages
            before = self._conversation[: -len(new)]
            await self._save("working")
        return self._result("max_iterations", f"stopped after {self._iterations} iterations (max_iterations)")

    async def _iteration(
        self, number: int, before: Sequence[MessageLike], new: Sequence[MessageLike]
    ) -> IterationResult:
        self._iterations += 1
        conversation = (*before, *new)

        async def innermost(asked: Iteration) -> IterationResult:
            nonlocal conversation
            if asked is not operation:
                handle.revise(asked)
            conversation = (*before, *asked.messages)
            response = await ask_model(self._scope, conversation)
            # Kept at once, for a run that ends while its tools run.
            self._output = text_of(response.message.content) or self._output
            tool_messages = await run_tools(self._scope, response.message.tool_calls)
            return IterationResult(response.message, response.finish_reason, tool_messages)

        operation = Iteration(agent_id=self._blueprint.agent_id, number=number, messages=new, emit=self._sink.emit)
        handle = announce(operation)
        try:
            result = await self._scope.through_middleware(operation, innermost, IterationResult)
        except BaseException as error:
            handle.end(None, error=error)
            raise
        handle.end(result)
        self._conversation = (*conversation, result.message, *result.tool_messages)
        self._output = text_of(result.message.content) or self._output
        return result

    def _result(self, outcome: RunOutcome, reason: str | None = None) -> AgentResult:
        return AgentResult(
            output=self._output,
            outcome=outcome,
            usage=self._ledger.usage,
            cost=self._ledger.cost,
            iterations=self._iterations,
            llm_calls=self._ledger.llm_calls,
            tool_calls=self._ledger.tool_calls,
            task_id=self._request.task_id,
            trace_id=self._handle.trace_id,
            reason=reason,
        )

    async def _end_early(self, result: AgentResult, error: BaseException, *, raised: BaseException | None) -> None:
        """Ends a run that something stopped: the operation first, then, bounded, the store, last the log."""
        self._handle.end(result, error=error)
        try:
            with guard("agent.checkpoint"):
                async with asyncio.timeout(GRACE / 2):
                    await self._mark(_STATES.get(result.outcome, "failed"))
        finally:
            self._close(result, error, raised)

    def _close(self, result: AgentResult, error: BaseException | None, raised: BaseException | None) -> None:
        metadata: dict[str, Any] = {"iterations": result.iterations}
        if result.outcome != "completed":
            stopped = result.outcome in ("max_iterations", "budget_exceeded", "cancelled")
            metadata["reason"] = result.outcome if stopped else result.reason
        if raised is not None:
            metadata["error_type"] = type(raised).__name__
        kept = result.outcome in ("completed", "max_iterations") and result.output
        event = self._sink.make(
            StatusUpdateEvent,
            status=TaskStatus(state=_STATES.get(result.outcome, "failed"), message=kept or result.reason),
            final=True,
            metadata=metadata,
        )
        self._sink.log.close(event, result, raised)

    async def _save(self, state: TaskState) -> None:
        store, request = self._blueprint.state_store, self._request
        if store is None:
            return
        identity = current_identity()
        facts = {
            "task_id": request.task_id,
            "agent_id": self._blueprint.agent_id,
            "session_id": identity.session_id,
            "user_id": identity.user_id,
            "tags": identity.tags,
            "trace_metadata": identity.metadata,
            "trace_name": identity.trace_name,
            "project": identity.project,
            "parent_task_id": request.parent_task_id,
            "state": state,
            "messages": [message_to_dict(message) for message in self._conversation],
            "iterations": self._earlier + self._iterations,
            "output": self._output,
            "metadata": request.metadata,
            "trace": self._trace(),
        }
        created_at = now() if request.resumed is None else request.resumed.created_at
        await store.save(Checkpoint(**cast("dict[str, Any]", plain(facts)), created_at=created_at))

    async def _mark(self, state: TaskState) -> None:
        """Says in the store how the task ended; the last checkpoint, from which it can be resumed, stays otherwise."""
        store = self._blueprint.state_store
        saved = None if store is None else await store.load(self._request.task_id)
        if store is not None and saved is not None:
            await store.save(saved.model_copy(update={"state": state, "updated_at": now()}))

    def _trace(self) -> str | None:
        trace_id, span_id = self._handle.trace_id, self._handle.span_id
        return f"{trace_id}-{span_id}" if trace_id and span_id else None

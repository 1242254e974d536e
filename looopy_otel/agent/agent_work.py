"""What happens in a run's task before the story begins: identity, suppression, and the checkpoint of a resumed one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from looopy_otel.agent.blueprint import Blueprint, Request
from looopy_otel.agent.errors import TaskNotFoundError, TaskStateError
from looopy_otel.agent.event_log import EventLog
from looopy_otel.agent.events import StatusUpdateEvent, TaskEvent, TaskStatus
from looopy_otel.agent.execution import Execution
from looopy_otel.agent.sink import EventSink
from looopy_otel.agent.state import Checkpoint
from looopy_otel.core.hooks import suppressed
from looopy_otel.core.identity import Identity, current_identity, identity_scope


class AgentWork:
    """The work of one run; `resume` says that its request's messages are still in the store."""

    def __init__(self, blueprint: Blueprint, request: Request, *, resume: bool = False) -> None:
        self._blueprint = blueprint
        self._request = request
        self._resume = resume

    async def perform(self, log: EventLog) -> None:
        """Runs the agent.

        Raises:
            BaseException: What ended the run early.
        """
        with ExitStack() as stack:
            if not self._blueprint.tracing:
                stack.enter_context(suppressed())
            try:
                request = await self._resumed() if self._resume else self._request
            except Exception as error:
                self._close(log, "failed", str(error), error)
                raise
            stack.enter_context(identity_scope(self._identity(request)))
            await Execution(self._blueprint, request, log).run()

    def give_up(self, log: EventLog) -> None:
        """Closes the log of a run that was cancelled before it began, or whose event loop is gone."""
        if log.closed:
            return
        if log.get(0) is None:
            log.append(self._sink(log).make(TaskEvent, id=self._request.task_id))
        self._close(log, "canceled", "cancelled", None)

    def _close(self, log: EventLog, state: str, reason: str, error: BaseException | None) -> None:
        metadata = {"reason": reason} if error is None else {"reason": reason, "error_type": type(error).__name__}
        status = TaskStatus.model_validate({"state": state, "message": reason})
        event = self._sink(log).make(StatusUpdateEvent, status=status, final=True, metadata=metadata)
        log.close(event, None, error)

    def _sink(self, log: EventLog) -> EventSink:
        request = self._request
        return EventSink(log, request.task_id, request.session_id or request.task_id, request.detail)

    def _identity(self, request: Request) -> Identity:
        outer = current_identity()
        if request.resumed is not None:
            outer = _with_kept_facts(outer, request.resumed)
        return replace(
            outer,
            agent_id=self._blueprint.agent_id,
            task_id=request.task_id,
            root_task_id=outer.root_task_id or outer.task_id,
            session_id=request.session_id or outer.session_id,
            # A sub-agent's spans belong to a trace that has its name already.
            trace_name=outer.trace_name or self._blueprint.agent_id,
            user_id=request.user_id or outer.user_id,
        )

    async def _resumed(self) -> Request:
        task_id, store = self._request.task_id, self._blueprint.state_store
        saved = None if store is None else await store.load(task_id)
        if saved is None:
            raise TaskNotFoundError(f"there is no task {task_id!r} to resume; its time to live may be over")
        if saved.state == "completed":
            raise TaskStateError(f"task {task_id!r} is completed; there is nothing to go on with")
        if saved.agent_id != self._blueprint.agent_id:
            raise TaskStateError(
                f"task {task_id!r} belongs to agent {saved.agent_id!r}, not {self._blueprint.agent_id!r}"
            )
        return self._from_checkpoint(saved)

    def _from_checkpoint(self, saved: Checkpoint) -> Request:
        return replace(
            self._request,
            prompt=saved.messages,
            messages=tuple(saved.messages),
            session_id=saved.session_id,
            user_id=saved.user_id,
            parent_task_id=saved.parent_task_id,
            metadata=saved.metadata,
            resumed=saved,
        )


def _with_kept_facts(identity: Identity, saved: Checkpoint) -> Identity:
    """The identity of this place, with what a checkpoint tells of the trace that its run belonged to."""
    return replace(
        identity,
        tags=tuple(dict.fromkeys((*saved.tags, *identity.tags))),
        metadata={**identity.metadata, **saved.trace_metadata},
        # A resumption inside another trace keeps that one's name.
        trace_name=identity.trace_name or saved.trace_name,
        project=identity.project or saved.project,
    )

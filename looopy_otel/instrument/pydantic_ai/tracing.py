"""Pydantic AI: its runs as agents, turns, model calls and tools.

::

    lo.instrument_pydantic_ai()                               # all agents, until lo.uninstrument("pydantic_ai")
    Agent("openai:gpt-4o", capabilities=[lo.PydanticAITracing()])      # this agent

The hooks are those of a capability, Pydantic AI's own extension point (version 2.0 and newer), so that sync, async and
streamed runs and ``iter()`` are alike, and what happens inside a model's call or a tool belongs to it. A request to the
model begins a turn, which holds the tools that it asked for; each model that a ``FallbackModel`` tries is a call. The
``conversation_id`` is the session where none is given by `lo.session`. A tool that waits for approval or for somebody
else has not failed.

Pydantic AI's own instrumentation (``Agent(instrument=…)``, Logfire) is another one: switch one of them off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, ClassVar, Final, cast

from looopy_otel.core.errors import MissingExtraError
from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, installed
from looopy_otel.core.identity import Identity, current_identity, new_task_id
from looopy_otel.core.operation import AgentRun, Iteration, ToolRun
from looopy_otel.core.outcome import outcome_of
from looopy_otel.core.types import IterationResult, LLMResponse, Message, MessageLike, ToolResult
from looopy_otel.instrument.patching import is_instrumented, lasting, patch
from looopy_otel.instrument.pydantic_ai.reading import call_of, conversation, response_of, user_content
from looopy_otel.instrument.under import announce_under

try:
    from pydantic_ai import Agent
    from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
    from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
    from pydantic_ai.models import Model, StreamedResponse
    from pydantic_ai.models.fallback import FallbackModel
    from pydantic_ai.models.wrapper import WrapperModel
except ImportError as error:
    raise MissingExtraError("Pydantic AI 2.0 or newer is not installed; pip install 'pydantic-ai-slim>=2'") from error

_WAITING: Final = (CallDeferred, ApprovalRequired)


class _Run:
    """One run of an agent.

    Args:
        name: The agent.
        identity: Whose run it is, as it is inside.
        recorder: The run's recorder.
    """

    def __init__(self, name: str, identity: Identity, recorder: Recorder) -> None:
        self.name = name
        self.identity = identity
        self.recorder = recorder
        self.turn: Recorder = NO_RECORDER
        self.response: LLMResponse | None = None
        self.streams: list[_Watch] = []
        self._count = 0
        self._conversation: Sequence[MessageLike] = ()

    def begin_turn(self, messages: Sequence[MessageLike]) -> None:
        """Begins a turn: the model is asked."""
        self.end_turn()
        before, self._conversation = self._conversation, messages
        known = len(before) if list(messages[: len(before)]) == list(before) else 0
        self._count += 1
        turn = Iteration(agent_id=self.name, number=self._count, messages=messages[known:], identity=self.identity)
        self.turn = announce_under(self.recorder, turn, current=False)

    def end_turn(self, error: BaseException | None = None) -> None:
        """Ends the turn under way, if any, and the streams in it that nobody reads any more."""
        for watch in tuple(self.streams):
            watch.end(GeneratorExit() if error is None else error)
        turn, self.turn = self.turn, NO_RECORDER
        response, self.response = self.response, None
        result = IterationResult(response.message, response.finish_reason) if response is not None else None
        turn.end(result, error)


_RUNNING: Final[set[str]] = set()
"""The ids of the runs that are recorded, so that two capabilities record a run once."""


@dataclass
class PydanticAITracing(AbstractCapability[Any]):
    """Records the runs of an agent: ``Agent(…, capabilities=[PydanticAITracing()])``.

    It changes nothing of what the agent does, and does nothing before `configure()`.
    """

    # Durable agents take only such capabilities for a run; this one brings no toolset and does no I/O.
    _safe_at_runtime: ClassVar[bool] = True
    _run: _Run | None = field(default=None, init=False, repr=False, compare=False)

    def get_ordering(self) -> CapabilityOrdering:
        """Outermost, so that what other capabilities do belongs to the run."""
        return CapabilityOrdering(position="outermost")

    async def for_run(self, ctx: Any) -> PydanticAITracing:
        """A fresh one for each run."""
        return replace(self)

    async def wrap_run(self, ctx: Any, *, handler: Callable[[], Awaitable[Any]]) -> Any:
        """Records a run."""
        run_id = str(ctx.run_id or id(ctx))
        if installed() is None or run_id in _RUNNING or getattr(ctx, "realtime", False):
            return await handler()
        run = self._run = _started(ctx)
        _RUNNING.add(run_id)
        try:
            result = await handler()
        except BaseException as error:
            _finish(run, None, error)
            raise
        finally:
            _RUNNING.discard(run_id)
        _finish(run, result, None)
        return result

    async def wrap_model_request(
        self, ctx: Any, *, request_context: Any, handler: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        """Begins a turn, and has the call of the model recorded."""
        run = self._run
        if run is None:
            return await handler(request_context)
        with guard("pydantic_ai.turn"):
            run.begin_turn(conversation(request_context.messages))
            if not hasattr(AbstractCapability, "get_wrapper_model"):
                request_context = replace(request_context, model=_recorded(request_context.model, run))
        return await handler(request_context)

    def get_wrapper_model(self, model: Model) -> Model | None:
        """Has every attempt at a call of the model recorded, in the task that makes it."""
        return _recorded(model, self._run) if self._run is not None else None

    async def wrap_tool_execute(
        self, ctx: Any, *, call: Any, tool_def: Any, args: Any, handler: Callable[[Any], Awaitable[Any]]
    ) -> Any:
        """Records a tool."""
        recorder = _tool_started(self._run, call, args)
        try:
            result = await handler(args)
        except _WAITING as waiting:
            recorder.record(metadata={"deferred": type(waiting).__name__})
            recorder.end()
            raise
        except BaseException as error:
            recorder.end(error=error)
            raise
        recorder.end(ToolResult(getattr(result, "return_value", result)))
        return result


def _recorded(model: Model, run: _Run) -> WrapperModel:
    """A model whose calls are recorded; of one that tries several models in turn, the call of each."""
    if isinstance(model, FallbackModel):
        tried = copy(model)
        tried.models = [_recorded(one, run) for one in model.models]
        return WrapperModel(tried)
    return _RecordedModel(model, run)


class _RecordedModel(WrapperModel):
    """A model whose calls are recorded.

    Args:
        wrapped: The model.
        run: The run that calls it.
    """

    def __init__(self, wrapped: Model, run: _Run) -> None:
        super().__init__(wrapped)
        self._recorded_run = run

    async def request(self, *arguments: Any, **keywords: Any) -> Any:
        """Sends a request."""
        recorder = self._started(arguments, keywords, stream=False)
        try:
            answer = await self.wrapped.request(*arguments, **keywords)
        except BaseException as error:
            recorder.end(error=error)
            raise
        recorder.end(self._read(answer))
        return answer

    @asynccontextmanager
    async def request_stream(self, *arguments: Any, **keywords: Any) -> AsyncGenerator[StreamedResponse]:
        """Sends a request whose answer comes in pieces."""
        recorder = self._started(arguments, keywords, stream=True)
        watch = _Watch(recorder, self._recorded_run)
        try:
            async with self.wrapped.request_stream(*arguments, **keywords) as stream:
                recorder.suspend()
                with guard("pydantic_ai.watch"):
                    watch.over(stream)
                yield stream
        except BaseException as error:
            watch.end(error)
            raise
        watch.end(None if watch.exhausted else GeneratorExit())

    def _started(self, arguments: Sequence[Any], keywords: Mapping[str, Any], *, stream: bool) -> Recorder:
        with guard("pydantic_ai.call"):
            names = ("messages", "model_settings", "model_request_parameters")
            told: dict[str, Any] = {**dict(zip(names, arguments, strict=False)), **keywords}
            run = self._recorded_run
            call = call_of(self.wrapped, *(told[name] for name in names), stream=stream, identity=run.identity)
            return announce_under(run.turn if run.turn is not NO_RECORDER else None, call)
        return NO_RECORDER

    def _read(self, answer: Any) -> LLMResponse | None:
        with guard("pydantic_ai.response"):
            self._recorded_run.response = response_of(answer, self.wrapped)
            return self._recorded_run.response
        return None


class _Watch:
    """Sees the events of a model's stream on their way to the reader, and ends its call.

    Args:
        recorder: The call's recorder.
        run: The run that makes the call.
    """

    def __init__(self, recorder: Recorder, run: _Run) -> None:
        self.exhausted = False
        self._begun = False
        self._recorder = recorder
        self._run = run
        self._stream: StreamedResponse | None = None
        run.streams.append(self)

    def over(self, stream: StreamedResponse) -> None:
        """Has the events of a stream seen from here on; the stream stays the object that it is."""
        stream.__class__ = _watched_class(type(stream))
        cast("Any", stream).looopy_watch = self
        self._stream = stream

    async def passing(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """The events."""
        async for event in events:
            self._begun = True
            if getattr(event, "event_kind", "") in ("part_start", "part_delta"):
                self._recorder.chunk()
            yield event
        self.exhausted = True

    def end(self, error: BaseException | None) -> None:
        """Ends the call, in whatever way; the first end counts."""
        if self not in self._run.streams:
            return
        self._run.streams.remove(self)
        response = None
        if self._stream is not None and self._begun:
            with guard("pydantic_ai.response"):
                response = response_of(self._stream.get(), self._stream)
                if error is not None:
                    response = replace(response, outcome=outcome_of(error))
                self._run.response = response
        self._recorder.end(response, error)


_watched: Final[dict[type[StreamedResponse], type[StreamedResponse]]] = {}


def _watched_class(kind: type[StreamedResponse]) -> type[StreamedResponse]:
    """A class of the same name that lets a `_Watch` see its events."""
    if kind not in _watched:

        def iterate(self: Any) -> AsyncIterator[Any]:
            if getattr(self, "looopy_events", None) is None:
                self.looopy_events = self.looopy_watch.passing(kind.__aiter__(self))
            return self.looopy_events

        names = {"__aiter__": iterate, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
        _watched[kind] = cast("type[StreamedResponse]", type(kind.__name__, (kind,), names))
    return _watched[kind]


def instrument_pydantic_ai() -> None:
    """Records all runs of Pydantic AI's agents, until ``uninstrument("pydantic_ai")``.

    Raises:
        MissingExtraError: If Pydantic AI 2.0 or newer is not installed.
    """
    if is_instrumented("pydantic_ai"):
        return
    holds, original = lasting("pydantic_ai"), Agent.iter

    @wraps(original)
    def iterate(self: Any, *arguments: Any, capabilities: Sequence[Any] | None = None, **keywords: Any) -> Any:
        ours = [PydanticAITracing()] if holds() else []
        return original(self, *arguments, capabilities=[*(capabilities or ()), *ours], **keywords)

    patch("pydantic_ai", Agent, "iter", iterate)


def _started(ctx: Any) -> _Run:
    name = str((ctx.agent.name if ctx.agent is not None else None) or "agent")
    outer, task = current_identity(), new_task_id()
    session = getattr(ctx, "conversation_id", None)
    identity = replace(
        outer,
        session_id=outer.session_id or (str(session) if session and outer.task_id is None else None),
        agent_id=name,
        task_id=task,
        root_task_id=outer.root_task_id or outer.task_id,
    )
    run = _Run(name, identity, NO_RECORDER)
    with guard("pydantic_ai.run"):
        prompt = user_content(ctx.prompt) if ctx.prompt is not None else None
        messages = [*conversation(ctx.messages), *([Message("user", prompt)] if prompt else ())]
        operation = AgentRun(
            agent_id=name,
            task_id=task,
            messages=messages,
            prompt=prompt,
            parent_task_id=outer.task_id,
            identity=identity,
            metadata=getattr(ctx, "metadata", None) or {},
        )
        run.recorder = announce(operation)
    return run


def _finish(run: _Run, result: Any, error: BaseException | None) -> None:
    with guard("pydantic_ai.result"):
        run.end_turn(error)
        if error is None:
            run.recorder.record(output=getattr(result, "output", result))
    run.recorder.end(error=error)


def _tool_started(run: _Run | None, call: Any, args: Any) -> Recorder:
    if run is None:
        return NO_RECORDER
    with guard("pydantic_ai.tool"):
        tool = ToolRun(
            name=str(call.tool_name),
            call_id=str(call.tool_call_id),
            arguments=cast("Mapping[str, Any]", args) if isinstance(args, Mapping) else call.args_as_dict(),
            identity=run.identity,
        )
        return announce_under(run.turn if run.turn is not NO_RECORDER else run.recorder, tool)
    return NO_RECORDER

"""The recorder of one operation: opens its span, makes it current, and hands its draft over when it ends."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from opentelemetry.context import Context, get_current
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from looopy_otel.core import hooks
from looopy_otel.core.answer import answer_in
from looopy_otel.core.draft import CallPart, Draft, LLMDraft
from looopy_otel.core.guard import guard
from looopy_otel.core.operation import AgentRun, Attempt, Iteration, LLMCall, Operation, Step, ToolRun
from looopy_otel.core.settings import Capture, Deployment, History
from looopy_otel.core.snapshot import facts_of
from looopy_otel.core.types import Json, LLMResponse, MessageLike
from looopy_otel.mapping.start import start_attributes
from looopy_otel.record.chunks import Chunks
from looopy_otel.record.context import Activation, Ownership, context_of
from looopy_otel.record.drafting import (
    NO_CONTENT,
    Content,
    Ending,
    draft_of,
    given_content,
    input_content,
    messages_content,
    span_name,
)
from looopy_otel.record.inner_calls import InnerCalls, parts_of_tries
from looopy_otel.record.langfuse_sdk import claimed_for_langfuse
from looopy_otel.record.metric_draft import MEASURED, operation_without_content, result_without_content
from looopy_otel.record.metric_runs import ActiveRuns
from looopy_otel.record.nesting import (
    InnerCall,
    above,
    above_ended,
    enclosing_call,
    suppressed_by_others,
    surrounding_call,
)
from looopy_otel.record.own_calls import OwnCalls
from looopy_otel.record.tally import Tally
from looopy_otel.record.told import NOTHING_TOLD, with_answer

HandOver = Callable[[SpanContext, Draft], None]
Finish = Callable[[Span, Draft], None]
_PROPAGATOR = TraceContextTextMapPropagator()


@dataclass(frozen=True, slots=True)
class Recording:
    """What every recorder of one configuration shares.

    Attributes:
        tracer: Makes the spans.
        ownership: Tells our spans from those of others.
        hand_over: Takes the draft of a span that is about to end.
        deployment: What stands on every span.
        capture: ``metadata`` takes no snapshot of content.
        history: ``delta`` keeps what is new on each call, the whole on the last one of a run.
        runs: The runs under way; None where nothing is measured, so that what is not sampled leaves no draft.
        finish: Writes the draft on its span, for others who read it when it ends; None where nobody else does.
    """

    tracer: Tracer
    ownership: Ownership
    hand_over: HandOver
    deployment: Deployment
    capture: Capture
    history: History
    runs: ActiveRuns | None = None
    finish: Finish | None = None

    def start(
        self, operation: Operation, *, parent: hooks.Handle | None = None, current: bool = True
    ) -> hooks.Recorder:
        """Opens the span of an operation, unless it is a part of an LLM call that is recorded already.

        Args:
            operation: The operation.
            parent: What it is a part of; by default what is current here.
            current: True makes it current here.
        """
        if suppressed_by_others(operation, get_current()):
            return hooks.NO_RECORDER
        named = parent.outer if isinstance(parent, InnerCall) else parent
        outer = hooks.innermost() if named is None else named
        if isinstance(operation, LLMCall) and (call := enclosing_call(outer)) is not None and call.contain(operation):
            return InnerCall(call, operation, parent=parent, current=current)
        if isinstance(operation, LLMCall) and isinstance(outer, SpanRecorder):
            outer.tell_of(operation)
        if isinstance(named, SpanRecorder):
            operation = replace(operation, identity=operation.identity.within(named.operation.identity))
        return SpanRecorder(self, operation, outer, explicit=named is not None, current=current)


class SpanRecorder:
    """One operation under way; a `looopy_otel.core.hooks.Recorder`. Made by `Recording.start`.

    `start` and `end` happen in the same context, with no ``yield`` to a consumer between them; where that is broken,
    the span still ends once and the context of the other place is left alone.
    """

    def __init__(
        self, recording: Recording, operation: Operation, parent: hooks.Handle | None, *, explicit: bool, current: bool
    ) -> None:
        self._recording = recording
        self.operation = operation
        self.parent = above(parent)
        self._capture_content = recording.capture != "metadata"
        context = context_of(parent.span) if explicit and isinstance(parent, SpanRecorder) else get_current()
        identity = recording.ownership.inherited(operation.identity, context)
        if identity is not operation.identity:
            self.operation = operation = replace(operation, identity=identity)
        self._root = recording.ownership.starts_tree(identity.project, context)
        self._output: Content | None = None
        self._error: BaseException | None = None
        self._pid = os.getpid()
        self._unended = [True]
        self._told = NOTHING_TOLD
        self._answer: object = None
        self._inside = InnerCalls()
        self._own_calls = OwnCalls()
        self._tally = Tally()
        self._conversation: Sequence[MessageLike] = ()
        self._chunks = Chunks()
        self._chunks_inside = Chunks()
        elapsed = int(operation.elapsed * 1e9) if isinstance(operation, Attempt) else 0
        self._start_time = time.time_ns() - elapsed
        self._started = time.perf_counter_ns() - elapsed
        self._span = self._start_span(context)
        # Nobody will see what an unsampled operation was about, so nothing of it is copied.
        self._kept = self._span.is_recording()
        self._input = input_content(operation, self._capture_content) if self._kept else NO_CONTENT
        self._metadata: dict[str, Json] = _metadata(operation) if self._kept else {}
        self.activation: Activation | None = None
        if current:
            projects = recording.ownership.langfuse_keys(operation.identity.project)
            context = claimed_for_langfuse(context, self.trace_id, projects) if projects else context
            self.activation = Activation(self, self._span, context, operation)
            self.activation.enter()
        if recording.runs is not None and isinstance(operation, AgentRun):
            recording.runs.add(self)

    def _start_span(self, context: Context) -> Span:
        recording, operation = self._recording, self.operation
        span = recording.tracer.start_span(
            span_name(operation),
            context,
            kind=SpanKind.CLIENT if isinstance(operation, LLMCall) else SpanKind.INTERNAL,
            attributes=start_attributes(operation, recording.deployment, root=self._root),
            links=_links(operation),
            start_time=self._start_time,
        )
        span_context = span.get_span_context()
        if (known := recording.ownership.known.get(span_context.span_id)) is not None:
            known.identity, known.root = operation.identity, self._root
        self.trace_id: str | None = format(span_context.trace_id, "032x")
        self.span_id: str | None = format(span_context.span_id, "016x")
        return span

    def headers(self) -> Mapping[str, str]:
        """``traceparent`` (and ``tracestate``) of this span, after the W3C Trace Context recommendation."""
        carrier: dict[str, str] = {}
        with guard("record.headers"):
            _PROPAGATOR.inject(carrier, set_span_in_context(self._span))
        return carrier

    def chunk(self) -> None:
        """Notes the times to the first and to the last chunk, and how many there are."""
        self._chunks.add((time.perf_counter_ns() - self._started) / 1e9)

    def chunk_inside(self) -> None:
        """Notes a chunk of a call inside this one, for the case that nobody tells of this one's own."""
        self._chunks_inside.add((time.perf_counter_ns() - self._started) / 1e9)

    def revise(self, operation: Operation) -> None:
        """Records another operation than the announced one; identity stays that of the span's start."""
        with guard("record.revise"):
            renamed = span_name(operation) != span_name(self.operation)
            self.operation = replace(operation, identity=self.operation.identity)
            if renamed:
                self._span.update_name(span_name(operation))
            if self._kept:
                self._input = input_content(operation, self._capture_content)

    def tell_of(self, call: LLMCall) -> None:
        """Tells who has announced a step of an LLM call in it, which may make it something else."""
        if isinstance(self.operation, Step) and self.operation.on_call is not None:
            with guard("record.on_call"):
                self.operation.on_call(call)

    def contain(self, inner: LLMCall) -> bool:
        """Says what comes of an LLM call that starts inside this one.

        Returns:
            True when this one stays the generation; False when the inner one is, and this one is a step from now on.
        """
        self.join(inner)
        return self.keeps()

    def keeps(self) -> bool:
        """True when this call stays the generation though something in it is one; else it is a step from now on."""
        operation = self.operation
        if not isinstance(operation, LLMCall) or operation.inner != "replace":
            return True
        self.operation = Step(name=operation.name, input=operation.input, identity=operation.identity)
        with guard("record.contain"):
            self._span.update_name(operation.name)
        return False

    def join(self, inner: Operation) -> None:
        """Takes over what a try of this call knows of the request; nothing where the call knows it all by itself."""
        if isinstance(self.operation, LLMCall) and self.operation.inner == "join" and isinstance(inner, LLMCall):
            self.revise(replace(inner, inner="join"))

    def leave(self, call: LLMCall, result: object) -> None:
        """Keeps what a call inside this one gave, for what this one does not know when it ends."""
        self._inside.add(call, result)

    def record(
        self,
        *,
        input: object = None,
        output: object = None,
        usage: object = None,
        response_model: str | None = None,
        finish_reason: str | None = None,
        cost: Decimal | float | str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds facts; what is given replaces what is known, metadata is merged."""
        with guard("record.record"):
            self._told = self._told.with_facts(usage, response_model, finish_reason, cost)
            # Also where no content is kept: what it says of usage and model is measured.
            response = answer_in(output) if isinstance(self.operation, LLMCall) else None
            if response is not None:
                self._answer = response
                self._output = None
            if not self._kept:
                return
            if input is not None:
                self._input = given_content(self.operation, input, self._capture_content, role="user")
            if response is None and output is not None:
                self._output = given_content(self.operation, output, self._capture_content, role="assistant")
            self._metadata.update(facts_of(metadata))

    def first_chunk(self) -> None:
        """As `chunk`."""
        self.chunk()

    def fail(self, error: BaseException) -> None:
        """Marks the operation as failed, for code that handles the exception itself."""
        self._error = error

    def suspend(self) -> None:
        """Steps out: what was current before is current again, until `resume`."""
        with guard("record.suspend"):
            if self.activation is not None:
                self.activation.suspend()

    def resume(self) -> None:
        """Steps in again, wherever that is."""
        with guard("record.resume"):
            if self.activation is not None:
                self.activation.resume()

    def end(self, result: object = None, error: BaseException | None = None, ended_at: int | None = None) -> None:
        """Hands the draft over and ends the span; only the first call counts, whatever thread it comes from.

        In a forked child, a span of its parent stays open: it is the parent's to end.

        Args:
            result: The operation's result, or with `error` the partial one.
            error: What was raised.
            ended_at: When that was, by `time.perf_counter_ns`; by default now.
        """
        try:
            self._end_once(result, error, ended_at)
        except BaseException:
            self._break_off()
            raise

    def _break_off(self) -> None:
        """Ends what an interrupt has kept from ending."""
        with guard("record.break_off"):
            if self.activation is not None:
                self.activation.restore()
            if self._pid == os.getpid() and self._span.is_recording():
                self._span.end()

    def _end_once(self, result: object, error: BaseException | None, ended_at: int | None) -> None:
        try:
            self._unended.pop()  # Atomic: threads and finalisers may come at once.
        except IndexError:
            return
        end_time = self._start_time + (ended_at or time.perf_counter_ns()) - self._started
        with guard("record.restore"):
            if self.activation is not None:
                self.activation.restore()
        if self._pid != os.getpid():
            return
        if isinstance(self.operation, LLMCall):
            with guard("record.told"):
                result = self._own_calls.without(
                    self._told.of(self._inside.complete(with_answer(result, self._answer)))
                )
                if (around := surrounding_call(self.parent)) is not None:
                    around._own_calls.add(result)
        with guard("record.tally"):
            self._count(result)
        # Somebody else may have ended the span, which OpenTelemetry logs when it is done twice.
        if self._span.is_recording():
            with guard("record.draft"):
                self._hand_over(result, self._error if error is None else error, end_time)
            # A foreign processor's failure comes out of `end`.
            with guard("record.end"):
                self._span.end(end_time)
        elif not self._kept and self._recording.runs is not None and isinstance(self.operation, MEASURED):
            with guard("record.draft"):
                self._hand_over(result, self._error if error is None else error, end_time)
        self.parent = above_ended(self)

    def _hand_over(self, result: object, error: BaseException | None, end_time: int) -> None:
        operation, kept_input = self.operation, self._input
        chunks = self._chunks if self._chunks.count else self._chunks_inside
        if self._kept:
            kept_input = self._kept_input(result)
        else:
            operation, result = operation_without_content(operation), result_without_content(result)
        draft = draft_of(
            operation,
            Ending(
                start_time=self._start_time,
                end_time=end_time,
                root=self._root,
                input=kept_input,
                output=self._output,
                result=result,
                error=error,
                metadata=self._metadata,
                time_to_first_chunk=chunks.first,
                time_per_output_chunk=chunks.mean,
                capture_content=self._capture_content and self._kept,
                totals=self._tally.totals,
                usage=self._told.usage,
                run=self._run_above(),
                parts=self._parts(result),
            ),
        )
        if draft.error is not None or (isinstance(draft, LLMDraft) and draft.outcome in ("error", "truncated")):
            # The description is content: the worker writes it after the gate.
            self._span.set_status(Status(StatusCode.ERROR))
        if self._recording.finish is not None and self._kept:
            with guard("record.finish"):
                self._recording.finish(self._span, draft)
        context = self._span.get_span_context()
        self._recording.hand_over(context if self._kept else _unseen(context), draft)

    def _parts(self, result: object) -> tuple[CallPart, ...]:
        if self._told.usage is not None or not isinstance(self.operation, LLMCall):
            return ()
        return parts_of_tries(self.operation, result) or self._inside.parts(result)

    def _count(self, result: object) -> None:
        """Counts this operation where it is a part of: the turn, and the run; what a tool does by itself nowhere."""
        operation, above = self.operation, self.parent
        while isinstance(above, SpanRecorder) and not self._is_of_tool(above):
            if isinstance(above.operation, AgentRun):
                if isinstance(operation, AgentRun):
                    above._tally.absorb(self._tally.totals)
                else:
                    above._tally.count(operation, result)
                return
            if isinstance(above.operation, Iteration):
                above._tally.count(operation, result)
            above = above.parent

    def _run_above(self) -> str | None:
        above = self.parent
        while isinstance(above, SpanRecorder) and not isinstance(above.operation, AgentRun):
            above = None if self._is_of_tool(above) else above.parent
        return above.span_id if isinstance(above, SpanRecorder) else None

    def _is_of_tool(self, above: SpanRecorder) -> bool:
        """True where this is what the tool `above` does by itself, which is in no total; a run inside it is."""
        return isinstance(above.operation, ToolRun) and not isinstance(self.operation, AgentRun)

    def _kept_input(self, result: object) -> Content:
        """The input; with ``history="delta"`` what is new in it, and the whole conversation on the run."""
        if self._recording.history == "full":
            return self._input
        if self._conversation:
            return messages_content(self._conversation, self._capture_content)
        operation, run = self.operation, self._run_of_turn()
        if not isinstance(operation, LLMCall) or run is None:
            return self._input
        before, run._conversation = run._conversation, operation.messages
        last = not isinstance(result, LLMResponse) or result.finished
        new = _continuation(before, operation.messages)
        return self._input if last or not new else messages_content(new, self._capture_content)

    def _run_of_turn(self) -> SpanRecorder | None:
        """The recorder of the run that this operation is a direct part of a turn of; a tool's own calls are not."""
        turn = self.parent
        if not isinstance(turn, SpanRecorder) or not isinstance(turn.operation, Iteration):
            return None
        run = turn.parent
        return run if isinstance(run, SpanRecorder) and isinstance(run.operation, AgentRun) else None

    @property
    def ownership(self) -> Ownership:
        """Tells spans of our provider from those of others."""
        return self._recording.ownership

    @property
    def ended(self) -> bool:
        """True once it has ended."""
        return not self._unended

    @property
    def span(self) -> Span:
        """The span."""
        return self._span


def _unseen(context: SpanContext) -> SpanContext:
    """The context of a span that is not recorded, marked so: one that stands in for its parent has the parent's."""
    flags = TraceFlags(context.trace_flags & ~TraceFlags.SAMPLED)
    return SpanContext(context.trace_id, context.span_id, context.is_remote, flags, context.trace_state)


def _continuation(before: Sequence[MessageLike], messages: Sequence[MessageLike]) -> Sequence[MessageLike]:
    """What follows `before` in `messages`; nothing where `messages` does not begin with it (it was cut or changed)."""
    return messages[len(before) :] if list(messages[: len(before)]) == list(before) else ()


def _metadata(operation: Operation) -> dict[str, Json]:
    if not isinstance(operation, AgentRun | LLMCall):
        return {}
    return facts_of(operation.metadata)


def _links(operation: Operation) -> list[Link]:
    if not isinstance(operation, AgentRun) or not operation.resumed_trace:
        return []
    trace_id, _, span_id = operation.resumed_trace.partition("-")
    return [Link(SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(1)))]

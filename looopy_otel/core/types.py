"""What passes between a caller, a provider, the loop and its tools: messages, responses, stream events, results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from pydantic import JsonValue

from looopy_otel.core.usage import Usage

Json: TypeAlias = JsonValue
"""A value that JSON can say. Canonical content is made of nothing else."""

CallOutcome = Literal["completed", "abandoned", "cancelled", "truncated", "error"]
"""How one LLM call ended; the value of the span attribute ``llm.outcome``."""

RunOutcome = Literal["completed", "failed", "cancelled", "max_iterations", "budget_exceeded"]
"""How one agent run ended; the value of the span attribute ``agent.outcome``."""

UsageSource = Literal["reported", "estimated", "missing"]
CostSource = Literal["provider", "override", "price-table", "unknown"]

DestinationState = Literal["ok", "retrying", "open"]
"""Whether a destination answers: ``retrying`` after a failure, ``open`` while it counts as down and is only probed."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function that a model asks for.

    Attributes:
        id: The model's id for the call; the tool result refers to it.
        name: The function's name.
        arguments: The JSON text exactly as the model wrote it; ``{}`` when the model wrote nothing.
    """

    id: str
    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, in the shape of OpenAI's chat completions.

    Attributes:
        role: ``system``, ``developer``, ``user``, ``assistant`` or ``tool``.
        content: Text, or a list of content parts as the provider takes them, or None (an assistant that only
            calls tools).
        tool_calls: What an assistant message asks for.
        tool_call_id: On a ``tool`` message, the call it answers.
        name: The participant's or the tool's name.
        reasoning: Thinking text of an assistant message, where the provider gives it.
    """

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None


MessageLike: TypeAlias = Message | Mapping[str, Any]
"""A `Message`, or a mapping in OpenAI's shape such as ``{"role": "user", "content": "Hello!"}``."""


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as the model is told of it.

    Attributes:
        name: The function's name.
        description: What it does, for the model.
        parameters: JSON Schema of its arguments (an object schema).
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


ToolLike: TypeAlias = ToolDefinition | Mapping[str, Any]
"""A `ToolDefinition`, OpenAI's nested ``{"type": "function", …}``, or the flat ``{name, description, parameters}``."""


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """What a model answered.

    Attributes:
        message: The assistant's message.
        model: The model that really answered, as far as the endpoint tells.
        usage: Token counts, or None when nothing was reported.
        finish_reason: The provider's word (``stop``, ``length``, ``tool_calls``, …), or None when it gave none.
        id: The provider's id of the response.
        cost: USD, or None when unknown. Never 0 for "unknown".
        cost_source: Where `cost` comes from.
        usage_source: Where `usage` comes from.
        request_id: The proxy's id of the call (``x-litellm-call-id``).
        headers: The response headers that are kept, lower-case names (call id, retries, fallbacks, model group).
        outcome: ``completed`` unless the response is the partial one of a call that ended otherwise.
        dropped_tool_calls: Tool calls without an id or a name, which were left out of `message`.
        system: ``gen_ai.system`` in the light of the response, which tells what stands behind an alias; or None.
        provider_name: ``gen_ai.provider.name``, likewise.
        others: The messages of further choices, where several were asked for.
        service_tier: The tier that served the call (``default``, ``flex``, ``priority``, ``batch``, …), which its price
            depends on; None where the provider does not tell.
        tries: All answers to the call, this one the last, where a middleware refused those before it: each has a price
            of its own. `usage` is that of all, and so is `cost` where each told its own.
        native: The SDK's own response object, where a wrapped client answered; a middleware that makes a response of
            its own leaves it None.
    """

    message: Message
    model: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    id: str | None = None
    cost: Decimal | None = None
    cost_source: CostSource = "unknown"
    usage_source: UsageSource = "missing"
    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    outcome: CallOutcome = "completed"
    dropped_tool_calls: int = 0
    system: str | None = None
    provider_name: str | None = None
    others: tuple[Message, ...] = ()
    service_tier: str | None = None
    tries: tuple[LLMResponse, ...] = field(default=(), repr=False, compare=False)
    native: Any = field(default=None, repr=False, compare=False)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of `message`."""
        return self.message.tool_calls

    @property
    def finished(self) -> bool:
        """True when the model's turn is over: it asks for no tool."""
        return not self.message.tool_calls


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """A piece of the answer's text."""

    kind: ClassVar[Literal["content-delta"]] = "content-delta"
    text: str


@dataclass(frozen=True, slots=True)
class ThoughtStream:
    """A piece of the model's reasoning text."""

    kind: ClassVar[Literal["thought-stream"]] = "thought-stream"
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallEvent:
    """A tool call, complete with its arguments."""

    kind: ClassVar[Literal["tool-call"]] = "tool-call"
    tool_call: ToolCall


@dataclass(frozen=True, slots=True)
class LLMUsage:
    """The token counts of the call, as reported."""

    kind: ClassVar[Literal["llm-usage"]] = "llm-usage"
    usage: Usage
    cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ContentComplete:
    """The last event of every stream that ends well."""

    kind: ClassVar[Literal["content-complete"]] = "content-complete"
    response: LLMResponse


StreamEvent: TypeAlias = ContentDelta | ThoughtStream | ToolCallEvent | LLMUsage | ContentComplete
"""What a streamed LLM call yields; tell them apart by ``.kind`` or by class."""


class LLMStream(Protocol):
    """A call that can be streamed: what a provider's `call` returns."""

    def __aiter__(self) -> AsyncIterator[StreamEvent]:
        """Sends one streamed request and yields its events; the last is `ContentComplete`."""
        ...


@runtime_checkable
class LLMProvider(Protocol):
    """Anything the loop can ask. `LiteLLMProvider` and `ScriptedProvider` are two; write your own with this one method.

    A provider that announces its calls to the observer itself has a true attribute ``announces_calls``;
    for any other the loop announces them.
    """

    @property
    def model(self) -> str:
        """The model that the next call asks for."""
        ...

    def call(
        self,
        *,
        messages: Sequence[MessageLike],
        tools: Sequence[ToolLike] | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> LLMStream:
        """Prepares one call; nothing is sent before it is used."""
        ...


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What one tool call gave.

    Attributes:
        content: The result (any value JSON can say, or text), or the error text that the model sees.
        error_type: None on success; else a short name of the failure, such as the exception's class.
    """

    content: Any
    error_type: str | None = None

    @property
    def is_error(self) -> bool:
        """True when the tool failed, was unknown, or got invalid arguments."""
        return self.error_type is not None


@dataclass(frozen=True, slots=True)
class IterationResult:
    """What one turn of the loop gave.

    Attributes:
        message: The assistant's message of this turn.
        finish_reason: The model's finish reason of this turn.
        tool_messages: The tool results that the next turn will see.
    """

    message: Message
    finish_reason: str | None = None
    tool_messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What one agent run gave.

    Attributes:
        output: The last text of the assistant, or None when there was none.
        outcome: How the run ended.
        usage: Tokens of all LLM calls together; None when none reported any. The calls are those of the loop and of
            the agents that its tools run; what a tool or a middleware asks a provider by itself is in no total.
        cost: USD of the same calls; None when no call's cost is known.
        iterations: Turns taken.
        llm_calls: How many these calls were, failed ones included.
        tool_calls: Tool calls made, those of these agents and failed ones included.
        task_id: The run's id.
        trace_id: 32 hex digits when the run was traced, else None.
        reason: Why the run did not complete (a short text), else None.
    """

    output: str | None
    outcome: RunOutcome
    usage: Usage | None = None
    cost: Decimal | None = None
    iterations: int = 0
    llm_calls: int = 0
    tool_calls: int = 0
    task_id: str = ""
    trace_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FlushResult:
    """What a flush did, in spans, summed over destinations.

    Attributes:
        exported: Acknowledged by their destination since the last flush.
        spooled: Safe on this machine's disk, not yet acknowledged.
        dropped: Lost since the last flush; `Stats.dropped` says why.
        pending: Still in memory when the time was up.
        content_shed: Spans among all these that lost their content since the last flush; `Stats.content_shed` says why.
    """

    exported: int = 0
    spooled: int = 0
    dropped: int = 0
    pending: int = 0
    content_shed: int = 0


@dataclass(frozen=True, slots=True)
class DestinationStats:
    """The health of one destination since `configure()`, in spans.

    Attributes:
        name: ``langfuse`` (with a project's name: ``langfuse:tenant-a``), ``otlp``, ``local``, ``console`` or the
            exporter's class name.
        queued: Waiting in memory.
        exported: Acknowledged.
        spooled: On disk, not yet acknowledged.
        dropped: Lost, by reason.
        content_shed: Sent on or kept without their content, by reason.
        last_error: The last failure in one line, secrets masked.
        last_success: Unix time in seconds of the last acknowledgement.
        state: Whether it answers.
        state_since: Unix time in seconds at which the state began; None when there was no other.
    """

    name: str
    queued: int = 0
    exported: int = 0
    spooled: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    content_shed: Mapping[str, int] = field(default_factory=dict[str, int])
    last_error: str | None = None
    last_success: float | None = None
    state: DestinationState = "ok"
    state_since: float | None = None


@dataclass(frozen=True, slots=True)
class Stats:
    """The health of the pipeline since `configure()`.

    Attributes:
        queued: Spans that have not been handed to all destinations yet.
        exported: Acknowledged spans, over all destinations.
        spooled: Spans on disk, over all destinations.
        dropped: Lost spans by reason, over all destinations.
        content_shed: Spans by reason that lost their content (texts, arguments, results), not themselves; each says so
            in its attribute ``looopy.content_shed``.
        memory: Bytes of memory that the waiting spans take, about; `configure(memory_limit=)` bounds them.
        internal_errors: Faults of this library that were swallowed, by place.
        unpriced_calls: LLM calls without a known cost, by model.
        sampled_out: Spans of traces that tail sampling did not keep; they are no losses, and count in metrics.
        undecided: Spans that tail sampling let pass before their trace was over, since too much waited.
        destinations: One entry per destination.
    """

    queued: int = 0
    exported: int = 0
    spooled: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict[str, int])
    content_shed: Mapping[str, int] = field(default_factory=dict[str, int])
    memory: int = 0
    internal_errors: Mapping[str, int] = field(default_factory=dict[str, int])
    unpriced_calls: Mapping[str, int] = field(default_factory=dict[str, int])
    sampled_out: int = 0
    undecided: int = 0
    destinations: tuple[DestinationStats, ...] = ()

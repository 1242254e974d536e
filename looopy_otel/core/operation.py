"""What is about to happen: the operations that the loop, the providers and retry announce, and that middleware sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from looopy_otel.core.identity import Identity, current_identity
from looopy_otel.core.types import MessageLike, ToolLike


def discard(delta: object) -> None:
    """Takes a delta that nobody waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One step of work. Frozen: a middleware that wants another passes ``dataclasses.replace(operation, …)`` on.

    Attributes:
        identity: Session, user, agent and task; by default those of the place where the operation was made.
        emit: Where deltas of a streamed result go; a middleware may call it to add one.
    """

    identity: Identity = field(default_factory=current_identity)
    emit: Callable[[Any], None] = field(default=discard, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun(Operation):
    """One run of an agent; its result is an `AgentResult`. Becomes the span ``agent.execute``.

    Attributes:
        agent_id: The agent.
        task_id: The run.
        messages: What the run starts from, the system prompt included.
        prompt: What the user gave: a text or messages.
        parent_task_id: The run that this one is a part of, for sub-agents.
        resumed_trace: ``trace_id-span_id`` (hex) of the run that this one goes on from.
        metadata: Facts about this run, as given by the user.
    """

    agent_id: str
    task_id: str
    messages: Sequence[MessageLike]
    prompt: Any = None
    parent_task_id: str | None = None
    resumed_trace: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration(Operation):
    """One turn of the loop; its result is an `IterationResult`. Becomes the span ``agent.iteration``.

    Attributes:
        agent_id: The agent.
        number: 1, 2, …
        messages: What is new in this turn.
    """

    agent_id: str
    number: int
    messages: Sequence[MessageLike]


LLMOperation = Literal["chat", "text_completion", "generate_content", "embeddings"]
"""``gen_ai.operation.name`` of an LLM call."""

InnerCalls = Literal["silent", "replace", "join"]
"""What comes of LLM calls that are announced inside another: one call is one generation.

``silent``: the outer one knows all about the call; the inner ones are not recorded. ``replace``: the outer one (a
decorated function) knows less; the inner ones are the generations, and the outer one becomes a step. ``join``: the
inner ones are the tries of the outer one, which takes over what they know of the request.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMCall(Operation):
    """One logical LLM call, retries included; its result is an `LLMResponse`. Becomes the span ``llm.call``.

    Attributes:
        messages: The whole conversation, as sent.
        model: The model asked for.
        system: ``gen_ai.system``, such as ``openai`` (see `providers.litellm`).
        provider_name: ``gen_ai.provider.name``, such as ``aws.bedrock``.
        tools: The tools offered.
        tool_choice: As sent, or None.
        response_format: As sent, or None.
        parameters: What else steers the model: ``temperature``, ``max_tokens``, ``top_p``, … as sent.
        stream: True for a streamed request.
        server_address: Host of the endpoint.
        server_port: Port of the endpoint.
        session_id: What goes to the provider as the session.
        metadata: What goes to the provider as metadata, as given by the user.
        operation: What is asked of the model.
        input: What is sent where that is no conversation: the texts to embed, the arguments of a decorated function.
        inner: What comes of LLM calls that are announced inside this one.
        name: The name that this call gets as a step, where an inner one is the generation.
    """

    messages: Sequence[MessageLike]
    model: str
    system: str | None = None
    provider_name: str | None = None
    tools: Sequence[ToolLike] = ()
    tool_choice: Any = None
    response_format: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stream: bool = False
    server_address: str | None = None
    server_port: int | None = None
    session_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    operation: LLMOperation = "chat"
    input: Any = None
    inner: InnerCalls = "silent"
    name: str = "llm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt(Operation):
    """One try of a retried LLM call; its result is that of the call. Becomes the span ``llm.attempt``.

    Attributes:
        number: 1, 2, …
        delay: Seconds waited before this try.
        elapsed: Seconds since it began, for one that is announced only afterwards: a first try is one when another
            follows it.
    """

    number: int
    delay: float = 0.0
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRun(Operation):
    """One tool call; its result is a `ToolResult`. Becomes the span ``tool.execute``.

    Attributes:
        name: The tool.
        call_id: The model's id for the call.
        arguments: The decoded arguments; the raw text where they are not a JSON object.
        tool_type: ``gen_ai.tool.type``: ``function``, ``extension`` or ``datastore``.
        decorated: True for a call of a decorated function, which no agent loop has announced.
    """

    name: str
    call_id: str
    arguments: Mapping[str, Any] | str
    tool_type: str = "function"
    decorated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Operation):
    """Any other piece of work that deserves a span of its own, under its own name.

    Attributes:
        name: The span's name.
        input: What the step starts from, or None.
        on_call: Told of each LLM call directly inside, before that is recorded; or None.
    """

    name: str
    input: Any = None
    on_call: Callable[[LLMCall], None] | None = field(default=None, repr=False, compare=False)


CallNext: TypeAlias = Callable[[Any], Awaitable[Any]]
"""The rest of the chain: takes the operation, gives its result."""


class Middleware(Protocol):
    """``async def middleware(operation, call_next) -> result``, outermost first."""

    def __call__(self, operation: Any, call_next: CallNext, /) -> Awaitable[Any]:
        """Handles one operation; calls ``await call_next(operation)`` to go on, or returns a result without it."""
        ...

"""What happened: the frozen record of one finished operation. It flows worker-wards: redact, price, render, store.

Content in a draft is canonical: made of `Json` only, messages in the shape of OpenAI's chat completions.
Unknown is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

import orjson
from pydantic import Field, TypeAdapter

from looopy_otel.core.identity import Identity
from looopy_otel.core.operation import LLMOperation
from looopy_otel.core.snapshot import Shape
from looopy_otel.core.text import valid_text
from looopy_otel.core.types import CallOutcome, CostSource, Json, RunOutcome, UsageSource
from looopy_otel.core.usage import Usage


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an operation failed.

    Attributes:
        type: Low-cardinality name: the exception's class, or the status code of an API error.
        message: The exception's text.
    """

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, in USD.

    Attributes:
        total: All of it.
        input: The input's share, where known.
        output: The output's share, where known.
        source: Where it comes from.
        table: Version of the price table, where that was the source.
        parts: What each part cost that was used, by the names of `looopy_otel.core.usage_parts.Part`, and what a price
            asks per call as ``request``; they make up the total. Empty where only the total is known.
    """

    total: Decimal
    input: Decimal | None = None
    output: Decimal | None = None
    source: CostSource = "unknown"
    table: str | None = None
    parts: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPart:
    """One of several calls that a call was made of, as its price needs it.

    Attributes:
        request_model: The model asked for.
        response_model: The model that answered.
        system: ``gen_ai.system``.
        usage: As reported, or None.
        reported_cost: USD as the provider reported it, or None.
        service_tier: The tier that served it, where told.
    """

    request_model: str
    response_model: str | None = None
    system: str | None = None
    usage: Usage | None = None
    reported_cost: Decimal | None = None
    service_tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """What every draft has.

    Attributes:
        name: The span's name.
        start_time: Unix time in nanoseconds.
        end_time: Unix time in nanoseconds.
        identity: Session, user, agent and task.
        root: True when the span's parent is not ours.
        run: Span id (16 hexadecimal digits) of the agent run that this counts for; None outside of runs, and for what a
            tool does by itself.
        input: Canonical content, or None.
        output: Canonical content, or None.
        input_shape: Set instead of `input` when content is not recorded.
        output_shape: Set instead of `output` when content is not recorded.
        metadata: Facts given by the user.
        error: Set when the operation failed.
    """

    name: str
    start_time: int
    end_time: int
    identity: Identity
    root: bool = False
    run: str | None = None
    input: Json = None
    output: Json = None
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])
    error: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDraft(_Draft):
    """An ``agent.execute``. Totals are those of its own calls and of its sub-agents; ``own_`` ones leave these out."""

    kind: Literal["agent"] = "agent"
    outcome: RunOutcome = "completed"
    reason: str | None = None
    iterations: int | None = None
    llm_calls: int | None = None
    tool_calls: int | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    parent_task_id: str | None = None
    own_llm_calls: int | None = None
    own_tool_calls: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IterationDraft(_Draft):
    """An ``agent.iteration``."""

    kind: Literal["iteration"] = "iteration"
    number: int = 1
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LLMDraft(_Draft):
    """An ``llm.call``.

    `input` is the list of messages as sent (or what is new of it, with ``history="delta"``), `output` the list of
    messages that came back (one per choice), partial ones included.

    Attributes:
        operation: What was asked of the model; for embeddings `input` is what was embedded, and `output` its shape.
        system: ``gen_ai.system``.
        provider_name: ``gen_ai.provider.name``.
        request_model: The model asked for.
        response_model: The model that answered.
        parameters: As sent: ``temperature``, ``max_tokens``, …
        tools: Tool definitions in OpenAI's nested shape; content.
        stream: True for a streamed request.
        usage: As reported, or None.
        usage_source: Where `usage` comes from.
        reported_cost: USD as the provider reported it, or None.
        service_tier: The tier that served the call, as far as the provider tells; the one asked for is in `parameters`.
        parts: The calls that `usage` is the sum of, where it is that of several.
        cost: Set by the pricing stage; None when unknown.
        finish_reason: The provider's word, or None.
        response_id: The provider's id of the response.
        request_id: The proxy's id of the call.
        response_headers: The headers that are kept.
        time_to_first_chunk: Seconds from the request to the first content, reasoning or tool-call delta.
        time_per_output_chunk: Mean seconds between two such deltas.
        server_address: Host of the endpoint.
        server_port: Port of the endpoint.
        outcome: How the call ended.
        answered: False when the call ended before any response came.
        dropped_tool_calls: Tool calls without id or name.
    """

    kind: Literal["llm"] = "llm"
    operation: LLMOperation = "chat"
    system: str | None = None
    provider_name: str | None = None
    request_model: str = ""
    response_model: str | None = None
    parameters: Mapping[str, Json] = field(default_factory=dict[str, Any])
    tools: Json = None
    stream: bool = False
    usage: Usage | None = None
    usage_source: UsageSource = "missing"
    reported_cost: Decimal | None = None
    service_tier: str | None = None
    parts: tuple[CallPart, ...] = ()
    cost: Cost | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    request_id: str | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    time_to_first_chunk: float | None = None
    time_per_output_chunk: float | None = None
    server_address: str | None = None
    server_port: int | None = None
    outcome: CallOutcome = "completed"
    answered: bool = True
    dropped_tool_calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDraft(_Draft):
    """A ``tool.execute``; `input` is the arguments, `output` the result or the error text that the model sees."""

    kind: Literal["tool"] = "tool"
    tool_name: str = ""
    call_id: str = ""
    tool_type: str = "function"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDraft(_Draft):
    """An ``llm.attempt``."""

    kind: Literal["attempt"] = "attempt"
    number: int = 1
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDraft(_Draft):
    """A span of the user's own."""

    kind: Literal["step"] = "step"


Draft: TypeAlias = AgentDraft | IterationDraft | LLMDraft | ToolDraft | AttemptDraft | StepDraft


class _Stored:
    """The stored form of drafts: JSON, one object each, told apart by ``kind``."""

    _adapter: ClassVar[TypeAdapter[Draft] | None] = None

    @classmethod
    def adapter(cls) -> TypeAdapter[Draft]:
        if cls._adapter is None:
            cls._adapter = TypeAdapter(Annotated[Draft, Field(discriminator="kind")])
        return cls._adapter


def draft_to_json(draft: Draft) -> bytes:
    """Writes a draft as JSON; `draft_from_json` reads it back equal.

    What JSON or UTF-8 cannot say (a lone surrogate, an integer beyond 64 bits) is written as the nearest text.
    """
    try:
        return orjson.dumps(draft, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_sayable(asdict(draft)), default=str)


def _sayable(value: Any) -> Any:
    match value:
        case str():
            return valid_text(value)
        case dict():
            items = cast("dict[object, object]", value).items()
            return {valid_text(str(key)): _sayable(item) for key, item in items}
        case list() | tuple():
            return [_sayable(item) for item in cast("list[object]", value)]
        case int() if not isinstance(value, bool) and value.bit_length() > 63:
            return str(value)
        case _:
            return value


def draft_from_json(text: bytes | str) -> Draft:
    """Reads a stored draft.

    Raises:
        ValueError: If the text is not a stored draft.
    """
    return _Stored.adapter().validate_json(text)

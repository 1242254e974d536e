"""From an operation and how it ended to its draft; pure functions, one per kind of operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from looopy_otel.core.draft import (
    AgentDraft,
    AttemptDraft,
    CallPart,
    Draft,
    Failure,
    IterationDraft,
    LLMDraft,
    Shape,
    StepDraft,
    ToolDraft,
)
from looopy_otel.core.errors import LooopyError
from looopy_otel.core.identity import Identity
from looopy_otel.core.messages import tool_to_dict
from looopy_otel.core.operation import AgentRun, Attempt, Iteration, LLMCall, Operation, Step, ToolRun
from looopy_otel.core.outcome import is_interruption, outcome_of
from looopy_otel.core.semconv import SPAN_AGENT, SPAN_ATTEMPT, SPAN_ITERATION, SPAN_LLM, SPAN_TOOL
from looopy_otel.core.snapshot import VALUE, shape_of, snapshot, snapshot_messages, text_of
from looopy_otel.core.stored import stored
from looopy_otel.core.types import (
    AgentResult,
    CallOutcome,
    IterationResult,
    Json,
    LLMResponse,
    Message,
    MessageLike,
    RunOutcome,
    ToolLike,
    ToolResult,
)
from looopy_otel.core.usage import Usage
from looopy_otel.record.tally import Totals

_SPAN_NAMES: Mapping[type[Operation], str] = {
    AgentRun: SPAN_AGENT,
    Iteration: SPAN_ITERATION,
    LLMCall: SPAN_LLM,
    ToolRun: SPAN_TOOL,
    Attempt: SPAN_ATTEMPT,
}


def span_name(operation: Operation) -> str:
    """The name of the span that an operation becomes."""
    return operation.name if isinstance(operation, Step) else _SPAN_NAMES[type(operation)]


@dataclass(frozen=True, slots=True)
class Content:
    """One side of an operation: what is kept of it.

    Attributes:
        value: The canonical value, or None when content is not recorded.
        shape: Its size and roles, when content is not recorded.
    """

    value: Json = None
    shape: Shape | None = None


NO_CONTENT = Content()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an operation ended.

    Attributes:
        start_time: Unix time in nanoseconds.
        end_time: Unix time in nanoseconds.
        root: True when the span's parent is not ours.
        input: What it started from.
        output: What it gave, if the user recorded it; else taken from `result`.
        result: The operation's result, or the partial one.
        error: What was raised.
        metadata: Facts that the user recorded.
        time_to_first_chunk: Seconds, for streams.
        time_per_output_chunk: Mean seconds between two chunks.
        capture_content: False when content is not recorded.
        totals: What happened inside.
        usage: Tokens that the user recorded.
        run: Span id of the agent run that it counts for.
        parts: The calls whose sum its usage is, where it is that of several.
    """

    start_time: int
    end_time: int
    root: bool
    input: Content
    output: Content | None
    result: object
    error: BaseException | None
    metadata: Mapping[str, Json]
    time_to_first_chunk: float | None
    time_per_output_chunk: float | None
    capture_content: bool
    totals: Totals
    usage: Usage | None
    run: str | None = None
    parts: tuple[CallPart, ...] = ()


class _Common(TypedDict):
    name: str
    start_time: int
    end_time: int
    identity: Identity
    root: bool
    run: str | None
    input: Json
    output: Json
    input_shape: Shape | None
    output_shape: Shape | None
    metadata: Mapping[str, Json]
    error: Failure | None


def messages_content(messages: Sequence[MessageLike], capture: bool) -> Content:
    """What is kept of a conversation; nothing for an empty one."""
    if not messages:
        return NO_CONTENT
    if capture:
        return Content(snapshot_messages(messages))
    return Content(shape=shape_of(list(messages), [_role_of(message) or "" for message in messages]))


def value_content(value: object, capture: bool) -> Content:
    """What is kept of any other value, which may be of any size; nothing for None."""
    if value is None:
        return NO_CONTENT
    if isinstance(value, LLMResponse):
        message = value.message
        value = message.content if isinstance(message.content, str) and not message.tool_calls else message
    return Content(snapshot(value, VALUE)) if capture else Content(shape=shape_of(value))


def _role_of(message: object) -> str | None:
    """Whose words a message is, in whatever form an SDK has it; None for what is no message."""
    if isinstance(message, Mapping):
        role: object = cast("Mapping[str, object]", message).get("role")
    else:
        role = stored(message, "role")
    return role if isinstance(role, str) else None


def given_content(operation: Operation, value: object, capture: bool, *, role: str) -> Content:
    """What is kept of what the user's code says of one side of an operation.

    Args:
        operation: The operation; an LLM call takes messages, so a text becomes one of `role`.
        value: The text, message, messages, or any other value.
        capture: False when content is not recorded.
        role: Who speaks where a text says nothing of it.
    """
    conversational = isinstance(operation, LLMCall) and operation.operation != "embeddings"
    messages = _as_messages(value, role) if conversational else ()
    return messages_content(messages, capture) if messages else value_content(value, capture)


def _as_messages(value: object, role: str) -> Sequence[MessageLike]:
    """The messages that a value is; none where it is something else."""
    if isinstance(value, str):
        return [Message(role, value)]
    items: Sequence[object] = cast("Sequence[object]", value) if isinstance(value, list | tuple) else [value]
    return cast("Sequence[MessageLike]", items) if all(map(_role_of, items)) else ()


def input_content(operation: Operation, capture: bool) -> Content:
    """What is kept of what an operation starts from."""
    match operation:
        case LLMCall() if operation.input is not None:
            return value_content(operation.input, capture)
        case LLMCall() | Iteration():
            return messages_content(operation.messages, capture)
        case AgentRun(messages=messages, prompt=prompt) if messages and not isinstance(prompt, str):
            return messages_content(messages, capture)
        case AgentRun():
            return value_content(operation.prompt, capture)
        case ToolRun():
            return value_content(operation.arguments, capture)
        case Step():
            return value_content(operation.input, capture)
        case _:
            return NO_CONTENT


def draft_of(operation: Operation, ending: Ending) -> Draft:
    """Builds the draft of a finished operation.

    Args:
        operation: What was announced.
        ending: How it ended.
    """
    match operation:
        case AgentRun():
            return _agent(operation, ending)
        case Iteration():
            return _iteration(operation, ending)
        case LLMCall():
            return _llm(operation, ending)
        case ToolRun():
            return _tool(operation, ending)
        case Attempt():
            return AttemptDraft(
                **_common(operation, ending, NO_CONTENT), number=operation.number, delay=operation.delay
            )
        case _:
            # An LLM call that another inside it has made a step still ends with what it knows of the answer.
            result = ending.result if isinstance(ending.result, LLMResponse) else None
            return StepDraft(**_common(operation, ending, value_content(result, ending.capture_content)))


def failure_of(error: BaseException | None) -> Failure | None:
    """The failure that an exception stands for; None for an interruption, which is no failure."""
    if error is None or is_interruption(error):
        return None
    return Failure(type=_type_of(error), message=text_of(error))


def _type_of(error: BaseException) -> str:
    """The status code of an API error, as the conventions ask for it; else the exception's class."""
    status = getattr(error, "status", None) or getattr(error, "status_code", None)
    return str(status) if isinstance(status, int) and 400 <= status < 600 else type(error).__qualname__


def _common(operation: Operation, ending: Ending, output: Content, failure: Failure | None = None) -> _Common:
    output = ending.output or output
    return _Common(
        name=span_name(operation),
        start_time=ending.start_time,
        end_time=ending.end_time,
        identity=operation.identity,
        root=ending.root,
        run=ending.run,
        input=ending.input.value,
        output=output.value,
        input_shape=ending.input.shape,
        output_shape=output.shape,
        metadata=ending.metadata,
        error=failure_of(ending.error) or failure,
    )


def _agent(operation: AgentRun, ending: Ending) -> AgentDraft:
    result = ending.result if isinstance(ending.result, AgentResult) else None
    outcome = result.outcome if result else _run_outcome(ending.error)
    reason = (result.reason if result else None) or None
    failure = None
    if outcome not in ("completed", "cancelled"):
        failure = Failure(type=outcome, message=reason or outcome)
    output = value_content(result.output if result else None, ending.capture_content)
    return AgentDraft(
        **_common(operation, ending, output, failure),
        outcome=outcome,
        # The reason of a failure is the exception's text: it stands in `error`, where the gate looks for it.
        reason=None if outcome == "failed" else reason,
        iterations=result.iterations if result else ending.totals.iterations or None,
        llm_calls=result.llm_calls if result else ending.totals.llm_calls,
        tool_calls=result.tool_calls if result else ending.totals.tool_calls,
        usage=ending.usage or (result.usage if result else ending.totals.usage),
        cost=result.cost if result else None,
        parent_task_id=operation.parent_task_id,
        own_llm_calls=ending.totals.own_llm_calls,
        own_tool_calls=ending.totals.own_tool_calls,
    )


def _run_outcome(error: BaseException | None) -> RunOutcome:
    if error is None:
        return "completed"
    if failure_of(error) is None:
        return "cancelled"
    # A run of the user's own code ends with a spent budget as one of the loop does.
    return getattr(error, "run_outcome", "failed")


def _iteration(operation: Iteration, ending: Ending) -> IterationDraft:
    result = ending.result if isinstance(ending.result, IterationResult) else None
    output = messages_content([result.message], ending.capture_content) if result else NO_CONTENT
    return IterationDraft(
        **_common(operation, ending, output),
        number=operation.number,
        finish_reason=(result.finish_reason if result else None) or ending.totals.finish_reason,
    )


def _llm(operation: LLMCall, ending: Ending) -> LLMDraft:
    response = ending.result if isinstance(ending.result, LLMResponse) else None
    # An error of ours keeps what its response said of the call, as an LLMResponse does.
    told = response or (ending.error if isinstance(ending.error, LooopyError) else None)
    choices = _choices(response)
    output = messages_content(choices, ending.capture_content) if choices else NO_CONTENT
    tools = snapshot([_tool_definition(tool) for tool in operation.tools]) if operation.tools else None
    return LLMDraft(
        **_common(operation, ending, output),
        system=(response.system if response else None) or operation.system,
        provider_name=(response.provider_name if response else None) or operation.provider_name,
        operation=operation.operation,
        request_model=operation.model,
        response_model=response.model if response else None,
        parameters=_parameters(operation),
        tools=tools if ending.capture_content else None,
        stream=operation.stream,
        usage=response.usage if response else None,
        usage_source=response.usage_source if response else "missing",
        reported_cost=response.cost if response else None,
        service_tier=response.service_tier if response else None,
        parts=ending.parts,
        finish_reason=response.finish_reason if response else None,
        response_id=response.id if response else None,
        request_id=_request_id(response, ending.error),
        response_headers=dict(getattr(told, "headers", {})),
        time_to_first_chunk=ending.time_to_first_chunk,
        time_per_output_chunk=ending.time_per_output_chunk,
        server_address=operation.server_address,
        server_port=operation.server_port,
        outcome=_call_outcome(response, ending.error),
        # A block of the user's own that ended well had its answer, even if it says nothing of it.
        answered=response is not None or ending.error is None,
        dropped_tool_calls=response.dropped_tool_calls if response else 0,
    )


def _request_id(response: LLMResponse | None, error: BaseException | None) -> str | None:
    """The request's id as the response says it, or an error: ours and those of the SDKs that carry one."""
    told = response.request_id if response else getattr(error, "request_id", None)
    return told if isinstance(told, str) else None


def _tool_definition(tool: ToolLike) -> object:
    """A tool in the shape of OpenAI's functions; one of another kind (a vendor's own tool) as it is."""
    try:
        return tool_to_dict(tool)
    except (TypeError, ValueError):
        return tool


def _choices(response: LLMResponse | None) -> Sequence[Message]:
    """The messages that came back; none where nothing did."""
    messages = (response.message, *response.others) if response else ()
    return [message for message in messages if message != Message("assistant")]


def _parameters(operation: LLMCall) -> Mapping[str, Json]:
    asked = {
        "tool_choice": operation.tool_choice,
        "response_format": operation.response_format,
        **operation.parameters,
    }
    return cast("dict[str, Json]", snapshot({name: value for name, value in asked.items() if value is not None}))


def _call_outcome(response: LLMResponse | None, error: BaseException | None) -> CallOutcome:
    if response is not None and response.outcome != "completed":
        return response.outcome
    return outcome_of(error)


def _tool(operation: ToolRun, ending: Ending) -> ToolDraft:
    result = ending.result if isinstance(ending.result, ToolResult) else None
    failure = None
    if result is not None and result.error_type is not None:
        failure = Failure(type=result.error_type, message=str(result.content))
    content: Any = result.content if result else None
    return ToolDraft(
        **_common(operation, ending, value_content(content, ending.capture_content), failure),
        tool_name=operation.name,
        call_id=operation.call_id,
        tool_type=operation.tool_type,
    )

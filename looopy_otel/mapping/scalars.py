"""Scalars: what stands on a span in every dialect besides content, from identity to tokens and their provenance."""

from __future__ import annotations

from collections.abc import Mapping

from looopy_otel.core.draft import AgentDraft, AttemptDraft, Draft, IterationDraft, LLMDraft, StepDraft, ToolDraft
from looopy_otel.core.operation import LLMOperation
from looopy_otel.core.semconv import (
    AGENT_COST_USD,
    AGENT_ITERATION,
    AGENT_ITERATIONS,
    AGENT_LLM_CALLS,
    AGENT_OUTCOME,
    AGENT_OUTCOME_REASON,
    AGENT_PARENT_TASK_ID,
    AGENT_TOOL_CALL_ID,
    AGENT_TOOL_CALLS,
    AGENT_TOOL_NAME,
    AGENT_USAGE_COMPLETION_TOKENS,
    AGENT_USAGE_PROMPT_TOKENS,
    AGENT_USAGE_TOTAL_TOKENS,
    ERROR_TYPE,
    GEN_AI_AGENT_NAME,
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_RESPONSE_ID,
    GEN_AI_RESPONSE_MODEL,
    GEN_AI_SYSTEM,
    GEN_AI_TOOL_CALL_ID,
    GEN_AI_TOOL_TYPE,
    GEN_AI_USAGE_COMPLETION_TOKENS,
    GEN_AI_USAGE_COST,
    GEN_AI_USAGE_PROMPT_TOKENS,
    GEN_AI_USAGE_TOTAL_TOKENS,
    INPUT_BYTES,
    INPUT_ROLES,
    LANGFUSE_TYPE,
    LANGFUSE_TYPE_AGENT,
    LANGFUSE_TYPE_CHAIN,
    LANGFUSE_TYPE_EMBEDDING,
    LANGFUSE_TYPE_GENERATION,
    LANGFUSE_TYPE_SPAN,
    LANGFUSE_TYPE_TOOL,
    LLM_ATTEMPT_DELAY,
    LLM_ATTEMPT_NUMBER,
    LLM_COST_SOURCE,
    LLM_COST_TABLE,
    LLM_DROPPED_TOOL_CALLS,
    LLM_FINISH_REASON,
    LLM_OUTCOME,
    LLM_REQUEST_ID,
    LLM_RESPONSE_HEADER,
    LLM_USAGE_SOURCE,
    OPERATION_EXECUTE_TOOL,
    OPERATION_INVOKE_AGENT,
    OUTPUT_BYTES,
    OUTPUT_ROLES,
)
from looopy_otel.core.settings import Deployment
from looopy_otel.mapping.attributes import AttributeValue, Fact, known
from looopy_otel.mapping.identity import identity_attributes

OBSERVATION_TYPES: Mapping[str, str] = {
    "agent": LANGFUSE_TYPE_AGENT,
    "iteration": LANGFUSE_TYPE_CHAIN,
    "tool": LANGFUSE_TYPE_TOOL,
    "attempt": LANGFUSE_TYPE_SPAN,
    "step": LANGFUSE_TYPE_SPAN,
}
"""Langfuse's type of each kind of draft but LLM calls.

An explicit one stands above all that the server would guess from the rest.
"""

_NO_FAILURE = frozenset({"abandoned", "cancelled"})


def observation_type(draft: Draft) -> str:
    """Langfuse's type of a draft."""
    return llm_observation_type(draft.operation) if isinstance(draft, LLMDraft) else OBSERVATION_TYPES[draft.kind]


def llm_observation_type(operation: LLMOperation) -> str:
    """Langfuse's type of an LLM call."""
    return LANGFUSE_TYPE_EMBEDDING if operation == "embeddings" else LANGFUSE_TYPE_GENERATION


def scalar_attributes(draft: Draft, deployment: Deployment) -> dict[str, AttributeValue]:
    """The scalars of a draft: identity first, then the kind's own, the error's type and the shapes of lost content."""
    facts: dict[str, Fact] = {LANGFUSE_TYPE: observation_type(draft)}
    facts |= _own(draft)
    facts[ERROR_TYPE] = error_type(draft)
    if draft.input_shape is not None:
        facts |= {INPUT_BYTES: draft.input_shape.bytes, INPUT_ROLES: draft.input_shape.roles}
    if draft.output_shape is not None:
        facts |= {OUTPUT_BYTES: draft.output_shape.bytes, OUTPUT_ROLES: draft.output_shape.roles}
    return identity_attributes(draft.identity, deployment, root=draft.root) | known(facts)


def error_type(draft: Draft) -> str | None:
    """``error.type``: None unless the operation failed; who was cancelled or abandoned did not fail."""
    if draft.error is None or (isinstance(draft, AgentDraft | LLMDraft) and draft.outcome in _NO_FAILURE):
        return None
    return draft.error.type


def _own(draft: Draft) -> dict[str, Fact]:
    match draft:
        case AgentDraft():
            return _agent(draft)
        case IterationDraft():
            return {
                GEN_AI_AGENT_NAME: draft.identity.agent_id,
                AGENT_ITERATION: draft.number,
                LLM_FINISH_REASON: draft.finish_reason,
            }
        case LLMDraft():
            return _llm(draft)
        case ToolDraft():
            return {
                GEN_AI_OPERATION_NAME: OPERATION_EXECUTE_TOOL,
                AGENT_TOOL_NAME: draft.tool_name,
                AGENT_TOOL_CALL_ID: draft.call_id,
                GEN_AI_TOOL_CALL_ID: draft.call_id,
                GEN_AI_TOOL_TYPE: draft.tool_type,
            }
        case AttemptDraft():
            return {LLM_ATTEMPT_NUMBER: draft.number, LLM_ATTEMPT_DELAY: float(draft.delay)}
        case StepDraft():
            return {}


def _agent(draft: AgentDraft) -> dict[str, Fact]:
    usage = draft.usage
    return {
        GEN_AI_OPERATION_NAME: OPERATION_INVOKE_AGENT,
        GEN_AI_AGENT_NAME: draft.identity.agent_id,
        AGENT_PARENT_TASK_ID: draft.parent_task_id,
        AGENT_OUTCOME: draft.outcome,
        AGENT_OUTCOME_REASON: draft.reason,
        AGENT_ITERATIONS: draft.iterations,
        AGENT_LLM_CALLS: draft.llm_calls,
        AGENT_TOOL_CALLS: draft.tool_calls,
        AGENT_USAGE_PROMPT_TOKENS: usage and usage.prompt_tokens,
        AGENT_USAGE_COMPLETION_TOKENS: usage and usage.completion_tokens,
        AGENT_USAGE_TOTAL_TOKENS: usage and usage.total_tokens,
        AGENT_COST_USD: draft.cost,
    }


def _llm(draft: LLMDraft) -> dict[str, Fact]:
    usage, cost = draft.usage, draft.cost
    return {
        GEN_AI_OPERATION_NAME: draft.operation,
        GEN_AI_PROVIDER_NAME: draft.provider_name,
        GEN_AI_SYSTEM: draft.system,
        GEN_AI_REQUEST_MODEL: draft.request_model,
        GEN_AI_RESPONSE_MODEL: draft.response_model,
        GEN_AI_RESPONSE_ID: draft.response_id,
        GEN_AI_USAGE_PROMPT_TOKENS: usage and usage.prompt_tokens,
        GEN_AI_USAGE_COMPLETION_TOKENS: usage and usage.completion_tokens,
        GEN_AI_USAGE_TOTAL_TOKENS: usage and usage.total_tokens,
        GEN_AI_USAGE_COST: cost and cost.total,
        LLM_USAGE_SOURCE: draft.usage_source,
        LLM_COST_SOURCE: cost.source if cost else "unknown",
        LLM_COST_TABLE: cost and cost.table,
        LLM_FINISH_REASON: draft.finish_reason,
        LLM_OUTCOME: draft.outcome,
        LLM_REQUEST_ID: draft.request_id,
        LLM_DROPPED_TOOL_CALLS: draft.dropped_tool_calls or None,
        **{LLM_RESPONSE_HEADER + name: value for name, value in draft.response_headers.items()},
    }

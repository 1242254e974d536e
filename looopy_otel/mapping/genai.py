"""The `genai` dialect: the OpenTelemetry GenAI conventions as they stand, for any collector.

Token counts are inclusive, content is the conventions' JSON as text (Langfuse and most backends read no structures).
The scalars of the other dialects stand besides, since a collector may forward to Langfuse; its disjoint usage details
then win over the inclusive counts, so that nothing is added up twice. Cache writes carry the released name and the
one that replaced it.
"""

from __future__ import annotations

from looopy_otel.core.draft import AgentDraft, Draft, IterationDraft, LLMDraft, ToolDraft
from looopy_otel.core.semconv import (
    GEN_AI_AGENT_NAME,
    GEN_AI_EMBEDDINGS_DIMENSION_COUNT,
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_OUTPUT_MESSAGES,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_RESPONSE_FINISH_REASONS,
    GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK,
    GEN_AI_TOOL_CALL_ARGUMENTS,
    GEN_AI_TOOL_CALL_RESULT,
    GEN_AI_TOOL_DEFINITIONS,
    GEN_AI_TOOL_NAME,
    GEN_AI_USAGE_AUDIO_INPUT,
    GEN_AI_USAGE_AUDIO_OUTPUT,
    GEN_AI_USAGE_CACHE_CREATION,
    GEN_AI_USAGE_CACHE_READ,
    GEN_AI_USAGE_CACHE_WRITE,
    GEN_AI_USAGE_INPUT_TOKENS,
    GEN_AI_USAGE_OUTPUT_TOKENS,
    GEN_AI_USAGE_REASONING,
    INPUT,
    METADATA,
    OUTPUT,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from looopy_otel.core.settings import Deployment
from looopy_otel.mapping.attributes import AttributeValue, Fact, known
from looopy_otel.mapping.content import encode_json, genai_messages, genai_tools, json_object, text_of
from looopy_otel.mapping.identity import metadata_facts
from looopy_otel.mapping.langfuse import generation_attributes
from looopy_otel.mapping.request import request_attributes
from looopy_otel.mapping.scalars import scalar_attributes

_BROKEN_OFF = frozenset({"error", "truncated"})


def attributes(draft: Draft, deployment: Deployment) -> dict[str, AttributeValue]:
    """Renders a draft in the GenAI conventions.

    Args:
        draft: Redacted and priced.
        deployment: Environment, release and version of this process.
    """
    return {
        **scalar_attributes(draft, deployment),
        **_own(draft),
        **known(metadata_facts(METADATA, draft.metadata)),
    }


def _own(draft: Draft) -> dict[str, AttributeValue]:
    match draft:
        case LLMDraft():
            return _llm(draft)
        case ToolDraft():
            return _tool(draft)
        case AgentDraft() | IterationDraft():
            return _conversation(draft)
        case _:
            return _plain(draft)


def _plain(draft: Draft) -> dict[str, AttributeValue]:
    """Content that is no conversation, for which the conventions have no name."""
    return known({INPUT: _text(draft.input), OUTPUT: _text(draft.output)})


def _llm(draft: LLMDraft) -> dict[str, AttributeValue]:
    return {
        **request_attributes(draft.parameters),
        **known(
            {
                **_dimensions(draft),
                GEN_AI_REQUEST_STREAM: draft.stream or None,
                GEN_AI_RESPONSE_FINISH_REASONS: _finish_reasons(draft),
                GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: draft.time_to_first_chunk,
                SERVER_ADDRESS: draft.server_address,
                SERVER_PORT: draft.server_port,
                **_usage(draft),
            }
        ),
        **generation_attributes(draft),
        **(_plain(draft) if draft.operation == "embeddings" else _conversation(draft)),
        **known({GEN_AI_TOOL_DEFINITIONS: encode_json(genai_tools(draft.tools)) if draft.tools else None}),
    }


def _dimensions(draft: LLMDraft) -> dict[str, Fact]:
    """How long the vectors are that came back; a request says so only where it wants another length."""
    if draft.operation != "embeddings" or not isinstance(draft.output, dict):
        return {}
    dimensions = draft.output.get("dimensions")
    return {GEN_AI_EMBEDDINGS_DIMENSION_COUNT: dimensions} if isinstance(dimensions, int) else {}


def _usage(draft: LLMDraft) -> dict[str, Fact]:
    usage = draft.usage
    if usage is None:
        return {}
    return {
        GEN_AI_USAGE_INPUT_TOKENS: usage.prompt_tokens,
        GEN_AI_USAGE_OUTPUT_TOKENS: usage.completion_tokens,
        GEN_AI_USAGE_CACHE_READ: usage.cache_read_tokens,
        GEN_AI_USAGE_CACHE_CREATION: usage.cache_write_tokens,
        GEN_AI_USAGE_CACHE_WRITE: usage.cache_write_tokens,
        GEN_AI_USAGE_AUDIO_INPUT: usage.audio_input_tokens,
        GEN_AI_USAGE_REASONING: usage.reasoning_tokens,
        GEN_AI_USAGE_AUDIO_OUTPUT: usage.audio_output_tokens,
    }


def _finish_reasons(draft: LLMDraft) -> list[str]:
    """One word for an answer; ``error`` for one that broke off. Who walked away leaves it unknown."""
    if draft.finish_reason:
        return [draft.finish_reason]
    return ["error"] if draft.answered and draft.outcome in _BROKEN_OFF else []


def _conversation(draft: AgentDraft | IterationDraft | LLMDraft) -> dict[str, AttributeValue]:
    reasons = _finish_reasons(draft) if isinstance(draft, LLMDraft) else []
    reason = reasons[0] if reasons else None
    return known(
        {
            GEN_AI_INPUT_MESSAGES: _messages(draft.input, "user"),
            GEN_AI_OUTPUT_MESSAGES: _messages(draft.output, "assistant", reason),
        }
    )


def _messages(content: object, role: str, finish_reason: str | None = None) -> str | None:
    return None if content is None or content == [] else encode_json(genai_messages(content, role, finish_reason))


def _tool(draft: ToolDraft) -> dict[str, AttributeValue]:
    """The conventions record a result of success only; a failure stands in the status and the exception event."""
    succeeded = draft.output is not None and draft.error is None
    return known(
        {
            GEN_AI_AGENT_NAME: draft.identity.agent_id,
            GEN_AI_TOOL_NAME: draft.tool_name,
            GEN_AI_TOOL_CALL_ARGUMENTS: None
            if draft.input is None
            else encode_json(json_object(draft.input, "arguments")),
            GEN_AI_TOOL_CALL_RESULT: encode_json(json_object(draft.output, "result")) if succeeded else None,
        }
    )


def _text(content: object) -> str | None:
    return None if content is None else text_of(content)

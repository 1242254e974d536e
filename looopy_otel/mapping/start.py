"""What is set when a span starts: identity and the scalars that a sampler may ask for. No content."""

from __future__ import annotations

from looopy_otel.core.operation import AgentRun, Attempt, Iteration, LLMCall, Operation, ToolRun
from looopy_otel.core.semconv import (
    AGENT_ITERATION,
    AGENT_PARENT_TASK_ID,
    AGENT_TOOL_CALL_ID,
    AGENT_TOOL_NAME,
    GEN_AI_AGENT_NAME,
    GEN_AI_OPERATION_NAME,
    GEN_AI_PROVIDER_NAME,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_REQUEST_STREAM,
    GEN_AI_SYSTEM,
    GEN_AI_TOOL_CALL_ID,
    GEN_AI_TOOL_NAME,
    GEN_AI_TOOL_TYPE,
    LANGFUSE_TYPE,
    LANGFUSE_TYPE_AGENT,
    LANGFUSE_TYPE_CHAIN,
    LANGFUSE_TYPE_SPAN,
    LANGFUSE_TYPE_TOOL,
    LLM_ATTEMPT_DELAY,
    LLM_ATTEMPT_NUMBER,
    OPERATION_EXECUTE_TOOL,
    OPERATION_INVOKE_AGENT,
    SERVER_ADDRESS,
    SERVER_PORT,
)
from looopy_otel.core.settings import Deployment
from looopy_otel.mapping.attributes import AttributeValue, known
from looopy_otel.mapping.identity import travelling_attributes
from looopy_otel.mapping.request import request_attributes
from looopy_otel.mapping.scalars import llm_observation_type


def start_attributes(operation: Operation, deployment: Deployment, *, root: bool) -> dict[str, AttributeValue]:
    """The attributes that a span of this operation starts with; rendering replaces them when it is exported.

    Langfuse's type is among them because its SDK, running in the same process, gives any span without one its own.

    Args:
        operation: What is about to happen.
        deployment: Environment, release and version of this process.
        root: True for a span whose parent is not ours.
    """
    return travelling_attributes(operation.identity, deployment, root=root) | _own(operation)


def _own(operation: Operation) -> dict[str, AttributeValue]:
    match operation:
        case AgentRun():
            return known(
                {
                    LANGFUSE_TYPE: LANGFUSE_TYPE_AGENT,
                    GEN_AI_OPERATION_NAME: OPERATION_INVOKE_AGENT,
                    GEN_AI_AGENT_NAME: operation.agent_id,
                    AGENT_PARENT_TASK_ID: operation.parent_task_id,
                }
            )
        case Iteration():
            return known(
                {
                    LANGFUSE_TYPE: LANGFUSE_TYPE_CHAIN,
                    GEN_AI_AGENT_NAME: operation.agent_id,
                    AGENT_ITERATION: operation.number,
                }
            )
        case LLMCall():
            return _llm(operation)
        case ToolRun():
            return _tool(operation)
        case Attempt():
            return known(
                {
                    LANGFUSE_TYPE: LANGFUSE_TYPE_SPAN,
                    LLM_ATTEMPT_NUMBER: operation.number,
                    LLM_ATTEMPT_DELAY: float(operation.delay),
                }
            )
        case _:
            return known({LANGFUSE_TYPE: LANGFUSE_TYPE_SPAN})


def _llm(call: LLMCall) -> dict[str, AttributeValue]:
    parameters = {"response_format": call.response_format, **call.parameters}
    return {
        **known(
            {
                LANGFUSE_TYPE: llm_observation_type(call.operation),
                GEN_AI_OPERATION_NAME: call.operation,
                GEN_AI_PROVIDER_NAME: call.provider_name,
                GEN_AI_SYSTEM: call.system,
                GEN_AI_REQUEST_MODEL: call.model,
                GEN_AI_REQUEST_STREAM: call.stream or None,
                SERVER_ADDRESS: call.server_address,
                SERVER_PORT: call.server_port,
            }
        ),
        **request_attributes(parameters),
    }


def _tool(run: ToolRun) -> dict[str, AttributeValue]:
    return known(
        {
            LANGFUSE_TYPE: LANGFUSE_TYPE_TOOL,
            GEN_AI_OPERATION_NAME: OPERATION_EXECUTE_TOOL,
            GEN_AI_AGENT_NAME: run.identity.agent_id,
            GEN_AI_TOOL_NAME: run.name,
            AGENT_TOOL_NAME: run.name,
            GEN_AI_TOOL_CALL_ID: run.call_id,
            AGENT_TOOL_CALL_ID: run.call_id,
            GEN_AI_TOOL_TYPE: run.tool_type,
        }
    )

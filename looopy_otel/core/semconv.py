"""Every span, attribute, metric and header name that goes on a wire; no other module spells one.

Sources: the OpenTelemetry GenAI semantic conventions (v1.41.1 and the semantic-conventions-genai repository, all of
Development stability), the OpenTelemetry core registry, Langfuse's OTLP ingestion (server 4.16), and this project's own
names under ``agent.``, ``llm.`` and ``looopy.``.
"""

from __future__ import annotations

from typing import Final

# Beginnings of names, which tell what a span of somebody else is about.
GEN_AI_PREFIX: Final = "gen_ai."
LANGFUSE_OBSERVATION_PREFIX: Final = "langfuse.observation."
LANGFUSE_PROMPT_PREFIX: Final = "langfuse.observation.prompt."

# In no convention: what our spans carry on a provider of somebody else where no other name of the GenAI conventions
# does, since the Langfuse SDK on that provider takes only spans with one.
GEN_AI_SPAN_KIND: Final = "gen_ai.span.kind"

# In no convention: the header of a Celery message under which the headers of its trace stand, out of the way of others.
CELERY_HEADER: Final = "looopy.trace"

# Spans of this project.
SPAN_AGENT: Final = "agent.execute"
SPAN_ITERATION: Final = "agent.iteration"
SPAN_LLM: Final = "llm.call"
SPAN_TOOL: Final = "tool.execute"
SPAN_ATTEMPT: Final = "llm.attempt"

# Identity. `session.id` and `user.id`: OpenTelemetry registry, Development.
SESSION_ID: Final = "session.id"
USER_ID: Final = "user.id"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
AGENT_ID: Final = "agent.id"
AGENT_TASK_ID: Final = "agent.task.id"
AGENT_PARENT_TASK_ID: Final = "agent.parent_task.id"
ERROR_TYPE: Final = "error.type"
ERROR_TYPE_BUDGET = "BudgetExceededError"
ERROR_TYPE_UNKNOWN_TOOL: Final = "unknown_tool"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# What a span carries inside the process only; it is taken off before anything leaves.
PROJECT: Final = "looopy.project"
EXCEPTION_EVENT: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"

# Resource.
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
DEPLOYMENT_ENVIRONMENT: Final = "deployment.environment.name"
DEPLOYMENT_ENVIRONMENT_OLD: Final = "deployment.environment"

# Agent run and iteration, this project's own. Totals have own names so that no backend adds them to the leaves.
AGENT_OUTCOME: Final = "agent.outcome"
AGENT_OUTCOME_REASON: Final = "agent.outcome.reason"
AGENT_ITERATION: Final = "agent.iteration"
AGENT_ITERATIONS: Final = "agent.iterations"
AGENT_LLM_CALLS: Final = "agent.llm_calls"
AGENT_TOOL_CALLS: Final = "agent.tool_calls"
AGENT_USAGE_PROMPT_TOKENS: Final = "agent.usage.prompt_tokens"
AGENT_USAGE_COMPLETION_TOKENS: Final = "agent.usage.completion_tokens"
AGENT_USAGE_TOTAL_TOKENS: Final = "agent.usage.total_tokens"
AGENT_COST_USD: Final = "agent.cost.usd"
AGENT_TOOL_NAME: Final = "agent.tool.name"
AGENT_TOOL_CALL_ID: Final = "agent.tool.call_id"

# LLM call, this project's own.
LLM_FINISH_REASON: Final = "llm.finish_reason"
LLM_OUTCOME: Final = "llm.outcome"
LLM_USAGE_SOURCE: Final = "llm.usage.source"
LLM_COST_SOURCE: Final = "llm.cost.source"
LLM_COST_TABLE: Final = "llm.cost.table"
LLM_DROPPED_TOOL_CALLS: Final = "llm.dropped_tool_calls"
LLM_REQUEST_ID: Final = "llm.request.id"
LLM_RESPONSE_HEADER: Final = "llm.response.header."
LLM_ATTEMPT_NUMBER: Final = "llm.attempt.number"
LLM_ATTEMPT_DELAY: Final = "llm.attempt.delay"

# What stands in the place of content that is not recorded.
INPUT_BYTES: Final = "looopy.input.bytes"
INPUT_ROLES: Final = "looopy.input.roles"
OUTPUT_BYTES: Final = "looopy.output.bytes"
OUTPUT_ROLES: Final = "looopy.output.roles"
CONTENT_SHED: Final = "looopy.content_shed"
"""True on a span whose content was given up, since more waited than memory may hold; sizes and roles remain."""
METADATA: Final = "looopy.metadata."

# The seed's names; the GenAI conventions call them deprecated or never had them.
GEN_AI_SYSTEM: Final = "gen_ai.system"
GEN_AI_PROMPT: Final = "gen_ai.prompt"
GEN_AI_COMPLETION: Final = "gen_ai.completion"
GEN_AI_USAGE_PROMPT_TOKENS: Final = "gen_ai.usage.prompt_tokens"
GEN_AI_USAGE_COMPLETION_TOKENS: Final = "gen_ai.usage.completion_tokens"
GEN_AI_USAGE_TOTAL_TOKENS: Final = "gen_ai.usage.total_tokens"
GEN_AI_USAGE_COST: Final = "gen_ai.usage.cost"
INPUT: Final = "input"
OUTPUT: Final = "output"

# GenAI conventions.
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
OPERATION_INVOKE_AGENT: Final = "invoke_agent"
OPERATION_EXECUTE_TOOL: Final = "execute_tool"
GEN_AI_PROVIDER_NAME: Final = "gen_ai.provider.name"
GEN_AI_AGENT_NAME: Final = "gen_ai.agent.name"
GEN_AI_REQUEST_MODEL: Final = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM: Final = "gen_ai.request.stream"
GEN_AI_REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P: Final = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K: Final = "gen_ai.request.top_k"
GEN_AI_REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
GEN_AI_REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
GEN_AI_REQUEST_SEED: Final = "gen_ai.request.seed"
GEN_AI_REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
GEN_AI_REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
GEN_AI_REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
GEN_AI_REQUEST_ENCODING_FORMATS: Final = "gen_ai.request.encoding_formats"
GEN_AI_REQUEST_PREVIOUS_RESPONSE: Final = "gen_ai.request.previous_response.id"
GEN_AI_EMBEDDINGS_DIMENSION_COUNT: Final = "gen_ai.embeddings.dimension.count"
GEN_AI_OUTPUT_TYPE: Final = "gen_ai.output.type"
GEN_AI_RESPONSE_ID: Final = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL: Final = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_CACHE_CREATION: Final = "gen_ai.usage.cache_creation.input_tokens"
GEN_AI_USAGE_CACHE_WRITE: Final = "gen_ai.usage.cache_write.input_tokens"
GEN_AI_USAGE_REASONING: Final = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_USAGE_AUDIO_INPUT: Final = "gen_ai.usage.audio.input_tokens"
GEN_AI_USAGE_AUDIO_OUTPUT: Final = "gen_ai.usage.audio.output_tokens"
GEN_AI_INPUT_MESSAGES: Final = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
GEN_AI_TOOL_DEFINITIONS: Final = "gen_ai.tool.definitions"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_TOOL_TYPE: Final = "gen_ai.tool.type"
GEN_AI_TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
GEN_AI_TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
GEN_AI_TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"

# Langfuse. Values of the observation type are lower-case; anything else is not recognised.
LANGFUSE_TYPE: Final = "langfuse.observation.type"
LANGFUSE_INPUT: Final = "langfuse.observation.input"
LANGFUSE_OUTPUT: Final = "langfuse.observation.output"
LANGFUSE_MODEL_NAME: Final = "langfuse.observation.model.name"
LANGFUSE_MODEL_PARAMETERS: Final = "langfuse.observation.model.parameters"
LANGFUSE_USAGE_DETAILS: Final = "langfuse.observation.usage_details"
LANGFUSE_COST_DETAILS: Final = "langfuse.observation.cost_details"
LANGFUSE_COMPLETION_START_TIME: Final = "langfuse.observation.completion_start_time"
LANGFUSE_METADATA: Final = "langfuse.observation.metadata."
LANGFUSE_STATUS_MESSAGE: Final = "langfuse.observation.status_message"
LANGFUSE_TRACE_NAME: Final = "langfuse.trace.name"
LANGFUSE_TRACE_TAGS: Final = "langfuse.trace.tags"
LANGFUSE_TRACE_METADATA: Final = "langfuse.trace.metadata."
LANGFUSE_ENVIRONMENT: Final = "langfuse.environment"
LANGFUSE_RELEASE: Final = "langfuse.release"
LANGFUSE_VERSION: Final = "langfuse.version"
LANGFUSE_IS_APP_ROOT: Final = "langfuse.internal.is_app_root"
LANGFUSE_AS_ROOT: Final = "langfuse.internal.as_root"
LANGFUSE_TYPE_AGENT: Final = "agent"
LANGFUSE_TYPE_CHAIN: Final = "chain"
LANGFUSE_TYPE_GENERATION: Final = "generation"
LANGFUSE_TYPE_EMBEDDING: Final = "embedding"
LANGFUSE_TYPE_TOOL: Final = "tool"
LANGFUSE_TYPE_SPAN: Final = "span"

# Metrics of the GenAI conventions. `gen_ai.client.inference.usage.*` and the agent's and tool's metrics come from the
# semantic-conventions-genai repository, the others from v1.41.1, which instrumentations of today send.
METRIC_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
METRIC_TOKEN_USAGE: Final = "gen_ai.client.token.usage"
METRIC_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
METRIC_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
METRIC_CACHE_READ_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
METRIC_CACHE_WRITE_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
METRIC_REASONING_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
METRIC_AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
METRIC_AGENT_INFERENCE_CALLS: Final = "gen_ai.invoke_agent.inference_calls"
METRIC_AGENT_TOOL_CALLS: Final = "gen_ai.invoke_agent.tool_calls"
METRIC_TOOL_DURATION: Final = "gen_ai.execute_tool.duration"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"
TOKEN_TYPE_INPUT: Final = "input"
TOKEN_TYPE_OUTPUT: Final = "output"
GEN_AI_TOKEN_MODALITY: Final = "gen_ai.token.modality"
TOKEN_MODALITY_UNKNOWN: Final = "unknown"

# Metrics of this project. Units in braces are annotations: Prometheus' names end without them.
METRIC_COST: Final = "looopy.cost.usd"
METRIC_UNPRICED_CALLS: Final = "looopy.unpriced_calls"
METRIC_AGENT_ITERATIONS: Final = "looopy.agent.iterations"
METRIC_ACTIVE_RUNS: Final = "looopy.active_runs"
METRIC_SPANS_QUEUED: Final = "looopy.spans.queued"
METRIC_SPANS_EXPORTED: Final = "looopy.spans.exported"
METRIC_SPANS_SPOOLED: Final = "looopy.spans.spooled"
METRIC_SPANS_DROPPED: Final = "looopy.spans.dropped"
LABEL_DESTINATION: Final = "looopy.destination"
LABEL_REASON: Final = "looopy.reason"

# Headers.
LANGFUSE_INGESTION_HEADER: Final = "x-langfuse-ingestion-version"
LANGFUSE_INGESTION_VERSION: Final = "4"
LITELLM_CALL_ID_HEADER: Final = "x-litellm-call-id"
LITELLM_MODEL_NAME_HEADER: Final = "x-litellm-model-name"
LITELLM_MODEL_GROUP_HEADER: Final = "x-litellm-model-group"
LITELLM_COST_HEADER: Final = "x-litellm-response-cost"
LITELLM_RETRIES_HEADER: Final = "x-litellm-attempted-retries"
LITELLM_FALLBACKS_HEADER: Final = "x-litellm-attempted-fallbacks"
REQUEST_ID_HEADER: Final = "x-request-id"
RAW_RESPONSE_HEADER: Final = "x-stainless-raw-response"
TRACEPARENT_HEADER: Final = "traceparent"
ANTHROPIC_REQUEST_ID_HEADER: Final = "request-id"
LITELLM_SESSION_HEADER: Final = "x-litellm-session-id"

# Where spans of others carry content, by exact name and by prefix: OpenTelemetry's GenAI conventions (current and
# deprecated), OpenInference, OpenLLMetry, Langfuse, and the core conventions on exceptions, queries and URLs' parts.
CONTENT_KEYS: Final = frozenset(
    {
        INPUT,
        OUTPUT,
        "input.value",
        "output.value",
        GEN_AI_INPUT_MESSAGES,
        GEN_AI_OUTPUT_MESSAGES,
        GEN_AI_REQUEST_STOP_SEQUENCES,
        "gen_ai.system_instructions",
        GEN_AI_TOOL_DEFINITIONS,
        "gen_ai.tool.description",
        GEN_AI_TOOL_CALL_ARGUMENTS,
        GEN_AI_TOOL_CALL_RESULT,
        LANGFUSE_INPUT,
        LANGFUSE_OUTPUT,
        LANGFUSE_STATUS_MESSAGE,
        "langfuse.trace.input",
        "langfuse.trace.output",
        EXCEPTION_MESSAGE,
        "exception.stacktrace",
        "db.statement",
        "db.query.text",
        "url.query",
    }
)
CONTENT_PREFIXES: Final = (
    GEN_AI_PROMPT,
    GEN_AI_COMPLETION,
    "gen_ai.event.content",
    "gen_ai.retrieval.",
    "gen_ai.memory.",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts",
    "llm.completions",
    "llm.prompt_template.",
    "traceloop.entity.",
    "db.query.parameter.",
    "retrieval.documents.",
)

"""The public names, pinned: adding one is a decision, removing one is a break."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import pytest

import looopy_otel

PUBLIC: dict[str, tuple[str, ...]] = {
    "looopy_otel": (
        "ASGIMiddleware",
        "ConfigurationError",
        "FlushResult",
        "LangChainHandler",
        "LooopyError",
        "OpenAIAgentsProcessor",
        "PydanticAITracing",
        "Stats",
        "TailSampling",
        "Telemetry",
        "agent_span",
        "configure",
        "continue_trace",
        "current",
        "flush_after",
        "instrument_anthropic",
        "instrument_celery",
        "instrument_langchain",
        "instrument_litellm",
        "instrument_openai",
        "instrument_openai_agents",
        "instrument_pydantic_ai",
        "instrument_threads",
        "iteration_span",
        "llm_span",
        "propagated",
        "session",
        "span",
        "suppressed",
        "tool_span",
        "trace_agent",
        "trace_headers",
        "trace_iteration",
        "trace_llm",
        "trace_span",
        "trace_tool",
        "uninstrument",
        "wrap",
    ),
    "looopy_otel.agent": (
        "AgentEvent",
        "AgentLoop",
        "AgentResult",
        "AgentRun",
        "AgentStream",
        "Artifact",
        "ArtifactStore",
        "ArtifactUpdateEvent",
        "Budget",
        "BudgetExceededError",
        "CallNext",
        "Checkpoint",
        "ContentCompleteEvent",
        "ContentDeltaEvent",
        "FunctionTools",
        "InMemoryArtifactStore",
        "InMemoryStateStore",
        "InvalidArgumentsError",
        "Iteration",
        "IterationResult",
        "LLMCall",
        "LLMProvider",
        "LLMResponse",
        "LLMUsageEvent",
        "Message",
        "Middleware",
        "MiddlewareResultError",
        "Operation",
        "ProviderProtocolError",
        "Retry",
        "SQLiteStateStore",
        "StateStore",
        "StatusUpdateEvent",
        "Subscription",
        "TaskEvent",
        "TaskNotFoundError",
        "TaskStateError",
        "TaskStatus",
        "ThoughtStreamEvent",
        "ToolArtifacts",
        "ToolCall",
        "ToolCompleteEvent",
        "ToolContext",
        "ToolDefinition",
        "ToolProvider",
        "ToolResult",
        "ToolRun",
        "ToolSignatureError",
        "ToolStartEvent",
        "Usage",
    ),
    "looopy_otel.testing": ("CapturedSpans", "capture_spans"),
    "looopy_otel.providers": (
        "LiteLLM",
        "LiteLLMAPIError",
        "LiteLLMAuthenticationError",
        "LiteLLMConfigError",
        "LiteLLMConnectionError",
        "LiteLLMError",
        "LiteLLMOptions",
        "LiteLLMProvider",
        "LiteLLMRateLimitError",
        "LiteLLMStreamError",
        "LiteLLMTimeoutError",
        "ProviderCall",
        "RecordedRequest",
        "Reply",
        "ScriptedProvider",
        "ScriptedServer",
    ),
}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_pinned(module: str) -> None:
    assert tuple(import_module(module).__all__) == PUBLIC[module]


@pytest.mark.parametrize("module", [*PUBLIC, "looopy_otel.semconv"])
def test_every_public_name_exists(module: str) -> None:
    imported = import_module(module)
    names: tuple[str, ...] = imported.__all__
    assert isinstance(names, tuple)
    assert [name for name in names if not hasattr(imported, name)] == []


def test_no_module_hides_a_public_name() -> None:
    hidden = [name for name in looopy_otel.__all__ if find_spec(f"looopy_otel.{name}") is not None]
    assert hidden == []

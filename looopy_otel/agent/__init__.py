"""The agent loop: provider, tools, middleware, budgets, checkpoints and events. It knows nothing of telemetry."""

from __future__ import annotations

from looopy_otel.agent.artifacts import Artifact, ArtifactStore, InMemoryArtifactStore
from looopy_otel.agent.budget import Budget
from looopy_otel.agent.errors import (
    BudgetExceededError,
    InvalidArgumentsError,
    MiddlewareResultError,
    ProviderProtocolError,
    TaskNotFoundError,
    TaskStateError,
    ToolSignatureError,
)
from looopy_otel.agent.events import (
    AgentEvent,
    ArtifactUpdateEvent,
    ContentCompleteEvent,
    ContentDeltaEvent,
    LLMUsageEvent,
    StatusUpdateEvent,
    TaskEvent,
    TaskStatus,
    ThoughtStreamEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from looopy_otel.agent.loop import AgentLoop
from looopy_otel.agent.retry import Retry
from looopy_otel.agent.sqlite_state import SQLiteStateStore
from looopy_otel.agent.state import Checkpoint, InMemoryStateStore, StateStore
from looopy_otel.agent.stream import AgentStream
from looopy_otel.agent.subscription import Subscription
from looopy_otel.agent.tool_context import ToolArtifacts, ToolContext
from looopy_otel.agent.tools import FunctionTools, ToolProvider
from looopy_otel.core.operation import AgentRun, CallNext, Iteration, LLMCall, Middleware, Operation, ToolRun
from looopy_otel.core.types import (
    AgentResult,
    IterationResult,
    LLMProvider,
    LLMResponse,
    Message,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from looopy_otel.core.usage import Usage

__all__ = (
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
)

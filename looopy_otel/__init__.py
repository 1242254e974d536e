"""Observability-first tracing for LLM agents: import it as ``import looopy_otel as lo``.

Importing does nothing: no thread, no network, no OpenTelemetry. `configure()` starts everything.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from looopy_otel.core.config import library_version
    from looopy_otel.core.errors import ConfigurationError as ConfigurationError
    from looopy_otel.core.errors import LooopyError as LooopyError
    from looopy_otel.core.hooks import suppressed as suppressed
    from looopy_otel.core.identity import session as session
    from looopy_otel.core.settings import TailSampling as TailSampling
    from looopy_otel.core.types import FlushResult as FlushResult
    from looopy_otel.core.types import Stats as Stats
    from looopy_otel.instrument.anthropic import instrument_anthropic as instrument_anthropic
    from looopy_otel.instrument.asgi import ASGIMiddleware as ASGIMiddleware
    from looopy_otel.instrument.celery import instrument_celery as instrument_celery
    from looopy_otel.instrument.decorators import trace_agent as trace_agent
    from looopy_otel.instrument.decorators import trace_iteration as trace_iteration
    from looopy_otel.instrument.decorators import trace_llm as trace_llm
    from looopy_otel.instrument.decorators import trace_span as trace_span
    from looopy_otel.instrument.decorators import trace_tool as trace_tool
    from looopy_otel.instrument.flush_after import flush_after as flush_after
    from looopy_otel.instrument.langchain.handler import LangChainHandler as LangChainHandler
    from looopy_otel.instrument.langchain.handler import instrument_langchain as instrument_langchain
    from looopy_otel.instrument.litellm import instrument_litellm as instrument_litellm
    from looopy_otel.instrument.openai import instrument_openai as instrument_openai
    from looopy_otel.instrument.openai_agents.processor import OpenAIAgentsProcessor as OpenAIAgentsProcessor
    from looopy_otel.instrument.openai_agents.processor import instrument_openai_agents as instrument_openai_agents
    from looopy_otel.instrument.patching import uninstrument as uninstrument
    from looopy_otel.instrument.propagation import propagated as propagated
    from looopy_otel.instrument.pydantic_ai.tracing import PydanticAITracing as PydanticAITracing
    from looopy_otel.instrument.pydantic_ai.tracing import instrument_pydantic_ai as instrument_pydantic_ai
    from looopy_otel.instrument.remote import continue_trace as continue_trace
    from looopy_otel.instrument.remote import trace_headers as trace_headers
    from looopy_otel.instrument.spans import agent_span as agent_span
    from looopy_otel.instrument.spans import current as current
    from looopy_otel.instrument.spans import iteration_span as iteration_span
    from looopy_otel.instrument.spans import llm_span as llm_span
    from looopy_otel.instrument.spans import span as span
    from looopy_otel.instrument.spans import tool_span as tool_span
    from looopy_otel.instrument.threads import instrument_threads as instrument_threads
    from looopy_otel.instrument.wrapping import wrap as wrap
    from looopy_otel.telemetry import Telemetry as Telemetry
    from looopy_otel.telemetry import configure as configure

    __version__ = library_version()

_HOMES = {
    "ASGIMiddleware": "looopy_otel.instrument.asgi",
    "ConfigurationError": "looopy_otel.core.errors",
    "FlushResult": "looopy_otel.core.types",
    "LangChainHandler": "looopy_otel.instrument.langchain.handler",
    "LooopyError": "looopy_otel.core.errors",
    "OpenAIAgentsProcessor": "looopy_otel.instrument.openai_agents.processor",
    "PydanticAITracing": "looopy_otel.instrument.pydantic_ai.tracing",
    "Stats": "looopy_otel.core.types",
    "TailSampling": "looopy_otel.core.settings",
    "Telemetry": "looopy_otel.telemetry",
    "agent_span": "looopy_otel.instrument.spans",
    "configure": "looopy_otel.telemetry",
    "continue_trace": "looopy_otel.instrument.remote",
    "current": "looopy_otel.instrument.spans",
    "flush_after": "looopy_otel.instrument.flush_after",
    "instrument_anthropic": "looopy_otel.instrument.anthropic",
    "instrument_celery": "looopy_otel.instrument.celery",
    "instrument_langchain": "looopy_otel.instrument.langchain.handler",
    "instrument_litellm": "looopy_otel.instrument.litellm",
    "instrument_openai": "looopy_otel.instrument.openai",
    "instrument_openai_agents": "looopy_otel.instrument.openai_agents.processor",
    "instrument_pydantic_ai": "looopy_otel.instrument.pydantic_ai.tracing",
    "instrument_threads": "looopy_otel.instrument.threads",
    "iteration_span": "looopy_otel.instrument.spans",
    "llm_span": "looopy_otel.instrument.spans",
    "propagated": "looopy_otel.instrument.propagation",
    "session": "looopy_otel.core.identity",
    "span": "looopy_otel.instrument.spans",
    "suppressed": "looopy_otel.core.hooks",
    "tool_span": "looopy_otel.instrument.spans",
    "trace_agent": "looopy_otel.instrument.decorators",
    "trace_headers": "looopy_otel.instrument.remote",
    "trace_iteration": "looopy_otel.instrument.decorators",
    "trace_llm": "looopy_otel.instrument.decorators",
    "trace_span": "looopy_otel.instrument.decorators",
    "trace_tool": "looopy_otel.instrument.decorators",
    "uninstrument": "looopy_otel.instrument.patching",
    "wrap": "looopy_otel.instrument.wrapping",
}

__all__ = (
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
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("looopy_otel.core.config").library_version()
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]

"""LLM providers, without telemetry of their own: LiteLLM, and a scripted one for tests and examples."""

from __future__ import annotations

from looopy_otel.providers.call import ProviderCall
from looopy_otel.providers.errors import (
    LiteLLMAPIError,
    LiteLLMAuthenticationError,
    LiteLLMConfigError,
    LiteLLMConnectionError,
    LiteLLMError,
    LiteLLMRateLimitError,
    LiteLLMStreamError,
    LiteLLMTimeoutError,
)
from looopy_otel.providers.factories import LiteLLM
from looopy_otel.providers.litellm import LiteLLMProvider
from looopy_otel.providers.options import LiteLLMOptions
from looopy_otel.providers.reply import RecordedRequest, Reply
from looopy_otel.providers.scripted import ScriptedProvider
from looopy_otel.providers.scripted_server import ScriptedServer

__all__ = (
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
)

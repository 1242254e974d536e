"""Providers for popular models, ready-made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from looopy_otel.core.config import litellm_environment
from looopy_otel.core.operation import Middleware
from looopy_otel.providers.litellm import LiteLLMProvider
from looopy_otel.providers.transport import HTTPClient


class ProviderOptions(TypedDict, total=False):
    """Further options of a factory; see `LiteLLMProvider`."""

    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    timeout: float
    extra_params: Mapping[str, Any] | None
    max_retries: int
    debug_log_path: str | Path | None
    http_client: HTTPClient | None
    middleware: Sequence[Middleware]
    tracing: bool


class LiteLLM:
    """Makes a `LiteLLMProvider` for a model: ``LiteLLM.gpt4("http://localhost:4000", api_key)``.

    Every factory takes further options of the provider by name, and raises `LiteLLMConfigError` for a wrong one.
    """

    @staticmethod
    def gpt4(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """OpenAI's GPT-4."""
        return LiteLLMProvider(base_url=base_url, model="gpt-4", api_key=api_key, **options)

    @staticmethod
    def gpt4_turbo(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """OpenAI's GPT-4 Turbo."""
        return LiteLLMProvider(base_url=base_url, model="gpt-4-turbo-preview", api_key=api_key, **options)

    @staticmethod
    def gpt35_turbo(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """OpenAI's GPT-3.5 Turbo."""
        return LiteLLMProvider(base_url=base_url, model="gpt-3.5-turbo", api_key=api_key, **options)

    @staticmethod
    def claude3_opus(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """Anthropic's Claude 3 Opus."""
        return LiteLLMProvider(base_url=base_url, model="claude-3-opus-20240229", api_key=api_key, **options)

    @staticmethod
    def claude3_sonnet(
        base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]
    ) -> LiteLLMProvider:
        """Anthropic's Claude 3 Sonnet."""
        return LiteLLMProvider(base_url=base_url, model="claude-3-sonnet-20240229", api_key=api_key, **options)

    @staticmethod
    def claude3_haiku(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """Anthropic's Claude 3 Haiku."""
        return LiteLLMProvider(base_url=base_url, model="claude-3-haiku-20240307", api_key=api_key, **options)

    @staticmethod
    def nova_micro(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """Amazon's Nova Micro on Bedrock; up to 8192 tokens."""
        options = {"max_tokens": 8192, **options}
        return LiteLLMProvider(base_url=base_url, model="amazon.nova-micro-v1:0", api_key=api_key, **options)

    @staticmethod
    def nova_lite(base_url: str, api_key: str | None = None, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """Amazon's Nova Lite on Bedrock; up to 8192 tokens."""
        options = {"max_tokens": 8192, **options}
        return LiteLLMProvider(base_url=base_url, model="amazon.nova-lite-v1:0", api_key=api_key, **options)

    @staticmethod
    def ollama(
        base_url: str, model: str, api_key: str | None = None, **options: Unpack[ProviderOptions]
    ) -> LiteLLMProvider:
        """A local model, such as ``llama2``, through Ollama; up to 2048 tokens."""
        options = {"max_tokens": 2048, **options}
        return LiteLLMProvider(base_url=base_url, model=f"ollama/{model}", api_key=api_key, **options)

    @staticmethod
    def from_env(model: str, **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        """Any model, with the proxy of ``LITELLM_URL`` (default http://localhost:4000) and ``LITELLM_API_KEY``."""
        base_url, api_key = litellm_environment()
        return LiteLLMProvider(base_url=base_url, model=model, api_key=api_key, **options)

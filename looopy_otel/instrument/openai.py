"""Clients of OpenAI's SDK: OpenAI, AzureOpenAI, their async forms, and subclasses of them."""

from __future__ import annotations

from importlib import import_module
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from looopy_otel.core.shapes.openai_chat import OPENAI_CHAT, OPENAI_COMPLETIONS
from looopy_otel.core.shapes.openai_embeddings import OPENAI_EMBEDDINGS, embedding_output
from looopy_otel.core.shapes.openai_responses import OPENAI_RESPONSES
from looopy_otel.core.vendors import UNKNOWN, ModelVendor, vendor_of
from looopy_otel.instrument.call import MiddlewareLike, WrapOptions, layers_of
from looopy_otel.instrument.stainless.client import instrument_sdk, wrap_client
from looopy_otel.instrument.stainless.made import chat_events, response_events
from looopy_otel.instrument.stainless.request import Route, Sdk

ClientT = TypeVar("ClientT")

_OPENAI: Final = ModelVendor("openai", "openai")
_AZURE: Final = ModelVendor("azure", "azure.ai.openai")

# OpenAI-compatible endpoints of others, by the end of their host or by port.
_HOSTS: Final = {
    "api.openai.com": _OPENAI,
    ".openai.azure.com": _AZURE,
    ".cognitiveservices.azure.com": _AZURE,
    ".services.ai.azure.com": ModelVendor("azure_ai", "azure.ai.inference"),
    ".amazonaws.com": ModelVendor("bedrock", "aws.bedrock"),
    "generativelanguage.googleapis.com": ModelVendor("google", "gcp.gemini"),
    "aiplatform.googleapis.com": ModelVendor("vertex_ai", "gcp.vertex_ai"),
    "api.groq.com": ModelVendor("groq", "groq"),
    "api.deepseek.com": ModelVendor("deepseek", "deepseek"),
    "api.x.ai": ModelVendor("xai", "x_ai"),
    "api.mistral.ai": ModelVendor("mistral", "mistral_ai"),
    "api.perplexity.ai": ModelVendor("perplexity", "perplexity"),
    "api.cohere.ai": ModelVendor("cohere", "cohere"),
    "api.cohere.com": ModelVendor("cohere", "cohere"),
    "api.anthropic.com": ModelVendor("anthropic", "anthropic"),
    "openrouter.ai": ModelVendor("openrouter", "openrouter"),
}
_OLLAMA_PORT: Final = 11434
_OLLAMA: Final = ModelVendor("ollama", "ollama")


def _vendor(client: Any, model: str) -> ModelVendor:
    if any(base.__name__ == "BaseAzureClient" for base in type(client).__mro__):
        return _AZURE
    host = client.base_url.host
    known = next((vendor for end, vendor in _HOSTS.items() if host.endswith(end)), None)
    if known is not None:
        return known
    if client.base_url.port == _OLLAMA_PORT:
        return _OLLAMA
    if ":" in model and "/" not in model and not model.startswith("ft:") and _is_local(host):
        # Ollama's tags: deepseek-r1:8b is the model of a vendor, and served by nobody but this machine.
        return _OLLAMA
    vendor = vendor_of(model)
    return _OPENAI if vendor is UNKNOWN else vendor


def _is_local(host: str) -> bool:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    return address.is_loopback or address.is_private


OPENAI_SDK: Final = Sdk(
    "openai",
    (
        Route("/chat/completions", OPENAI_CHAT, chat_events),
        Route("/completions", OPENAI_COMPLETIONS),
        Route("/responses", OPENAI_RESPONSES, response_events),
        Route("/embeddings", OPENAI_EMBEDDINGS, output=embedding_output),
    ),
    _vendor,
)


def wrap_openai(client: ClientT, options: WrapOptions) -> ClientT:
    """A copy of a client that records chat completions, responses and embeddings, in all their forms.

    Args:
        client: An ``OpenAI`` or ``AsyncOpenAI``, or one of a subclass such as ``AzureOpenAI``; it stays as it is.
        options: What the user says.
    """
    return wrap_client(OPENAI_SDK, client, options)


def instrument_openai(
    *,
    provider_name: str | None = None,
    middleware: MiddlewareLike = (),
    ask_for_usage: bool = True,
    propagate: bool = True,
) -> None:
    """Records the calls of all clients of OpenAI's SDK, made before or after, until ``uninstrument("openai")``.

    Args:
        provider_name: ``gen_ai.provider.name``; by default what the client and the model tell.
        middleware: Runs around every call: one, or several with the outermost first.
        ask_for_usage: True asks for the usage of a stream where the caller did not, and hides the extra chunk.
        propagate: True sends ``traceparent`` with the request.

    Raises:
        ImportError: If ``openai`` is not installed.
    """
    options = WrapOptions(
        provider_name=provider_name, middleware=layers_of(middleware), ask_for_usage=ask_for_usage, propagate=propagate
    )
    instrument_sdk(OPENAI_SDK, import_module("openai._base_client"), options)

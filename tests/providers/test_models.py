"""Who is behind a model identifier."""

from __future__ import annotations

import pytest

from looopy_otel.core import semconv
from looopy_otel.core.vendors import is_free, vendor_of
from looopy_otel.providers import Reply
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import RememberingObserver

SUPPORTED = [
    ("gpt-4", "openai", "openai"),
    ("gpt-4-turbo-preview", "openai", "openai"),
    ("gpt-4-32k", "openai", "openai"),
    ("gpt-3.5-turbo", "openai", "openai"),
    ("gpt-3.5-turbo-16k", "openai", "openai"),
    ("claude-3-opus-20240229", "anthropic", "anthropic"),
    ("claude-3-sonnet-20240229", "anthropic", "anthropic"),
    ("claude-3-haiku-20240307", "anthropic", "anthropic"),
    ("claude-2.1", "anthropic", "anthropic"),
    ("claude-instant-1.2", "anthropic", "anthropic"),
    ("gemini-pro", "google", "gcp.gemini"),
    ("gemini-pro-vision", "google", "gcp.gemini"),
    ("palm/chat-bison", "google", "gcp.gemini"),
    ("command-r-plus", "cohere", "cohere"),
    ("command-r", "cohere", "cohere"),
    ("command", "cohere", "cohere"),
    ("command-light", "cohere", "cohere"),
    ("ollama/llama2", "ollama", "ollama"),
    ("ollama/mistral", "ollama", "ollama"),
    ("ollama/codellama", "ollama", "ollama"),
    ("ollama/neural-chat", "ollama", "ollama"),
    ("azure/gpt-4", "azure", "azure.ai.openai"),
    ("azure/gpt-35-turbo", "azure", "azure.ai.openai"),
    ("bedrock/claude-3-opus", "bedrock", "aws.bedrock"),
    ("bedrock/titan-text-express", "bedrock", "aws.bedrock"),
]

OTHERS = [
    ("o1", "openai", "openai"),
    ("o3-mini", "openai", "openai"),
    ("ft:gpt-3.5-turbo:org", "openai", "openai"),
    ("openai/gpt-4o", "openai", "openai"),
    ("GPT-4", "openai", "openai"),
    ("anthropic/claude-3-opus", "anthropic", "anthropic"),
    ("gemini/gemini-1.5-pro", "google", "gcp.gemini"),
    ("vertex_ai/gemini-pro", "vertex_ai", "gcp.vertex_ai"),
    ("mistral-large-latest", "mistral", "mistral_ai"),
    ("mistral/mistral-small", "mistral", "mistral_ai"),
    ("amazon.nova-micro-v1:0", "bedrock", "aws.bedrock"),
    ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "bedrock", "aws.bedrock"),
    ("groq/llama3-8b", "groq", "groq"),
    ("xai/grok-2", "xai", "x_ai"),
    ("deepseek-chat", "deepseek", "deepseek"),
    ("watsonx/ibm/granite", "watsonx", "ibm.watsonx.ai"),
    ("openrouter/anthropic/claude-3-opus", "openrouter", "openrouter"),
    ("my-fast-model", "litellm", "litellm"),
    ("unknown/gpt-4", "litellm", "litellm"),
    ("oscar", "litellm", "litellm"),
    ("commander", "litellm", "litellm"),
]


def test_all_supported_models_are_in_the_table() -> None:
    assert len({model for model, _, _ in SUPPORTED}) == 25


@pytest.mark.parametrize(("model", "system", "provider_name"), [*SUPPORTED, *OTHERS])
def test_vendor_of_a_model(model: str, system: str, provider_name: str) -> None:
    vendor = vendor_of(model)
    assert (vendor.system, vendor.provider_name) == (system, provider_name)


@pytest.mark.parametrize("model", [model for model, _, _ in SUPPORTED])
def test_only_ollama_is_known_to_be_free(model: str) -> None:
    assert is_free(model) == model.startswith("ollama/")


@pytest.mark.parametrize(
    ("model", "served_by", "announced", "answered"),
    [
        ("fast", "azure/gpt-4o-mini", "litellm", ("azure", "azure.ai.openai")),
        ("fast", "gpt-4o-mini", "litellm", ("openai", "openai")),
        ("fast", "something", "litellm", ("litellm", "litellm")),
        ("fast", None, "litellm", ("litellm", "litellm")),
        ("gpt-4", "azure/gpt-4", "openai", ("openai", "openai")),
    ],
)
async def test_what_stands_behind_an_alias(
    serve: Serve,
    connect: Connect,
    observer: RememberingObserver,
    model: str,
    served_by: str | None,
    announced: str,
    answered: tuple[str, str],
) -> None:
    headers = {semconv.LITELLM_MODEL_NAME_HEADER: served_by} if served_by else {}
    response = await connect(serve(Reply(text="hi", headers=headers)), model).call(messages=[])
    assert observer.only.call.system == announced
    assert (response.system, response.provider_name) == answered

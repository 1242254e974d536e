"""Who is behind a model identifier: ``gen_ai.system`` and ``gen_ai.provider.name``."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelVendor:
    """Who serves a model.

    Attributes:
        system: ``gen_ai.system``: the vendor's or the prefix's plain name.
        provider_name: ``gen_ai.provider.name``: the GenAI conventions' value where there is one, else as `system`.
    """

    system: str
    provider_name: str


UNKNOWN = ModelVendor("litellm", "litellm")
"""An alias of the proxy that tells nothing of what is behind it."""

_OPENAI = ModelVendor("openai", "openai")
_ANTHROPIC = ModelVendor("anthropic", "anthropic")
_GEMINI = ModelVendor("google", "gcp.gemini")
_COHERE = ModelVendor("cohere", "cohere")
_MISTRAL = ModelVendor("mistral", "mistral_ai")
_BEDROCK = ModelVendor("bedrock", "aws.bedrock")
_OLLAMA = ModelVendor("ollama", "ollama")
_DEEPSEEK = ModelVendor("deepseek", "deepseek")
_XAI = ModelVendor("xai", "x_ai")

# https://docs.litellm.ai/docs/providers and the values of gen_ai.provider.name in the GenAI conventions. LiteLLM's
# prefixes for search, stores and the keeping of prompts are left out: the model behind these is somebody else's.
_PREFIXES: dict[str, ModelVendor] = {
    "openai": _OPENAI,
    "text-completion-openai": _OPENAI,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
    "palm": _GEMINI,
    "vertex_ai": ModelVendor("vertex_ai", "gcp.vertex_ai"),
    "vertex_ai_beta": ModelVendor("vertex_ai", "gcp.vertex_ai"),
    "cohere": _COHERE,
    "cohere_chat": _COHERE,
    "mistral": _MISTRAL,
    "codestral": _MISTRAL,
    "text-completion-codestral": _MISTRAL,
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
    "azure": ModelVendor("azure", "azure.ai.openai"),
    "azure_text": ModelVendor("azure", "azure.ai.openai"),
    "azure_ai": ModelVendor("azure_ai", "azure.ai.inference"),
    "bedrock": _BEDROCK,
    "bedrock_converse": _BEDROCK,
    "groq": ModelVendor("groq", "groq"),
    "deepseek": _DEEPSEEK,
    "xai": _XAI,
    "perplexity": ModelVendor("perplexity", "perplexity"),
    "watsonx": ModelVendor("watsonx", "ibm.watsonx.ai"),
    "watsonx_text": ModelVendor("watsonx", "ibm.watsonx.ai"),
    "moonshot": ModelVendor("moonshot", "moonshot_ai"),
    **{
        name: ModelVendor(name, name)
        for name in (
            "a2a", "a2a_agent", "ai21", "ai21_chat", "aiml", "aleph_alpha", "anyscale", "apertis", "assemblyai",
            "aws_polly", "baseten", "black_forest_labs", "bytez", "cerebras", "charity_engine", "chatgpt", "chutes",
            "clarifai", "cloudflare", "cometapi", "compactifai", "custom_openai", "dashscope", "databricks",
            "datarobot", "deepgram", "deepinfra", "docker_model_runner", "empower", "fal_ai", "featherless_ai",
            "fireworks_ai", "friendliai", "galadriel", "gigachat", "github", "github_copilot", "gmi", "gradient_ai",
            "helicone", "heroku", "hosted_vllm", "huggingface", "hyperbolic", "infinity", "jina_ai", "lambda_ai",
            "langgraph", "lemonade", "litellm_proxy", "llamafile", "llamagate", "lm_studio", "manus", "maritalk",
            "meta_llama", "morph", "nano-gpt", "nebius", "nlp_cloud", "novita", "nscale", "nvidia_nim", "oci",
            "openai_like", "openrouter", "poe", "predibase", "publicai", "ragflow", "recraft", "replicate", "runwayml",
            "sagemaker", "sagemaker_chat", "sagemaker_nova", "sambanova", "sap", "sarvam", "snowflake", "stability",
            "synthetic", "together_ai", "topaz", "triton", "v0", "vercel_ai_gateway", "vllm", "volcengine", "voyage",
            "wandb", "xiaomi_mimo", "xinference", "zai",
        )
    },
}  # fmt: skip

# Identifiers without a prefix, by how they begin; Bedrock's carry a region and a vendor: `us.anthropic.claude-…`.
_NAMES: tuple[tuple[re.Pattern[str], ModelVendor], ...] = (
    (
        re.compile(r"((us|eu|apac|au|jp|ca|global|us-gov)\.)?(amazon|anthropic|meta|cohere|mistral|ai21|deepseek)\."),
        _BEDROCK,
    ),
    (re.compile(r"(ft:)?(gpt-|chatgpt-|davinci|babbage|text-davinci|text-embedding-|o[1-9](-|$))"), _OPENAI),
    (re.compile(r"claude-"), _ANTHROPIC),
    (re.compile(r"(gemini|gemma|learnlm)-"), _GEMINI),
    (re.compile(r"command(-|$)"), _COHERE),
    (re.compile(r"(open-)?(mistral|mixtral)|(codestral|ministral|pixtral|magistral|devstral)-"), _MISTRAL),
    (re.compile(r"deepseek-"), _DEEPSEEK),
    (re.compile(r"grok-"), _XAI),
)


def vendor_of(model: str) -> ModelVendor:
    """Says who serves a model.

    Args:
        model: A model identifier as LiteLLM takes it, such as ``gpt-4``, ``ollama/llama2`` or an alias.

    Returns:
        The vendor, or `UNKNOWN` for an alias.
    """
    identifier = model.strip().lower()
    prefix, separator, _ = identifier.partition("/")
    if separator:
        return _PREFIXES.get(prefix, UNKNOWN)
    return next((vendor for pattern, vendor in _NAMES if pattern.match(identifier)), UNKNOWN)


def vendor_named(provider_name: str) -> ModelVendor:
    """Says who a provider is by its ``gen_ai.provider.name``, such as ``aws.bedrock``; any other name is its own."""
    known = next((vendor for vendor in _PREFIXES.values() if vendor.provider_name == provider_name), None)
    return known or ModelVendor(provider_name, provider_name)


def vendor_behind(model: str, served_by: str | None) -> ModelVendor:
    """Says who serves a model, by the name that the proxy gives for it where the model itself is an alias.

    Args:
        model: The model asked for.
        served_by: The proxy's name of the model behind it (``openai/gpt-4o-mini``), or None.
    """
    vendor = vendor_of(model)
    return vendor_of(served_by) if vendor is UNKNOWN and served_by else vendor


def is_free(model: str | None) -> bool:
    """True for a model that is known to cost nothing: it runs on one's own machine."""
    return model is not None and vendor_of(model) is _OLLAMA


def without_prefix(model: str) -> str:
    """The model's name without the provider prefix of LiteLLM: ``openai/gpt-4o-mini`` becomes ``gpt-4o-mini``."""
    return model.partition("/")[2] or model

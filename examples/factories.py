"""Factory methods: providers with the settings of popular models."""

import asyncio
import os

from looopy_otel.providers import LiteLLM

url = os.environ.get("LITELLM_URL", "http://localhost:4000")
api_key = os.environ.get("LITELLM_API_KEY")

providers = [
    # OpenAI
    LiteLLM.gpt4(url, api_key),
    LiteLLM.gpt4_turbo(url, api_key),
    LiteLLM.gpt35_turbo(url, api_key),
    # Anthropic Claude
    LiteLLM.claude3_opus(url, api_key),
    LiteLLM.claude3_sonnet(url, api_key),
    LiteLLM.claude3_haiku(url, api_key),
    # Amazon Nova
    LiteLLM.nova_micro(url, api_key),
    LiteLLM.nova_lite(url, api_key),
    # Local models (Ollama)
    LiteLLM.ollama(url, "llama2"),
    LiteLLM.ollama(url, "mistral"),
    LiteLLM.ollama(url, "codellama"),
]


async def main() -> None:
    for provider in providers:
        print(provider.model)
    response = await LiteLLM.gpt35_turbo(url, api_key).call(messages=[{"role": "user", "content": "Hello!"}])
    print("Answer:", response.message.content)


asyncio.run(main())

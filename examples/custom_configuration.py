"""Custom configuration: every option of `LiteLLMProvider`."""

import asyncio
import os

from looopy_otel.providers import LiteLLMProvider

provider = LiteLLMProvider(
    base_url=os.environ.get("LITELLM_URL", "http://localhost:4000"),
    model="gpt-4",
    api_key=os.environ.get("LITELLM_API_KEY"),
    temperature=0.7,
    max_tokens=2000,
    top_p=0.9,
    timeout=30.0,  # seconds
    extra_params={
        # Any additional LiteLLM parameters
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
    },
)


async def main() -> None:
    print(provider)  # the key is never in a repr
    response = await provider.call(messages=[{"role": "user", "content": "Hello!"}])
    print("Answer:", response.message.content)


asyncio.run(main())

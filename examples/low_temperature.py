"""Lower temperature for deterministic output."""

import asyncio
import os

from looopy_otel.providers import LiteLLMProvider

provider = LiteLLMProvider(
    base_url=os.environ.get("LITELLM_URL", "http://localhost:4000"),
    model="gpt-4",
    api_key=os.environ.get("LITELLM_API_KEY"),
    temperature=0.1,  # More deterministic
)


async def main() -> None:
    response = await provider.call(messages=[{"role": "user", "content": "Hello!"}])
    print("Answer:", response.message.content)


asyncio.run(main())

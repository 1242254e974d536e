"""Custom timeout: room for long answers."""

import asyncio
import os

from looopy_otel.providers import LiteLLMProvider

provider = LiteLLMProvider(
    base_url=os.environ.get("LITELLM_URL", "http://localhost:4000"),
    model="gpt-4",
    api_key=os.environ.get("LITELLM_API_KEY"),
    timeout=120.0,  # 2 minutes for long responses
)


async def main() -> None:
    # Streamed, the limit holds up to the first chunk and then between chunks, so a long answer is no timeout.
    async for event in provider.call(messages=[{"role": "user", "content": "Hello!"}]):
        if event.kind == "content-delta":
            print(event.text, end="", flush=True)
    print()


asyncio.run(main())

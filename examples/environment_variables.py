"""Environment variables: LITELLM_URL and LITELLM_API_KEY.

export LITELLM_URL=http://localhost:4000
export LITELLM_API_KEY=sk-...
"""

import asyncio
import os

from looopy_otel.providers import LiteLLM

explicit = LiteLLM.gpt4(os.environ["LITELLM_URL"], os.environ.get("LITELLM_API_KEY"))
shorter = LiteLLM.from_env("gpt-4")  # reads both; http://localhost:4000 where LITELLM_URL is not set


async def main() -> None:
    for provider in (explicit, shorter):
        response = await provider.call(messages=[{"role": "user", "content": "Hello!"}])
        print("Answer:", response.message.content)


asyncio.run(main())

"""Dynamic model selection: switch the model of a provider at run time."""

import asyncio
import os

from looopy_otel.providers import LiteLLMProvider

provider = LiteLLMProvider(
    base_url=os.environ.get("LITELLM_URL", "http://localhost:4000"),
    model="gpt-3.5-turbo",
    api_key=os.environ.get("LITELLM_API_KEY"),
)


async def main() -> None:
    question = [{"role": "user", "content": "Hello!"}]
    response = await provider.call(messages=question)
    print(f"{response.model}: {response.message.content}")

    # Switch models at runtime; calls that are under way keep theirs
    provider.update_config(model="gpt-4")
    response = await provider.call(messages=question)
    print(f"{response.model}: {response.message.content}")


asyncio.run(main())

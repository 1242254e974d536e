"""Ollama on this machine: the async client of OpenAI's SDK on Ollama's OpenAI-compatible endpoint, streamed."""

import asyncio
import os

import openai

import looopy_otel as lo

base_url = os.environ.get("OLLAMA_BASE_URL", "http://localhost:11434") + "/v1"


async def main() -> None:
    client = lo.wrap(openai.AsyncOpenAI(base_url=base_url, api_key="ollama"), provider_name="ollama")
    chunks = await client.chat.completions.create(
        model=os.environ.get("OLLAMA_MODEL", "llama3.2"),
        messages=[{"role": "user", "content": "Say hello in one sentence."}],
        stream=True,
    )
    async for chunk in chunks:
        print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")
    print()


with lo.configure(service_name="ollama"):
    asyncio.run(main())

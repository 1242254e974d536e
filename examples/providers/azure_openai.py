"""Azure OpenAI: the client of OpenAI's SDK for Azure, streamed."""

import os

import openai

import looopy_otel as lo

with lo.configure(service_name="azure"):
    client = lo.wrap(
        openai.AzureOpenAI(
            azure_endpoint=os.environ["AZURE_OPENAI_ENDPOINT"],
            api_key=os.environ["AZURE_OPENAI_API_KEY"],
            api_version=os.environ.get("OPENAI_API_VERSION", "2024-10-21"),
        )
    )
    chunks = client.chat.completions.create(
        model=os.environ.get("AZURE_OPENAI_DEPLOYMENT", "gpt-4o-mini"),
        messages=[{"role": "user", "content": "Say hello in one sentence."}],
        stream=True,
    )
    for chunk in chunks:
        print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")
    print()

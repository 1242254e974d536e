"""Google Gemini: OpenAI's client on Gemini's OpenAI-compatible endpoint."""

import os

import openai

import looopy_otel as lo

base_url = os.environ.get("GEMINI_BASE_URL", "https://generativelanguage.googleapis.com/v1beta/openai/")

with lo.configure(service_name="google"):
    client = lo.wrap(openai.OpenAI(base_url=base_url, api_key=os.environ["GEMINI_API_KEY"]))
    answer = client.chat.completions.create(
        model=os.environ.get("GEMINI_MODEL", "gemini-2.5-flash"),
        messages=[{"role": "user", "content": "Say hello in one sentence."}],
    )
    print(answer.choices[0].message.content)

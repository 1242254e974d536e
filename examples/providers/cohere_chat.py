"""Cohere: a function of LiteLLM's SDK, wrapped. LiteLLM reads the key from COHERE_API_KEY."""

# pyright: basic
import os
from typing import Any

import litellm

import looopy_otel as lo

with lo.configure(service_name="cohere"):
    completion: Any = lo.wrap(litellm.completion)
    answer = completion(
        model=os.environ.get("COHERE_MODEL", "cohere_chat/command-r7b-12-2024"),
        messages=[{"role": "user", "content": "Say hello in one sentence."}],
        api_base=os.environ.get("COHERE_API_BASE"),
    )
    print(answer.choices[0].message.content)

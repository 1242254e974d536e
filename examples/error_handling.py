"""Error handling: what can go wrong with a proxy, and what to do about it."""

import os

from looopy_otel.agent import AgentLoop
from looopy_otel.providers import LiteLLM, LiteLLMError, LiteLLMProvider

url = os.environ.get("LITELLM_URL", "http://localhost:4000")
api_key = os.environ.get("LITELLM_API_KEY")


def on_error(error: BaseException) -> None:
    if "timeout" in str(error):
        print("Request timed out:", error)
    elif "API error" in str(error):
        print(error)  # such as "LiteLLM API error: 401 Unauthorized: …"
    else:
        print("Unknown error:", error)
    if isinstance(error, LiteLLMError) and error.hint:
        print("Hint:", error.hint)
    print()


def ask(title: str, provider: LiteLLMProvider) -> None:
    print(f"--- {title}")
    events = AgentLoop(agent_id="my-agent", llm_provider=provider).execute("Tell me a long story.")
    events.subscribe(on_error=on_error).wait()


# Connection refused: nothing listens there. Start the proxy:
#   pip install 'litellm[proxy]'
#   export LITELLM_MASTER_KEY=sk-$(openssl rand -hex 16)
#   litellm --model gpt-3.5-turbo --port 4000
ask("Connection refused", LiteLLM.gpt4("http://127.0.0.1:9", api_key))

# Timeout: the model needs longer than the limit. Raise it (seconds; 60 by default):
#   LiteLLMProvider(..., timeout=120.0)
ask("Timeout", LiteLLMProvider(base_url=url, model="gpt-4", api_key=api_key, timeout=0.05))

# Authentication: the key is not the proxy's. Set it:
#   export LITELLM_API_KEY=sk-...
ask("Wrong key", LiteLLM.gpt4(url, "sk-wrong"))

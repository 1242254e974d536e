"""Runs an example without a proxy and without a key: a scripted server in this process plays LiteLLM.

python examples/offline.py                  lists the examples
python examples/offline.py quick_start      runs one
"""

import os
import runpy
import sys
from pathlib import Path
from typing import Any

from looopy_otel.providers import RecordedRequest, Reply, ScriptedServer

HERE = Path(__file__).parent

CALLS: dict[str, dict[str, str]] = {
    "calculate": {"expression": "15 * 23 + 47"},
    "get_weather": {"location": "NYC"},
}
ANSWERS = {
    "15 * 23 + 47": "The result of 15 × 23 + 47 is 392.",  # noqa: RUF001
    "42 * 58": "42 * 58 is 2436.",
    "weather in NYC": "It is sunny in NYC, 21 °C.",
}
GREETING = "Hello! How can I help you?"
VERSIONS = {"gpt-4": "gpt-4-0613", "gpt-3.5-turbo": "gpt-3.5-turbo-0125"}


def answer(request: RecordedRequest) -> Reply:
    """What the scripted model says: it calls the first tool that it is offered, then tells the result."""
    if request.headers.get("authorization") == "Bearer sk-wrong":
        return Reply(status=401, text="Authentication Error, Invalid proxy server token passed")
    messages: list[dict[str, Any]] = request.setting("messages")
    asked = [str(message["content"]) for message in messages if message["role"] == "user"][-1]
    offered = [tool["function"]["name"] for tool in request.setting("tools") or ()]
    said: dict[str, Any] = {"text": next((text for topic, text in ANSWERS.items() if topic in asked), GREETING)}
    if offered and messages[-1]["role"] == "user":
        said = {"tool_calls": [(offered[0], CALLS[offered[0]])]}
    return Reply(
        **said,
        model=VERSIONS.get(request.setting("model")),
        usage={"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
        cost=0.0068,
        delay=1.0 if "long story" in asked else 0.0,
    )


def main() -> None:
    names = sorted(path.stem for path in HERE.glob("*.py") if path != Path(__file__))
    if len(sys.argv) != 2 or Path(sys.argv[1]).stem not in names:
        sys.exit(f"Usage: python examples/offline.py EXAMPLE\n\nExamples: {', '.join(names)}")
    with ScriptedServer(answer) as server:
        os.environ["LITELLM_URL"] = server.url
        os.environ.pop("LITELLM_API_KEY", None)
        runpy.run_path(str(HERE / f"{Path(sys.argv[1]).stem}.py"), run_name="__main__")


if __name__ == "__main__":
    main()

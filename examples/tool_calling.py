"""Tool calling: the provider offers tools to the model and reads the calls that come back."""

import asyncio
import json

from looopy_otel.providers import LiteLLM

tools = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get weather for a location",
            "parameters": {
                "type": "object",
                "properties": {"location": {"type": "string"}},
                "required": ["location"],
            },
        },
    },
]

provider = LiteLLM.from_env("gpt-4")


def get_weather(location: str) -> str:
    return f"Sunny, 21 °C in {location}"


async def main() -> None:
    messages = [{"role": "user", "content": "What is the weather in NYC?"}]

    # The provider will include tools in the request
    response = await provider.call(messages=messages, tools=tools)

    results: list[dict[str, str]] = []
    for call in response.tool_calls:
        print(f"Tool call: {call.name} {call.arguments}")
        result = get_weather(**json.loads(call.arguments))
        results.append({"role": "tool", "tool_call_id": call.id, "content": result})

    response = await provider.call(messages=[*messages, response.message, *results], tools=tools)
    print("Answer:", response.message.content)


asyncio.run(main())

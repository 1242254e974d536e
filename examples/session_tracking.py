"""Session tracking: what belongs together is found together, in LiteLLM's logs and in the traces."""

import asyncio

import looopy_otel as lo
from looopy_otel.agent import AgentLoop
from looopy_otel.providers import LiteLLM

lo.configure(service_name="session-tracking")

provider = LiteLLM.from_env("gpt-4")
agent = AgentLoop(agent_id="my-agent", llm_provider=provider)


async def main() -> None:
    # One call: the session id is passed to LiteLLM and stands on the span.
    response = await provider.call(
        messages=[{"role": "user", "content": "Hello!"}],
        session_id="task-123",
    )
    print("One call:", response.message.content)

    # An agent run passes its task id as the session id, with no line of yours.
    result = await agent.arun("Calculate 42 * 58")
    print("One run:", result.output)

    # Several runs of one conversation: they share the session, and each keeps its own task id.
    with lo.session(session_id="chat-42", user_id="user-7", tags=["beta"]):
        await agent.arun("Hello!")
        await agent.arun("Hello again!")
    print("Two runs in the session chat-42: looopy-otel traces --session chat-42")


asyncio.run(main())

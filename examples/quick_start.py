"""Quick start: an agent that answers once, with every step traced."""

import os

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.providers import LiteLLM

lo.configure(service_name="quick-start")  # from here on every run and every LLM call is traced

# Create LLM provider
llm_provider = LiteLLM.gpt35_turbo(
    os.environ.get("LITELLM_URL", "http://localhost:4000"), os.environ.get("LITELLM_API_KEY")
)

# Create agent
agent = AgentLoop(
    agent_id="my-agent",
    llm_provider=llm_provider,
    tool_providers=[],
    task_state_store=InMemoryStateStore(),
    artifact_store=InMemoryArtifactStore(),
)

# Execute
events = agent.execute("Hello!")
events.subscribe(
    on_next=lambda event: print("Event:", event.kind),
    on_completed=lambda: print("Done!"),
).wait()

print("See the trace: looopy-otel show last")

"""The start of a span: scalars that a sampler may ask for, and no content."""

from __future__ import annotations

from typing import Any

import pytest

from looopy_otel.core.operation import AgentRun, Attempt, Iteration, LLMCall, Operation, Step, ToolRun
from looopy_otel.core.semconv import CONTENT_KEYS, CONTENT_PREFIXES
from looopy_otel.mapping.render import is_own
from looopy_otel.mapping.start import start_attributes
from tests.mapping.drafts import COMMON, DEPLOYMENT, IDENTITY, ROOT_FLAGS

OPERATIONS: dict[str, Operation] = {
    "agent": AgentRun(
        identity=IDENTITY, agent_id="my-agent", task_id="task_1_a", messages=[], prompt="secret", parent_task_id="t0"
    ),
    "iteration": Iteration(identity=IDENTITY, agent_id="my-agent", number=3, messages=[]),
    "llm": LLMCall(
        identity=IDENTITY,
        messages=[{"role": "user", "content": "secret"}],
        model="gpt-4",
        system="openai",
        provider_name="openai",
        response_format={"type": "json_object"},
        parameters={"temperature": 0.7, "max_tokens": 10, "user": "secret"},
        stream=True,
        server_address="localhost",
        server_port=4000,
    ),
    "embedding": LLMCall(
        identity=IDENTITY,
        operation="embeddings",
        messages=(),
        input=["secret"],
        model="text-embedding-3-small",
        parameters={"dimensions": 256},
    ),
    "tool": ToolRun(identity=IDENTITY, name="search", call_id="c1", arguments={"q": "secret"}),
    "attempt": Attempt(identity=IDENTITY, number=2, delay=0.5),
    "step": Step(identity=IDENTITY, name="look up", input="secret"),
}
OWN: dict[str, dict[str, Any]] = {
    "agent": {
        "langfuse.observation.type": "agent",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "my-agent",
        "agent.parent_task.id": "t0",
    },
    "iteration": {"langfuse.observation.type": "chain", "gen_ai.agent.name": "my-agent", "agent.iteration": 3},
    "llm": {
        "langfuse.observation.type": "generation",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.7,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.output.type": "json",
        "server.address": "localhost",
        "server.port": 4000,
    },
    "embedding": {
        "langfuse.observation.type": "embedding",
        "gen_ai.operation.name": "embeddings",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.embeddings.dimension.count": 256,
    },
    "tool": {
        "langfuse.observation.type": "tool",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.agent.name": "my-agent",
        "gen_ai.tool.name": "search",
        "agent.tool.name": "search",
        "gen_ai.tool.call.id": "c1",
        "agent.tool.call_id": "c1",
        "gen_ai.tool.type": "function",
    },
    "attempt": {"langfuse.observation.type": "span", "llm.attempt.number": 2, "llm.attempt.delay": 0.5},
    "step": {"langfuse.observation.type": "span"},
}


@pytest.mark.parametrize("kind", OPERATIONS)
def test_whole_start(kind: str) -> None:
    assert start_attributes(OPERATIONS[kind], DEPLOYMENT, root=False) == COMMON | OWN[kind]
    assert start_attributes(OPERATIONS[kind], DEPLOYMENT, root=True) == COMMON | ROOT_FLAGS | OWN[kind]


@pytest.mark.parametrize("kind", OPERATIONS)
def test_no_content_and_no_key_of_others(kind: str) -> None:
    sent = start_attributes(OPERATIONS[kind], DEPLOYMENT, root=True)
    assert "secret" not in str(sent)
    assert not [key for key in sent if key in CONTENT_KEYS or key.startswith(CONTENT_PREFIXES)]
    assert all(map(is_own, sent))

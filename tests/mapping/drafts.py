"""One draft of each kind, with everything on it that the kind can have."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from looopy_otel.core.draft import (
    AgentDraft,
    AttemptDraft,
    Cost,
    Draft,
    Failure,
    IterationDraft,
    LLMDraft,
    Shape,
    StepDraft,
    ToolDraft,
)
from looopy_otel.core.identity import Identity
from looopy_otel.core.settings import Deployment
from looopy_otel.core.usage import Usage

START = 1_730_000_000_000_000_000
END = START + 2_000_000_000
IDENTITY = Identity(
    session_id="s-1",
    user_id="u-1",
    tags=("beta", "eu"),
    metadata={"tier": "pro"},
    trace_name="support",
    agent_id="my-agent",
    task_id="task_1_a",
)
DEPLOYMENT = Deployment(environment="Staging EU", release="r7", version="1.2.0")
COMMON: dict[str, Any] = {
    "session.id": "s-1",
    "gen_ai.conversation.id": "s-1",
    "user.id": "u-1",
    "agent.id": "my-agent",
    "agent.task.id": "task_1_a",
    "langfuse.trace.name": "support",
    "langfuse.trace.tags": ["beta", "eu"],
    "langfuse.environment": "staging-eu",
    "langfuse.release": "r7",
    "langfuse.version": "1.2.0",
    "langfuse.trace.metadata.tier": "pro",
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "calculate", "description": "Adds.", "parameters": {"type": "object"}},
}
CALL: Any = {"id": "c1", "type": "function", "function": {"name": "calculate", "arguments": '{"expression": "1+1"}'}}
MESSAGES: Any = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "1+1?"}]

AGENT = AgentDraft(
    name="agent.execute",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    root=True,
    input="1+1?",
    output="2",
    metadata={"plan": "gold", "steps": [1, 2]},
    iterations=2,
    llm_calls=2,
    tool_calls=1,
    usage=Usage(300, 40),
    cost=Decimal("0.0068"),
    parent_task_id="task_0_z",
)
ITERATION = IterationDraft(
    name="agent.iteration",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    input=MESSAGES,
    output={"role": "assistant", "content": None, "tool_calls": [CALL]},
    number=2,
    finish_reason="tool_calls",
)
LLM = LLMDraft(
    name="llm.call",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    input=MESSAGES,
    output=[{"role": "assistant", "content": None, "tool_calls": [CALL]}],
    metadata={"attempt": 1},
    system="azure",
    provider_name="azure.ai.openai",
    request_model="azure/gpt-4",
    response_model="gpt-4-0613",
    parameters={"temperature": 0.7, "max_tokens": 4096, "stop": ["END"], "logit_bias": {"50256": -100}},
    tools=[TOOL],
    stream=True,
    usage=Usage(150, 75, cache_read_tokens=100, cache_write_tokens=20, reasoning_tokens=25, audio_input_tokens=0),
    usage_source="reported",
    cost=Cost(Decimal("0.0068"), Decimal("0.0045"), Decimal("0.0023"), source="price-table", table="genai-prices 1"),
    finish_reason="tool_calls",
    response_id="chatcmpl-1",
    request_id="call-9",
    response_headers={"x-litellm-attempted-retries": "0"},
    time_to_first_chunk=0.25,
    server_address="127.0.0.1",
    server_port=4000,
)
ANSWER = replace(LLM, output=[{"role": "assistant", "content": "2"}], finish_reason="stop", tools=None)
EMBEDDING = LLMDraft(
    name="llm.call",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    operation="embeddings",
    input=["a", "b"],
    output={"embeddings": 2, "dimensions": 256},
    system="openai",
    provider_name="openai",
    request_model="text-embedding-3-small",
    parameters={"dimensions": 512, "encoding_format": "float"},
    usage=Usage(8, 0),
    usage_source="reported",
)
FAILED_CALL = LLMDraft(
    name="llm.call",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    input=MESSAGES,
    request_model="gpt-4",
    outcome="error",
    answered=False,
    error=Failure("429", "LiteLLM API error: 429 Too Many Requests"),
)
UNRECORDED_CALL = replace(
    FAILED_CALL, input=None, input_shape=Shape(120, ("system", "user")), output_shape=Shape(0), error=None
)
TOOL_RUN = ToolDraft(
    name="tool.execute",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    input={"expression": "1+1"},
    output="2",
    tool_name="calculate",
    call_id="c1",
)
FAILED_TOOL = replace(TOOL_RUN, input="not json", output="Error: bad", error=Failure("ValueError", "bad"))
ATTEMPT = AttemptDraft(
    name="llm.attempt",
    start_time=START,
    end_time=END,
    identity=IDENTITY,
    number=2,
    delay=1,
    error=Failure("503", "busy"),
)
STEP = StepDraft(
    name="look up", start_time=START, end_time=END, identity=IDENTITY, input={"q": 1}, output=[1], metadata={"k": "v"}
)
DRAFTS: dict[str, Draft] = {
    "agent": AGENT,
    "iteration": ITERATION,
    "llm": LLM,
    "answer": ANSWER,
    "embedding": EMBEDDING,
    "failed call": FAILED_CALL,
    "unrecorded call": UNRECORDED_CALL,
    "tool": TOOL_RUN,
    "failed tool": FAILED_TOOL,
    "attempt": ATTEMPT,
    "step": STEP,
}
ROOT_FLAGS: dict[str, Any] = {"langfuse.internal.is_app_root": True, "langfuse.internal.as_root": "true"}
AGENT_SCALARS: dict[str, Any] = {
    **COMMON,
    **ROOT_FLAGS,
    "langfuse.observation.type": "agent",
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.agent.name": "my-agent",
    "agent.parent_task.id": "task_0_z",
    "agent.outcome": "completed",
    "agent.iterations": 2,
    "agent.llm_calls": 2,
    "agent.tool_calls": 1,
    "agent.usage.prompt_tokens": 300,
    "agent.usage.completion_tokens": 40,
    "agent.usage.total_tokens": 340,
    "agent.cost.usd": 0.0068,
}
ITERATION_SCALARS: dict[str, Any] = {
    **COMMON,
    "langfuse.observation.type": "chain",
    "gen_ai.agent.name": "my-agent",
    "agent.iteration": 2,
    "llm.finish_reason": "tool_calls",
}
EMBEDDING_SCALARS: dict[str, Any] = {
    **COMMON,
    "langfuse.observation.type": "embedding",
    "gen_ai.operation.name": "embeddings",
    "gen_ai.provider.name": "openai",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "text-embedding-3-small",
    "gen_ai.usage.prompt_tokens": 8,
    "gen_ai.usage.completion_tokens": 0,
    "gen_ai.usage.total_tokens": 8,
    "llm.usage.source": "reported",
    "llm.cost.source": "unknown",
    "llm.outcome": "completed",
}
EMBEDDING_GENERATION: dict[str, Any] = {
    "langfuse.observation.model.name": "text-embedding-3-small",
    "langfuse.observation.model.parameters": '{"dimensions":512,"encoding_format":"float"}',
    "langfuse.observation.usage_details": '{"input":8,"output":0,"total":8}',
}
LLM_SCALARS: dict[str, Any] = {
    **COMMON,
    "langfuse.observation.type": "generation",
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "azure.ai.openai",
    "gen_ai.system": "azure",
    "gen_ai.request.model": "azure/gpt-4",
    "gen_ai.response.model": "gpt-4-0613",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.prompt_tokens": 150,
    "gen_ai.usage.completion_tokens": 75,
    "gen_ai.usage.total_tokens": 225,
    "gen_ai.usage.cost": 0.0068,
    "llm.usage.source": "reported",
    "llm.cost.source": "price-table",
    "llm.cost.table": "genai-prices 1",
    "llm.finish_reason": "tool_calls",
    "llm.outcome": "completed",
    "llm.request.id": "call-9",
    "llm.response.header.x-litellm-attempted-retries": "0",
}
GENERATION: dict[str, Any] = {
    "langfuse.observation.model.name": "gpt-4-0613",
    "langfuse.observation.model.parameters": (
        '{"temperature":0.7,"max_tokens":4096,"stop":"[\\"END\\"]","logit_bias":"{\\"50256\\":-100}"}'
    ),
    "langfuse.observation.usage_details": (
        '{"input":30,"input_cached_tokens":100,"input_cache_creation":20,"output":50,"output_reasoning_tokens":25,'
        '"total":225}'
    ),
    "langfuse.observation.cost_details": '{"input":0.0045,"output":0.0023,"total":0.0068}',
    "langfuse.observation.completion_start_time": "2024-10-27T03:33:20.250000Z",
}
FAILED_CALL_SCALARS: dict[str, Any] = {
    **COMMON,
    "langfuse.observation.type": "generation",
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4",
    "llm.usage.source": "missing",
    "llm.cost.source": "unknown",
    "llm.outcome": "error",
    "error.type": "429",
}
UNRECORDED_CALL_SCALARS: dict[str, Any] = {
    **{key: value for key, value in FAILED_CALL_SCALARS.items() if key != "error.type"},
    "looopy.input.bytes": 120,
    "looopy.input.roles": ["system", "user"],
    "looopy.output.bytes": 0,
}
FAILED_GENERATION: dict[str, Any] = {
    "langfuse.observation.model.name": "gpt-4",
    "langfuse.observation.usage_details": '{"input":0,"output":0}',
}
TOOL_SCALARS: dict[str, Any] = {
    **COMMON,
    "langfuse.observation.type": "tool",
    "gen_ai.operation.name": "execute_tool",
    "agent.tool.name": "calculate",
    "agent.tool.call_id": "c1",
    "gen_ai.tool.call.id": "c1",
    "gen_ai.tool.type": "function",
}
ATTEMPT_ATTRIBUTES: dict[str, Any] = {
    **COMMON,
    "langfuse.observation.type": "span",
    "llm.attempt.number": 2,
    "llm.attempt.delay": 1.0,
    "error.type": "503",
}
STEP_SCALARS: dict[str, Any] = {**COMMON, "langfuse.observation.type": "span"}
MESSAGES_JSON = '[{"role":"system","content":"Be short."},{"role":"user","content":"1+1?"}]'
CALL_JSON = '{"id":"c1","type":"function","function":{"name":"calculate","arguments":"{\\"expression\\": \\"1+1\\"}"}}'
ASKING_JSON = f'{{"role":"assistant","content":null,"tool_calls":[{CALL_JSON}]}}'

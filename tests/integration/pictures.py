"""What the example's run looks like on the wire, whole, in each dialect: every span, every attribute."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from tests.integration.example import ANSWER_TEXT, EXPRESSION, PROMPT
from tests.support.tree import JsonText

Attributes: TypeAlias = dict[str, Any]
Picture: TypeAlias = dict[str, Any]

IDENTITY: Final[Attributes] = {
    "agent.id": "my-agent",
    "agent.task.id": "<task>",
    "gen_ai.conversation.id": "s-1",
    "langfuse.environment": "testing",
    "langfuse.release": "r-7",
    "langfuse.trace.metadata.tier": "pro",
    "langfuse.trace.name": "my-agent",
    "langfuse.trace.tags": ["beta"],
    "langfuse.version": "1.2.0",
    "session.id": "s-1",
    "user.id": "u-1",
}
"""Who and what: on every span."""

SYSTEM: Final = {"role": "system", "content": "You are a helpful AI assistant."}
USER: Final = {"role": "user", "content": PROMPT}
ASKING: Final[Attributes] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1_0",
            "type": "function",
            "function": {"name": "calculate", "arguments": f'{{"expression":"{EXPRESSION}"}}'},
        }
    ],
}
TOOL_MESSAGE: Final = {"role": "tool", "content": "392", "tool_call_id": "call_1_0", "name": "calculate"}
ANSWERING: Final = {"role": "assistant", "content": ANSWER_TEXT}
PARAMETERS: Final[Attributes] = {
    "additionalProperties": False,
    "properties": {"expression": {"description": "Only the example's is known.", "type": "string"}},
    "required": ["expression"],
    "type": "object",
}
TOOL: Final[Attributes] = {"name": "calculate", "description": "Calculates an expression.", "parameters": PARAMETERS}


def tree(agent: Attributes, first: list[Picture], second: list[Picture]) -> Picture:
    """The example's tree from its parts; each turn is a list of the turn itself and what is under it."""
    return {
        "name": "agent.execute",
        "attributes": {
            **IDENTITY,
            "agent.cost.usd": 0.0145,
            "agent.iterations": 2,
            "agent.llm_calls": 2,
            "agent.outcome": "completed",
            "agent.tool_calls": 1,
            "agent.usage.completion_tokens": 96,
            "agent.usage.prompt_tokens": 384,
            "agent.usage.total_tokens": 480,
            "gen_ai.agent.name": "my-agent",
            "gen_ai.operation.name": "invoke_agent",
            "langfuse.internal.as_root": "true",
            "langfuse.internal.is_app_root": True,
            "langfuse.observation.type": "agent",
            **agent,
        },
        "children": [{**turn[0], "children": turn[1:]} for turn in (first, second)],
    }


def iteration(number: int, finish_reason: str, content: Attributes) -> Picture:
    return {
        "name": "agent.iteration",
        "attributes": {
            **IDENTITY,
            "agent.iteration": number,
            "gen_ai.agent.name": "my-agent",
            "langfuse.observation.type": "chain",
            "llm.finish_reason": finish_reason,
            **content,
        },
    }


def llm_call(number: int, tokens: tuple[int, int], cost: float, finish_reason: str, content: Attributes) -> Picture:
    return {
        "name": "llm.call",
        "kind": "CLIENT",
        "attributes": {
            **IDENTITY,
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4",
            "gen_ai.response.id": "<response>" if number == 1 else f"<response {number}>",
            "gen_ai.response.model": "gpt-4-0613",
            "gen_ai.system": "openai",
            "gen_ai.usage.completion_tokens": tokens[1],
            "gen_ai.usage.cost": cost,
            "gen_ai.usage.prompt_tokens": tokens[0],
            "gen_ai.usage.total_tokens": sum(tokens),
            "langfuse.observation.type": "generation",
            "llm.cost.source": "provider",
            "llm.finish_reason": finish_reason,
            "llm.outcome": "completed",
            "llm.usage.source": "reported",
            **content,
        },
    }


def tool(content: Attributes) -> Picture:
    return {
        "name": "tool.execute",
        "attributes": {
            **IDENTITY,
            "agent.tool.call_id": "call_1_0",
            "agent.tool.name": "calculate",
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.call.id": "call_1_0",
            "gen_ai.tool.type": "function",
            "langfuse.observation.type": "tool",
            **content,
        },
    }


def example_in_seed() -> Picture:
    """The first names: ``gen_ai.prompt`` and ``gen_ai.completion``, bare ``input`` and ``output``."""

    def turn(start: list[Any], end: Any) -> Attributes:
        return {"input": JsonText(start), "output": JsonText([end])}

    def call(prompt: list[Any], completion: Any) -> Attributes:
        return {"gen_ai.prompt": JsonText(prompt), "gen_ai.completion": completion}

    return tree(
        {"input": PROMPT, "output": ANSWER_TEXT},
        [
            iteration(1, "tool_calls", turn([SYSTEM, USER], ASKING)),
            llm_call(1, (150, 75), 0.0068, "tool_calls", call([SYSTEM, USER], JsonText(ASKING))),
            tool({"gen_ai.tool.name": "calculate", "input": JsonText({"expression": EXPRESSION}), "output": "392"}),
        ],
        [
            iteration(2, "stop", turn([TOOL_MESSAGE], ANSWERING)),
            llm_call(2, (234, 21), 0.0077, "stop", call([SYSTEM, USER, ASKING, TOOL_MESSAGE], ANSWER_TEXT)),
        ],
    )


def _for_langfuse(tokens: tuple[int, int], cost: float) -> Attributes:
    """What says model, tokens and cost in Langfuse's own names."""
    return {
        "langfuse.observation.completion_start_time": "<time>",
        "langfuse.observation.cost_details": JsonText({"total": cost}),
        "langfuse.observation.model.name": "gpt-4-0613",
        "langfuse.observation.model.parameters": JsonText({"temperature": 0.7, "max_tokens": 4096, "top_p": 1.0}),
        "langfuse.observation.usage_details": JsonText({"input": tokens[0], "output": tokens[1], "total": sum(tokens)}),
    }


def example_in_langfuse() -> Picture:
    """Content in Langfuse's own attributes, nothing that renames or re-types an observation."""

    def content(start: Any, end: Any) -> Attributes:
        return {"langfuse.observation.input": start, "langfuse.observation.output": end}

    def call(prompt: list[Any], end: Any, tokens: tuple[int, int], cost: float) -> Attributes:
        tools = [{"type": "function", "function": TOOL}]
        return {
            **content(JsonText({"messages": prompt, "tools": tools}), JsonText(end)),
            **_for_langfuse(tokens, cost),
        }

    first, second = [SYSTEM, USER], [SYSTEM, USER, ASKING, TOOL_MESSAGE]
    return tree(
        content(PROMPT, ANSWER_TEXT),
        [
            iteration(1, "tool_calls", content(JsonText(first), JsonText([ASKING]))),
            llm_call(1, (150, 75), 0.0068, "tool_calls", call(first, ASKING, (150, 75), 0.0068)),
            tool(content(JsonText({"expression": EXPRESSION}), "392")),
        ],
        [
            iteration(2, "stop", content(JsonText([TOOL_MESSAGE]), JsonText([ANSWERING]))),
            llm_call(2, (234, 21), 0.0077, "stop", call(second, ANSWERING, (234, 21), 0.0077)),
        ],
    )


def example_in_genai() -> Picture:
    """The GenAI conventions: messages made of parts, inclusive token counts, what was asked of the model."""

    def content(start: list[Attributes], end: Attributes) -> Attributes:
        return {"gen_ai.input.messages": JsonText(start), "gen_ai.output.messages": JsonText([end])}

    def call(
        start: list[Attributes], end: Attributes, finish: tuple[str, str], tokens: tuple[int, int], cost: float
    ) -> Attributes:
        return {
            **content(start, {**end, "finish_reason": finish[1]}),
            "gen_ai.request.max_tokens": 4096,
            "gen_ai.request.stream": True,
            "gen_ai.request.temperature": 0.7,
            "gen_ai.request.top_p": 1.0,
            "gen_ai.response.finish_reasons": [finish[0]],
            "gen_ai.response.time_to_first_chunk": "<seconds>",
            "gen_ai.tool.definitions": JsonText([{**TOOL, "type": "function"}]),
            "gen_ai.usage.input_tokens": tokens[0],
            "gen_ai.usage.output_tokens": tokens[1],
            "server.address": "127.0.0.1",
            "server.port": "<port>",
            **_for_langfuse(tokens, cost),
        }

    system, user = _text("system", SYSTEM["content"]), _text("user", PROMPT)
    request = {"type": "tool_call", "name": "calculate", "id": "call_1_0", "arguments": {"expression": EXPRESSION}}
    asking = {"role": "assistant", "parts": [request]}
    response = {"type": "tool_call_response", "response": "392", "id": "call_1_0"}
    result = {"role": "tool", "parts": [response], "name": "calculate"}
    answer = _text("assistant", ANSWER_TEXT)
    arguments = {"gen_ai.tool.call.arguments": JsonText({"expression": EXPRESSION})}
    return tree(
        content([user], answer),
        [
            iteration(1, "tool_calls", content([system, user], asking)),
            llm_call(
                1,
                (150, 75),
                0.0068,
                "tool_calls",
                call([system, user], asking, ("tool_calls", "tool_call"), (150, 75), 0.0068),
            ),
            tool(
                {
                    **arguments,
                    "gen_ai.agent.name": "my-agent",
                    "gen_ai.tool.name": "calculate",
                    "gen_ai.tool.call.result": JsonText({"result": 392}),
                }
            ),
        ],
        [
            iteration(2, "stop", content([result], answer)),
            llm_call(
                2,
                (234, 21),
                0.0077,
                "stop",
                call([system, user, asking, result], answer, ("stop", "stop"), (234, 21), 0.0077),
            ),
        ],
    )


def _text(role: str, text: str) -> Attributes:
    return {"role": role, "parts": [{"type": "text", "content": text}]}

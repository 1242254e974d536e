"""LiteLLM agent example: an agent with a calculator, its events as they come, and the whole run traced."""

import ast
import asyncio
import os

import looopy_otel as lo
from looopy_otel.agent import AgentEvent, AgentLoop, FunctionTools, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.providers import LiteLLM

LITELLM_URL = os.environ.get("LITELLM_URL", "http://localhost:4000")
LITELLM_API_KEY = os.environ.get("LITELLM_API_KEY")
PROMPT = "Calculate 15 * 23 + 47"
RULE = "=" * 70


def calculate(expression: str) -> float:
    """Calculate an arithmetic expression.

    Args:
        expression: Numbers, parentheses and + - * /, such as "2 * (3 + 4)".
    """
    print("\n🔧 Executing: calculate")
    print(f"   Arguments: {{ expression: {expression!r} }}")
    result = value(ast.parse(expression, mode="eval").body)
    print(f"   Result: {result}")
    return result


def value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return value(left) + value(right)
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return value(left) - value(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return value(left) * value(right)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return value(left) / value(right)
        case _:
            raise ValueError("only numbers and + - * / are allowed")


def show(number: int, event: AgentEvent) -> None:
    print(f"\n[{number}] 📡 Event: {event.kind}")
    if event.kind == "task":
        print(f"    Task ID: {event.id}")
        print(f"    Status: {event.status.state}")
    elif event.kind == "status-update":
        print(f"    Status: {event.status.state}")
        if event.status.message:
            print(f"    Message: {event.status.message}")
        if event.final:
            print("    ✅ FINAL EVENT")


async def main() -> None:
    print("🚀 LiteLLM Agent Example\n")
    print(RULE)
    print(f"\n📡 LiteLLM URL: {LITELLM_URL}")
    print(f"🔑 API Key: {'***' if LITELLM_API_KEY else 'none'}\n")
    print(RULE)

    lo.configure(service_name="litellm-agent-example")
    agent = AgentLoop(
        agent_id="litellm-agent",
        llm_provider=LiteLLM.gpt4(LITELLM_URL, LITELLM_API_KEY),
        tool_providers=[FunctionTools([calculate])],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
        system_prompt="You are a helpful assistant. Use the calculate tool for arithmetic.",
    )

    print(f"\n💬 User: {PROMPT}")
    print(RULE)

    count = 0
    async for event in agent.execute(PROMPT):
        count += 1
        show(count, event)

    print(f"\n{RULE}")
    print(f"✅ Completed! Total events: {count}")
    print(RULE)


if __name__ == "__main__":
    asyncio.run(main())

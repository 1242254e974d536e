from __future__ import annotations

import asyncio
import threading

from looopy_otel import session
from looopy_otel.agent import AgentRun, Iteration, LLMCall, ToolRun
from looopy_otel.providers import ScriptedProvider
from looopy_otel.providers.reply import Reply
from tests.agent.fakes import FakeProvider, Turn, agent
from tests.agent.recording import RecordingObserver


async def fetch(number: int) -> int:
    await asyncio.sleep(0.001 * (number % 3))
    return number


def compute(number: int) -> int:
    threading.Event().wait(0.002)
    return -number


def calls(count: int = 4) -> list[tuple[str, dict[str, int]]]:
    return [("fetch" if number % 2 else "compute", {"number": number}) for number in range(count)]


async def test_ten_agents_at_once_each_with_parallel_tools(observer: RecordingObserver) -> None:
    async def one(number: int) -> None:
        provider = FakeProvider([Turn(calls=calls()), Turn(calls=calls()), Turn("Done")])
        loop = agent(provider, fetch, compute, agent_id=f"agent-{number}")
        with session(f"session-{number}"):
            result = await loop.arun("Hi", task_id=f"task-{number}")
        assert (result.outcome, result.tool_calls, result.llm_calls) == ("completed", 8, 3)

    await asyncio.gather(*map(one, range(10)))
    assert [len(observer.of(kind)) for kind in (AgentRun, Iteration, LLMCall, ToolRun)] == [10, 30, 30, 80]
    for operation in observer.all:
        identity = operation.operation.identity
        number = str(identity.agent_id).removeprefix("agent-")
        assert (identity.session_id, identity.task_id) == (f"session-{number}", f"task-{number}")
    for turn in observer.of(Iteration):
        children = [one.name for one in observer.all if one.parent is turn]
        assert children in (["llm"], ["llm", *["tool"] * 4])


async def test_the_scripted_provider_announces_its_calls_below_the_turn(observer: RecordingObserver) -> None:
    provider = ScriptedProvider([Reply(tool_calls=calls(2)), Reply(text="Done")])
    result = await agent(provider, fetch, compute).arun("Hi")
    assert result.outcome == "completed"
    names = [one.name for one in observer.all]
    assert names == ["agent", "iteration", "llm", "tool", "tool", "iteration", "llm"]
    assert all(one.error is None for one in observer.all)

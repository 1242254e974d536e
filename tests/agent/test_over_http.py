"""The loop with the real provider, over HTTP on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from looopy_otel.agent import AgentLoop, Budget, ContentDeltaEvent, FunctionTools, LLMCall
from looopy_otel.providers import LiteLLMProvider, ScriptedServer
from looopy_otel.providers.errors import LiteLLMAuthenticationError, LiteLLMError
from looopy_otel.providers.reply import Reply
from tests.agent.fakes import SEED_ANSWER, calculate
from tests.agent.recording import RecordingObserver

USAGE = {"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225}
SCRIPT = [
    Reply(tool_calls=[("calculate", {"expression": "15 * 23 + 47"})], usage=USAGE, cost=0.0034),
    Reply(text=SEED_ANSWER, usage=USAGE, cost=0.0034),
]


def loop(server: ScriptedServer, **options: object) -> AgentLoop:
    return AgentLoop(
        agent_id="my-agent",
        llm_provider=LiteLLMProvider(base_url=server.url, model="gpt-3.5-turbo"),
        tool_providers=[FunctionTools([calculate])],
        **options,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    )


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(SCRIPT) as server:
        yield server


async def test_the_example_runs_over_http(server: ScriptedServer, observer: RecordingObserver) -> None:
    agent = loop(server)
    events = [event async for event in agent.execute("Calculate 15 * 23 + 47")]
    assert [event.kind for event in events] == ["task", "status-update", "status-update"]
    first, second = (request.json for request in server.requests)
    assert first["stream"] is True
    assert first["tools"][0]["function"]["name"] == "calculate"
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert second["messages"][-1]["content"] == "392"
    assert [one.name for one in observer.all] == ["agent", "iteration", "llm", "tool", "iteration", "llm"]
    result = observer.all[0].result
    assert (result.usage.total_tokens, result.cost) == (450, Decimal("0.0068"))


def test_run_uses_the_provider_again_and_again(server: ScriptedServer) -> None:
    agent = loop(server)
    assert [agent.run("Hi").outcome for _ in range(3)] == ["completed"] * 3


async def test_break_closes_the_connection(observer: RecordingObserver) -> None:
    with ScriptedServer([Reply(text="word " * 400, chunk_delay=0.02, chunk_size=5)]) as server:
        agent = loop(server)
        async for event in agent.execute("Hi", detail="full"):
            if isinstance(event, ContentDeltaEvent):
                break
        await _until(lambda: server.disconnects == 1)
    assert isinstance(observer.of(LLMCall)[0].error, asyncio.CancelledError)


async def test_an_error_of_the_endpoint_fails_the_run(observer: RecordingObserver) -> None:
    with ScriptedServer([Reply(status=401, text="wrong key")]) as server:
        with pytest.raises(LiteLLMAuthenticationError, match="401 Unauthorized"):
            await loop(server).arun("Hi")
        assert isinstance(observer.of(LLMCall)[0].error, LiteLLMError)


async def test_a_cut_stream_fails_the_run_with_what_came(observer: RecordingObserver) -> None:
    with ScriptedServer([Reply(text="one two three four", chunk_size=4, cut_after=3)]) as server:
        with pytest.raises(LiteLLMError):
            await loop(server).arun("Hi")
        assert observer.of(LLMCall)[0].result.outcome == "truncated"


async def test_budgets_count_what_the_endpoint_reports(server: ScriptedServer) -> None:
    result = await loop(server, middleware=[Budget(max_cost_usd=0.003)]).arun("Hi")
    assert (result.outcome, result.cost, result.llm_calls) == ("budget_exceeded", Decimal("0.0034"), 1)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (the server is in another thread)
            await asyncio.sleep(0.01)

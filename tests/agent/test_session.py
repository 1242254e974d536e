from __future__ import annotations

import asyncio

from looopy_otel import session
from looopy_otel.core.identity import NOBODY, current_identity
from looopy_otel.core.operation import AgentRun
from tests.agent.fakes import FakeProvider, Turn, agent, calculate, seed_provider
from tests.agent.recording import RecordingObserver


async def test_the_task_id_is_the_session_of_the_provider(observer: RecordingObserver) -> None:
    provider = seed_provider()
    result = await agent(provider, calculate).arun("Hi")
    assert {request["session_id"] for request in provider.requests} == {result.task_id}
    for one in observer.all:
        identity = one.operation.identity
        assert (identity.session_id, identity.task_id, identity.agent_id) == (None, result.task_id, "my-agent")


async def test_a_given_session_wins_over_the_open_one_and_reaches_every_operation(observer: RecordingObserver) -> None:
    provider = seed_provider()
    with session("outer", user_id="u-1", tags=["beta"]):
        await agent(provider, calculate).arun("Hi", session_id="inner", user_id="u-2")
    assert {request["session_id"] for request in provider.requests} == {"inner"}
    for one in observer.all:
        identity = one.operation.identity
        assert (identity.session_id, identity.user_id, identity.tags) == ("inner", "u-2", ("beta",))


async def test_the_session_is_that_of_the_place_of_execute(observer: RecordingObserver) -> None:
    provider = FakeProvider([Turn("x")])
    with session("there"):
        stream = agent(provider).execute("Hi")
    with session("elsewhere"):
        events = [event async for event in stream]
    assert {event.context_id for event in events} == {"there"}
    assert provider.requests[0]["session_id"] == "there"
    assert observer.of(AgentRun)[0].operation.identity.session_id == "there"


async def test_two_sessions_at_once_do_not_mix() -> None:
    async def one(name: str) -> set[str]:
        provider = seed_provider()
        with session(name):
            await agent(provider, calculate).arun("Hi")
        return {request["session_id"] for request in provider.requests}

    assert await asyncio.gather(*map(one, "abc")) == [{"a"}, {"b"}, {"c"}]


async def test_the_caller_keeps_its_own_identity() -> None:
    await agent(FakeProvider([Turn("x")])).arun("Hi")
    assert current_identity() == NOBODY

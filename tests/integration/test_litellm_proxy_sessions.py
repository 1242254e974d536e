"""What the proxy recorded shows the session and the task that each call belongs to."""

from __future__ import annotations

import asyncio

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop
from looopy_otel.providers import LiteLLM, LiteLLMAPIError, LiteLLMProvider, RecordedRequest, Reply
from tests.integration.example import drained
from tests.support.proxy import LiteLLMProxy, ProxyRecord, Upstream

pytestmark = pytest.mark.proxy

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def provider(proxy: LiteLLMProxy, upstream: Upstream) -> LiteLLMProvider:
    upstream.play(Reply(text="ok"))
    return LiteLLM.gpt4(proxy.url, proxy.key)


async def test_the_session_of_a_plain_call(proxy: LiteLLMProxy, provider: LiteLLMProvider) -> None:
    await provider.call(messages=HELLO, session_id="task-123-plain")
    (record,) = proxy.wait_for_records(lambda record: record.session == "task-123-plain")
    assert (record.outcome, record.trace) == ("success", "task-123-plain")
    assert record.metadata["session_id"] == "task-123-plain"


async def test_the_session_of_a_streamed_call(proxy: LiteLLMProxy, provider: LiteLLMProvider) -> None:
    await drained(provider.call(messages=HELLO, session_id="task-123-streamed"))
    (record,) = proxy.wait_for_records(lambda record: record.session == "task-123-streamed")
    assert (record.outcome, record.trace) == ("success", "task-123-streamed")


async def test_the_session_of_a_failed_call(proxy: LiteLLMProxy, provider: LiteLLMProvider, upstream: Upstream) -> None:
    upstream.play(Reply(status=500))
    with pytest.raises(LiteLLMAPIError):
        await provider.call(messages=HELLO, session_id="task-123-failed")
    (record,) = proxy.wait_for_records(lambda record: record.session == "task-123-failed")
    assert record.outcome == "failure"


async def test_metadata_of_a_call_is_kept_besides(proxy: LiteLLMProxy, provider: LiteLLMProvider) -> None:
    await provider.call(messages=HELLO, session_id="with-metadata", metadata={"tier": "pro", "tags": ["beta"]})
    (record,) = proxy.wait_for_records(lambda record: record.session == "with-metadata")
    assert record.metadata["tier"] == "pro"
    assert "beta" in record.tags


async def test_two_sessions_at_once_stay_apart(proxy: LiteLLMProxy, provider: LiteLLMProvider) -> None:
    sessions = [f"at-once-{number}" for number in range(2)]

    async def converse(session_id: str) -> None:
        with lo.session(session_id=session_id):
            for turn in range(3):
                messages = [{"role": "user", "content": f"{session_id} says {turn}"}]
                await provider.call(messages=messages, session_id=session_id)

    await asyncio.gather(*map(converse, sessions))
    for session_id in sessions:
        records = proxy.wait_for_records(lambda record, wanted=session_id: record.session == wanted, count=3)
        assert {said(record) for record in records} == {f"{session_id} says {turn}" for turn in range(3)}


def said(record: ProxyRecord) -> str:
    """The last message of a call, as the proxy recorded it."""
    return str(record.payload["messages"][-1]["content"])


async def test_the_task_of_a_run_is_its_session(proxy: LiteLLMProxy, provider: LiteLLMProvider) -> None:
    result = await AgentLoop(agent_id="my-agent", llm_provider=provider).arun("Hello!")
    (record,) = proxy.wait_for_records(lambda record: record.session == result.task_id)
    assert record.trace == result.task_id


async def test_inside_a_session_the_task_is_told_besides(proxy: LiteLLMProxy, provider: LiteLLMProvider) -> None:
    agent = AgentLoop(agent_id="my-agent", llm_provider=provider)
    with lo.session(session_id="conversation-7"):
        result = await agent.arun("Hello!")
    (record,) = proxy.wait_for_records(lambda record: record.session == "conversation-7")
    assert record.metadata["task_id"] == result.task_id
    assert f"task:{result.task_id}" in record.tags


async def test_two_agents_at_once_each_in_a_session_of_its_own(proxy: LiteLLMProxy, upstream: Upstream) -> None:
    upstream.play_by(_echo)
    agent = AgentLoop(agent_id="my-agent", llm_provider=LiteLLM.gpt4(proxy.url, proxy.key))

    async def run(session_id: str) -> tuple[str, str]:
        result = await agent.arun(f"I am {session_id}", session_id=session_id)
        assert result.output == f"You said: I am {session_id}"
        return session_id, result.task_id

    for session_id, task_id in await asyncio.gather(*(run(f"pair-{number}") for number in range(2))):
        (record,) = proxy.wait_for_records(lambda record, wanted=session_id: record.session == wanted)
        assert record.metadata["task_id"] == task_id
        assert said(record) == f"I am {session_id}"


def _echo(request: RecordedRequest) -> Reply:
    return Reply(text=f"You said: {request.setting('messages')[-1]['content']}")

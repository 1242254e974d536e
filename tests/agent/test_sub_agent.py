from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from looopy_otel import session
from looopy_otel.agent import AgentLoop, AgentRun, FunctionTools, LLMCall, ToolRun, Usage
from looopy_otel.providers import Reply, ScriptedProvider
from tests.agent.fakes import FakeProvider, Turn, agent, calculate, tool_texts
from tests.agent.recording import RecordingObserver


def boss(provider: FakeProvider, *subs: AgentLoop, **options: Any) -> AgentLoop:
    return AgentLoop(agent_id="boss", llm_provider=provider, tool_providers=[sub.as_tool() for sub in subs], **options)


def asks(*names: str) -> FakeProvider:
    calls = [(name, {"prompt": f"Do {name}"}) for name in names]
    return FakeProvider([Turn(calls=calls, usage=Usage(1, 1), cost=Decimal("0.01")), Turn("All done")])


async def test_a_sub_agent_hangs_under_the_tool_call_and_counts_in_the_totals(observer: RecordingObserver) -> None:
    helper = FakeProvider(
        [
            Turn(calls=[("calculate", {"expression": "1"})], usage=Usage(10, 5), cost=Decimal("0.1")),
            Turn("Found", usage=Usage(10, 5), cost=Decimal("0.1")),
        ]
    )
    provider = asks("helper-1")
    result = await boss(provider, agent(helper, calculate, agent_id="helper-1")).arun("Hi", task_id="top")
    assert tool_texts(provider) == ["Found"]
    assert result.usage == Usage(21, 11)
    assert result.cost == Decimal("0.21")
    assert (result.iterations, result.llm_calls, result.tool_calls) == (2, 4, 2)
    outer, inner = observer.of(AgentRun)
    assert inner.parent is observer.of(ToolRun)[0]
    assert inner.trace_id == outer.trace_id
    operation = inner.operation
    assert isinstance(operation, AgentRun)
    assert (operation.parent_task_id, operation.agent_id, operation.prompt) == ("top", "helper-1", "Do helper-1")
    assert (inner.result.usage, inner.result.llm_calls) == (Usage(20, 10), 2)


async def test_one_trace_has_one_session_whoever_works_in_it(observer: RecordingObserver) -> None:
    helper = FakeProvider([Turn("Found")])
    await boss(asks("helper"), agent(helper, agent_id="helper")).arun("Hi", task_id="top")
    assert {one.operation.identity.effective_session_id for one in observer.all} == {"top"}
    assert {one.operation.identity.session_id for one in observer.all} == {None}
    assert helper.requests[0]["session_id"] == "top"
    identity = observer.of(LLMCall)[1].operation.identity
    assert (identity.agent_id, identity.root_task_id) == ("helper", "top")
    assert identity.task_id != "top"


async def test_a_provider_that_announces_its_calls_keeps_to_the_session_and_name_of_the_trace(
    observer: RecordingObserver,
) -> None:
    helper = AgentLoop(agent_id="helper", llm_provider=ScriptedProvider([Reply(text="Found")]))
    await boss(asks("helper"), helper).arun("Hi", task_id="top")
    identities = [one.operation.identity for one in observer.all]
    assert {(one.effective_session_id, one.session_id, one.trace_name) for one in identities} == {("top", None, "boss")}
    with session("s", trace_name="support"):
        await boss(asks("helper"), helper).arun("Hi")
    identities = [one.operation.identity for one in observer.all[len(identities) :]]
    assert {(one.effective_session_id, one.session_id, one.trace_name) for one in identities} == {("s", "s", "support")}


async def test_several_sub_agents_at_once(observer: RecordingObserver) -> None:
    subs = [agent(FakeProvider([Turn(f"From {name}")]), agent_id=name) for name in ("a", "b", "c")]
    provider = asks("a", "b", "c")
    await boss(provider, *subs).arun("Hi")
    assert tool_texts(provider) == ["From a", "From b", "From c"]
    for run in observer.of(AgentRun)[1:]:
        assert run.parent is not None
        assert isinstance(run.parent.operation, ToolRun)
        assert run.parent.operation.name == run.operation.identity.agent_id


@pytest.mark.parametrize(
    ("turn", "options", "text"),
    [
        (Turn(error=ConnectionError("down")), {}, "Error: helper failed: ConnectionError: down"),
        (
            Turn("Hm", calls=[("calculate", {"expression": "1"})]),
            {"max_iterations": 1},
            "Error: the agent did not complete: stopped after 1 iterations (max_iterations). Its last words: Hm",
        ),
    ],
)
async def test_a_sub_agent_that_does_not_complete_is_a_tool_error(
    turn: Turn, options: dict[str, Any], text: str, observer: RecordingObserver
) -> None:
    provider = asks("helper")
    result = await boss(provider, agent(FakeProvider([turn]), calculate, agent_id="helper", **options)).arun("Hi")
    assert result.outcome == "completed"
    assert tool_texts(provider) == [text]


async def test_wrong_arguments_for_a_sub_agent() -> None:
    provider = FakeProvider([Turn(calls=[("helper", {"question": "?"}), ("helper", "{no")]), Turn("Done")])
    await boss(provider, agent(FakeProvider([Turn()]), agent_id="helper")).arun("Hi")
    missing, no_json = tool_texts(provider)
    assert missing == (
        "Error: invalid arguments for helper: prompt: Field required; question: Extra inputs are not permitted"
    )
    assert no_json.startswith("Error: invalid arguments for helper: ")


async def test_cancelling_the_parent_ends_the_sub_agent(observer: RecordingObserver) -> None:
    helper = FakeProvider([Turn("Half", hang=True)])
    task = asyncio.create_task(boss(asks("helper"), agent(helper, agent_id="helper")).arun("Hi"))
    await helper.streaming.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [run.result.outcome for run in observer.of(AgentRun)] == ["cancelled", "cancelled"]
    assert helper.closed == 1


async def test_an_agent_that_a_tool_runs_by_itself_is_a_part_of_the_run_too(observer: RecordingObserver) -> None:
    helper = agent(FakeProvider([Turn("Found", usage=Usage(5, 5))]), agent_id="helper")

    def delegate() -> str | None:
        return helper.run("Find out").output

    provider = FakeProvider([Turn(calls=[("delegate", {})], usage=Usage(1, 1)), Turn("Done")])
    result = await agent(provider, delegate).arun("Hi", task_id="top")
    assert tool_texts(provider) == ["Found"]
    assert result.usage == Usage(6, 6)
    inner = observer.of(AgentRun)[1].operation
    assert isinstance(inner, AgentRun)
    assert inner.parent_task_id == "top"


def test_the_tool_has_a_name_that_a_model_may_say() -> None:
    loop = agent(FakeProvider([Turn()]), agent_id="my agent/2")
    assert loop.as_tool().get_tools()[0].name == "my_agent_2"
    tool = loop.as_tool(name="expert", description="Knows all.").get_tools()[0]
    assert (tool.name, tool.description, tool.parameters["required"]) == ("expert", "Knows all.", ["prompt"])
    assert loop.as_tool().can_handle("my_agent_2")
    assert FunctionTools([calculate]).can_handle("calculate")

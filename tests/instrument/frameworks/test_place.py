"""Ends that are told in another task than the one that waits."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import looopy_otel as lo
from looopy_otel.core.hooks import announce, innermost
from looopy_otel.core.identity import Identity, current_identity
from looopy_otel.core.operation import AgentRun
from looopy_otel.instrument.place import Place
from looopy_otel.record.entry import enter, is_within
from looopy_otel.testing import CapturedSpans

value: ContextVar[str] = ContextVar("value", default="untouched")


async def test_work_runs_in_the_task_that_waits() -> None:
    place = Place()

    async def elsewhere() -> None:
        place.run(value.set, "changed")
        assert value.get() == "untouched"

    await asyncio.shield(asyncio.create_task(elsewhere(), context=copy_context()))

    assert value.get() == "changed"


async def test_work_runs_in_a_task_that_gathers() -> None:
    place = Place()

    async def elsewhere() -> None:
        await asyncio.sleep(0)
        place.run(value.set, "changed")

    await asyncio.gather(elsewhere(), asyncio.sleep(0))

    assert value.get() == "changed"


async def test_work_runs_here_when_that_task_is_over() -> None:
    async def short() -> Place:
        return Place()

    place = await asyncio.create_task(short())
    place.run(value.set, "changed")

    assert value.get() == "changed"


async def test_work_runs_here_in_the_same_task_and_in_another_thread() -> None:
    place = Place()
    place.run(value.set, "same task")
    assert value.get() == "same task"

    def thread() -> str:
        place.run(value.set, "thread")
        return value.get()

    assert await asyncio.to_thread(thread) == "thread"
    assert value.get() == "same task"


def test_outside_of_any_task() -> None:
    context = copy_context()

    context.run(lambda: Place().run(value.set, "changed"))

    assert context[value] == "changed"
    assert value.get() == "untouched"


def test_an_operation_can_be_entered_in_several_places(captured: CapturedSpans) -> None:
    identity = Identity(agent_id="a", task_id="t", session_id="s")
    run = announce(AgentRun(agent_id="a", task_id="t", messages=(), identity=identity), current=False)
    assert innermost() is None

    def step() -> None:
        leave = enter(run, identity)
        assert current_identity() is identity
        with lo.span("step"):
            assert is_within(innermost(), run)
        leave()
        assert innermost() is None

    step()
    copy_context().run(step)
    run.end()

    assert captured.outline() == ["agent.execute", "  step", "  step"]


def test_leaving_late_changes_nothing(captured: CapturedSpans) -> None:
    run = announce(AgentRun(agent_id="a", task_id="t", messages=()), current=False)
    leave = enter(run, Identity())
    with lo.span("inside") as inner:
        leave()
        assert innermost() is inner
    leave()
    run.end()

    assert captured.outline() == ["agent.execute", "  inside"]

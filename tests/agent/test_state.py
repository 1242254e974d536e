from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from looopy_otel import session
from looopy_otel.agent import (
    Checkpoint,
    InMemoryStateStore,
    SQLiteStateStore,
    StateStore,
    StatusUpdateEvent,
    TaskNotFoundError,
    TaskStateError,
)
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.operation import AgentRun, Iteration
from tests.agent.fakes import FakeProvider, Turn, agent, calculate, collect
from tests.agent.recording import RecordingObserver

HALF = "\ud83d"
USER = {"role": "user", "content": "Hi"}
CALL = Turn("Let me see", calls=[("calculate", {"expression": "1"})])


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> StateStore:
    if request.param == "memory":
        return InMemoryStateStore(clock=clock)
    return SQLiteStateStore(tmp_path / "new" / "state.db", clock=clock)


def checkpoint(task_id: str, **fields: Any) -> Checkpoint:
    return Checkpoint(task_id=task_id, agent_id=fields.pop("agent_id", "a"), **fields)


async def test_what_is_saved_can_be_loaded_listed_and_deleted(store: StateStore) -> None:
    saved = checkpoint("t-1", messages=[{"role": "user", "content": "ü"}], metadata={"a": [1, None]}, session_id="s")
    await store.save(saved)
    await store.save(checkpoint("t-2", agent_id="b"))
    assert await store.load("t-1") == saved
    assert (await store.exists("t-1"), await store.exists("t-9")) == (True, False)
    assert await store.load("t-9") is None
    assert list(await store.list_tasks()) == ["t-1", "t-2"]
    assert list(await store.list_tasks(agent_id="b")) == ["t-2"]
    assert list(await store.list_tasks(session_id="s")) == ["t-1"]
    await store.delete("t-1")
    await store.delete("t-1")
    assert list(await store.list_tasks()) == ["t-2"]


async def test_a_task_lives_no_longer_than_its_time(store: StateStore, clock: Clock) -> None:
    for task_id in ("t-1", "t-2"):
        await store.save(checkpoint(task_id))
        await store.set_ttl(task_id, 60)
    await store.set_ttl("t-2", None)
    clock.now += 59
    await store.save(checkpoint("t-1", iterations=2))
    assert await store.exists("t-1")
    clock.now += 2
    assert await store.load("t-1") is None
    assert list(await store.list_tasks()) == ["t-2"]
    with pytest.raises(TaskNotFoundError, match="t-1"):
        await store.set_ttl("t-1", 60)
    await store.save(checkpoint("t-1"))
    clock.now += 1000
    assert await store.exists("t-1"), "saved anew, it has no time to live"


async def test_many_writers_at_once(tmp_path: Path) -> None:
    stores = [SQLiteStateStore(tmp_path / "state.db") for _ in range(4)]
    await asyncio.gather(*(one.save(checkpoint(f"t-{n}-{i}")) for n, one in enumerate(stores) for i in range(5)))
    assert len(await stores[0].list_tasks()) == 20


async def test_a_checkpoint_is_saved_after_each_turn() -> None:
    class Watched(InMemoryStateStore):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[str, int, list[str]]] = []

        async def save(self, checkpoint: Checkpoint) -> None:
            roles = [message["role"] for message in checkpoint.messages]
            self.seen.append((checkpoint.state, checkpoint.iterations, roles))
            await super().save(checkpoint)

    watched = Watched()
    await agent(FakeProvider([CALL, Turn("Done")]), calculate, task_state_store=watched).arun("Hi", task_id="t")
    assert watched.seen == [
        ("working", 0, ["system", "user"]),
        ("working", 1, ["system", "user", "assistant", "tool"]),
        ("completed", 2, ["system", "user", "assistant", "tool", "assistant"]),
    ]
    saved = await watched.load("t")
    assert saved is not None
    assert (saved.output, saved.trace) == ("Done", None)


async def test_resume_goes_on_after_the_last_whole_turn_in_a_linked_trace(
    store: StateStore, observer: RecordingObserver
) -> None:
    broken = FakeProvider([CALL, Turn(error=ConnectionError("down"))])
    with pytest.raises(ConnectionError):
        await agent(broken, calculate, task_state_store=store).arun(
            "Hi", task_id="t", session_id="s", user_id="u", metadata={"tier": "pro"}
        )
    saved = await store.load("t")
    assert saved is not None
    assert (saved.state, saved.iterations, saved.session_id) == ("failed", 1, "s")
    first = observer.of(AgentRun)[0]
    assert saved.trace == f"{first.trace_id}-{first.span_id}"

    provider = FakeProvider([Turn("Done")])
    stream = agent(provider, calculate, task_state_store=store).resume("t")
    events = [event async for event in stream]
    assert [event.kind for event in events] == ["task", "status-update", "status-update"]
    assert {(event.task_id, event.context_id) for event in events} == {("t", "s")}
    assert [message["role"] for message in provider.requests[0]["messages"]] == ["system", "user", "assistant", "tool"]
    assert stream.result is not None
    assert (stream.result.outcome, stream.result.iterations, stream.result.output) == ("completed", 1, "Done")
    run = observer.of(AgentRun)[1].operation
    assert isinstance(run, AgentRun)
    assert (run.resumed_trace, run.metadata, run.identity.user_id) == (saved.trace, {"tier": "pro"}, "u")
    turn = observer.of(Iteration)[-1].operation
    assert isinstance(turn, Iteration)
    assert turn.number == 2
    again = await store.load("t")
    assert again is not None
    assert (again.state, again.iterations, again.created_at) == ("completed", 2, saved.created_at)


async def test_a_cancelled_task_can_be_resumed_and_an_untraced_one_has_no_link(store: StateStore) -> None:
    provider = FakeProvider([CALL, Turn("Half", hang=True)])
    task = asyncio.create_task(agent(provider, calculate, task_state_store=store).arun("Hi", task_id="t"))
    await provider.streaming.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    saved = await store.load("t")
    assert saved is not None
    assert (saved.state, saved.iterations, saved.trace, saved.output) == ("canceled", 1, None, "Let me see")
    result = await agent(FakeProvider([Turn("Done")]), task_state_store=store).resume("t").finish()
    assert (result.outcome, result.output, result.task_id) == ("completed", "Done", "t")


async def test_a_task_that_ran_out_of_turns_gets_new_ones() -> None:
    store = InMemoryStateStore()
    provider = FakeProvider([CALL, CALL, Turn("Done")])
    loop = agent(provider, calculate, task_state_store=store, max_iterations=2)
    assert (await loop.arun("Hi", task_id="t")).outcome == "max_iterations"
    assert (await loop.resume("t").finish()).outcome == "completed"
    roles = [message["role"] for message in provider.requests[-1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool"]


async def test_what_cannot_be_resumed_says_so(store: StateStore) -> None:
    loop = agent(FakeProvider([Turn("Done")]), task_state_store=store)
    await loop.arun("Hi", task_id="done")
    events: list[Any] = []
    with pytest.raises(TaskStateError, match="'done' is completed"):
        await collect(loop.resume("done"), events)
    assert isinstance(events[-1], StatusUpdateEvent)
    assert (events[-1].status.state, events[-1].final) == ("failed", True)
    with pytest.raises(TaskNotFoundError, match="no task 'gone'"):
        await loop.resume("gone").finish()
    await store.save(checkpoint("other", agent_id="somebody"))
    with pytest.raises(TaskStateError, match="belongs to agent 'somebody'"):
        await loop.resume("other").finish()
    with pytest.raises(ConfigurationError, match="task_state_store"):
        agent(FakeProvider([Turn()])).resume("t")


async def test_resume_keeps_what_was_known_of_the_trace(store: StateStore, observer: RecordingObserver) -> None:
    broken = agent(FakeProvider([Turn(error=ConnectionError("down"))]), task_state_store=store)
    with session("s", user_id="u", tags=["beta"], metadata={"tier": "pro"}, trace_name="support", project="p"):
        with pytest.raises(ConnectionError):
            await broken.arun("Hi", task_id="t")
    for trace_name in (None, "nightly"):
        with session(tags=["again"], metadata={"tier": "other", "try": 2}, trace_name=trace_name):
            with pytest.raises(ConnectionError):
                await broken.resume("t").finish()
    _, second, third = (one.operation.identity for one in observer.of(AgentRun))
    assert (second.session_id, second.user_id, second.tags) == ("s", "u", ("beta", "again"))
    assert (second.metadata, second.project) == ({"tier": "pro", "try": 2}, "p")
    assert (second.trace_name, third.trace_name) == ("support", "nightly")


async def test_a_checkpoint_of_an_earlier_version_can_be_resumed() -> None:
    store = InMemoryStateStore()
    await store.save(Checkpoint.model_validate({"task_id": "t", "agent_id": "my-agent", "messages": [USER]}))
    assert (await agent(FakeProvider([Turn("Done")]), task_state_store=store).resume("t").finish()).output == "Done"


@pytest.mark.parametrize("path", [":memory:", "", "file:state?mode=memory"])
def test_a_sqlite_store_needs_a_file(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no file; give one, or use InMemoryStateStore\(\)"):
        SQLiteStateStore(path)


async def test_lone_surrogates_do_not_break_a_checkpoint(store: StateStore) -> None:
    def half(text: str) -> str:
        return text + HALF

    provider = FakeProvider([Turn(f"Let {HALF}", calls=[("half", {"text": HALF})]), Turn(f"Done {HALF}")])
    loop = agent(provider, half, task_state_store=store)
    stream = loop.execute(f"Hi {HALF}", task_id="t", metadata={"k": HALF}, session_id="s", detail="full")
    events = [event async for event in stream]
    assert all(event.model_dump_json() for event in events)
    saved = await store.load("t")
    assert saved is not None
    assert (saved.state, saved.output, saved.metadata) == ("completed", "Done \ufffd", {"k": "\ufffd"})
    assert [message["content"] for message in saved.messages][1::2] == ["Hi \ufffd", "\ufffd" * 2]


class Unwritable(InMemoryStateStore):
    async def save(self, checkpoint: Checkpoint) -> None:
        raise OSError("disk full")


async def test_a_store_that_fails_fails_the_run(observer: RecordingObserver) -> None:
    stream = agent(FakeProvider([Turn("Done")]), task_state_store=Unwritable()).execute("Hi")
    with pytest.raises(OSError, match="disk full"):
        await stream.finish()
    assert stream.result is not None
    assert stream.result.outcome == "failed"


async def test_content_that_json_cannot_say_does_not_break_a_checkpoint() -> None:
    store = InMemoryStateStore()
    odd: Any = {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "x", "data": b"\xff"}]}
    await agent(FakeProvider([Turn("Done")]), task_state_store=store).arun([odd], task_id="t", metadata={"k": {1, 2}})
    saved = await store.load("t")
    assert saved is not None
    assert saved.model_dump_json()
    assert saved.metadata == {"k": [1, 2]}

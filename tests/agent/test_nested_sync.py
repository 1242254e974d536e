"""Sync forms inside sync forms, on whatever thread: nothing waits for a thread that waits for it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import httpx
import pytest

from looopy_otel.agent import AgentLoop, InMemoryArtifactStore, ToolContext
from looopy_otel.core.background import background_loop
from looopy_otel.core.operation import AgentRun
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedProvider, ScriptedServer
from tests.agent.fakes import FakeProvider, Turn, agent, tool_texts
from tests.agent.recording import RecordingObserver

Ask = Callable[[AgentLoop], str]


def by_run(other: AgentLoop) -> str:
    return str(other.run("Go").output)


def by_subscribe(other: AgentLoop) -> str:
    stream = other.execute("Go")
    assert stream.subscribe().wait(20)
    assert stream.result is not None
    return str(stream.result.output)


def by_threads(other: AgentLoop) -> str:
    with ThreadPoolExecutor(2) as pool:
        return "".join(pool.map(by_run, [other, other]))


def asking(other: AgentLoop, ask: Ask, *, asynchronous: bool, name: str) -> AgentLoop:
    """An agent whose one tool asks another agent, in a thread or on the event loop."""

    def in_thread() -> str:
        return ask(other)

    async def on_loop() -> str:
        return ask(other)

    tool = on_loop if asynchronous else in_thread
    return agent(FakeProvider([Turn(calls=[(tool.__name__, {})]), Turn(name)]), tool, agent_id=name)


@pytest.mark.parametrize(("outer", "inner", "started"), list(product([False, True], [False, True], ["run", "arun"])))
def test_three_levels_of_run(outer: bool, inner: bool, started: str, observer: RecordingObserver) -> None:
    bottom = agent(FakeProvider([Turn("bottom")]), agent_id="bottom")
    middle = asking(bottom, by_run, asynchronous=inner, name="middle")
    top = asking(middle, by_run, asynchronous=outer, name="top")
    result = top.run("Hi") if started == "run" else asyncio.run(top.arun("Hi"))
    assert (result.output, result.llm_calls) == ("top", 5)
    assert [one.operation.identity.agent_id for one in observer.of(AgentRun)] == ["top", "middle", "bottom"]


@pytest.mark.parametrize("ask", [by_subscribe, by_threads])
def test_other_sync_forms_inside_a_run_inside_an_async_tool(ask: Ask) -> None:
    bottom = agent(FakeProvider([Turn("x")]), agent_id="bottom")
    middle = asking(bottom, ask, asynchronous=False, name="middle")
    assert asking(middle, by_run, asynchronous=True, name="top").run("Hi").output == "top"


def test_calls_of_a_provider_inside_a_run_inside_an_async_tool() -> None:
    provider = ScriptedProvider([Reply(text="answered")])
    seen: list[Any] = []

    def ask_the_model() -> str:
        message: Any = [{"role": "user", "content": "?"}]
        seen.extend(event.kind for event in provider.stream_sync(messages=message))
        return str(provider.call_sync(messages=message).message.content)

    model = FakeProvider([Turn(calls=[("ask_the_model", {})]), Turn("middle")])
    assert asking(agent(model, ask_the_model), by_run, asynchronous=True, name="top").run("Hi").output == "top"
    assert (tool_texts(model), seen[-1]) == (["answered"], "content-complete")


def test_run_in_a_callback_of_subscribe() -> None:
    bottom = agent(FakeProvider([Turn("x")]), agent_id="bottom")
    middle = asking(bottom, by_subscribe, asynchronous=False, name="middle")
    outputs: list[str] = []

    def on_next(event: Any) -> None:
        if event.kind == "task":
            outputs.append(by_run(middle))

    assert agent(FakeProvider([Turn("x")])).execute("Hi").subscribe(on_next).wait(20)
    assert outputs == ["middle"]


def test_a_tool_that_blocks_the_event_loop_does_not_hold_up_other_runs() -> None:
    blocked, release = threading.Event(), threading.Event()

    def wait_for_release() -> str:
        blocked.set()
        return str(release.wait(20))

    waiting = agent(FakeProvider([Turn(calls=[("wait_for_release", {})]), Turn("middle")]), wait_for_release)
    top = asking(waiting, by_run, asynchronous=True, name="top")
    stream = top.execute("Hi")
    subscription = stream.subscribe()
    assert blocked.wait(20)
    assert agent(FakeProvider([Turn("unrelated")])).run("Hi").output == "unrelated"
    assert stream.result is None
    release.set()
    assert subscription.wait(20)


def test_a_loop_that_is_blocked_by_other_means_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("looopy_otel.core.background.GRACE", 0.3)
    other = agent(FakeProvider([Turn("other")]), agent_id="other")

    async def waits_for_a_thread() -> str:
        with ThreadPoolExecutor(1) as pool:
            return str(pool.submit(by_run, other).result())

    provider = FakeProvider([Turn(calls=[("waits_for_a_thread", {})]), Turn("Done")])
    assert agent(provider, waits_for_a_thread).run("Hi").outcome == "completed"
    assert tool_texts(provider) == ["other"]


def test_the_loop_is_the_same_one_for_all_as_long_as_nothing_blocks_it() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({future.result() for future in [pool.submit(background_loop) for _ in range(20)]}) == 1


async def test_a_client_of_the_user_serves_run_and_call_sync() -> None:
    with ScriptedServer([Reply(text="Hello!")]) as server:
        client = httpx.AsyncClient()
        provider = LiteLLMProvider(base_url=server.url, model="m", http_client=client)
        loop = AgentLoop(agent_id="a", llm_provider=provider)

        def both() -> list[Any]:
            message: Any = [{"role": "user", "content": "Hi"}]
            answers = [(loop.run("Hi").output, provider.call_sync(messages=message).message.content) for _ in range(2)]
            asyncio.run_coroutine_threadsafe(client.aclose(), background_loop()).result()
            return answers

        assert await asyncio.to_thread(both) == [("Hello!", "Hello!")] * 2


INTERRUPTED = """
import os, signal, sys
from tests.agent.fakes import FakeProvider, Turn, agent

class Telling(FakeProvider):
    async def call(self, **arguments):
        async for event in super().call(**arguments):
            print("hanging", flush=True)  # It does after this one.
            yield event

inner = agent(Telling([Turn("Half", hang=True)]), agent_id="inner")
async def on_loop() -> str:
    return inner.run("Go").output
def in_thread() -> str:
    return inner.run("Go").output
tool = {"on_loop": on_loop, "in_thread": in_thread}[sys.argv[1]]
outer = agent(FakeProvider([Turn(calls=[(sys.argv[1], {})]), Turn("Done")]), tool)
try:
    outer.run("Hi")
except KeyboardInterrupt:
    print("interrupted", inner._blueprint.provider.closed, flush=True)
"""


@pytest.mark.parametrize("tool", ["on_loop", "in_thread"])
def test_an_interrupt_ends_nested_runs_and_the_process(tool: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, tool], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (said, process.returncode) == ("interrupted 1\n", 0)


FORKED = """
import os
import looopy_otel as lo
from tests.agent.fakes import FakeProvider, Turn, agent

lo.configure(exporters="none")
print(agent(FakeProvider([Turn("before")])).run("Hi").output, flush=True)
child = os.fork()
if child == 0:
    print(agent(FakeProvider([Turn("in the child")])).run("Hi").output, flush=True)
else:
    _, status = os.waitpid(child, 0)
    print(status)
"""


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "before\nin the child\n0\n", done.stderr


@pytest.mark.parametrize("form", ["create", "append"])
async def test_the_sync_forms_of_artifacts_refuse_to_block_their_own_loop(form: str) -> None:
    async def write(context: ToolContext) -> str:
        if form == "create":
            return context.artifacts.create_sync("a", "b").artifact_id
        return context.artifacts.append_sync("a", "b").artifact_id

    provider = FakeProvider([Turn(calls=[("write", {})]), Turn("Done")])
    await agent(provider, write, artifact_store=InMemoryArtifactStore()).arun("Hi")
    assert f"use 'await {form}(…)' there" in tool_texts(provider)[0]


def test_the_sync_forms_of_artifacts_say_so_when_their_loop_is_blocked() -> None:
    inner_provider = FakeProvider([Turn(calls=[("write", {})]), Turn("Done")])

    async def delegate(context: ToolContext) -> str:
        def write() -> str:
            return context.artifacts.create_sync("a", "b").artifact_id

        return str(agent(inner_provider, write).run("Go").output)

    provider = FakeProvider([Turn(calls=[("delegate", {})]), Turn("Done")])
    assert agent(provider, delegate, artifact_store=InMemoryArtifactStore()).run("Hi").outcome == "completed"
    assert "which a sync form such as run() blocks" in tool_texts(inner_provider)[0]

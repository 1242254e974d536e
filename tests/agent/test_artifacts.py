from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from looopy_otel.agent import ArtifactUpdateEvent, InMemoryArtifactStore, ToolContext
from tests.agent.fakes import FakeProvider, Turn, agent, tool_texts


async def write(context: ToolContext) -> str:
    artifact = await context.artifacts.create("report.md", "# One", mime_type="text/markdown", last_chunk=False)
    longer = await context.artifacts.append(artifact.artifact_id, "\nTwo", last_chunk=True)
    assert await context.artifacts.get(artifact.artifact_id) == longer
    assert list(await context.artifacts.list()) == [longer]
    return artifact.artifact_id


def write_sync(context: ToolContext) -> str:
    artifact = context.artifacts.create_sync("report.md", "# One", mime_type="text/markdown", last_chunk=False)
    context.artifacts.append_sync(artifact.artifact_id, "\nTwo", last_chunk=True)
    return artifact.artifact_id


@pytest.mark.parametrize("tool", [write, write_sync])
async def test_writing_an_artifact_keeps_it_and_tells_the_consumers(tool: Callable[..., Any]) -> None:
    store = InMemoryArtifactStore()
    provider = FakeProvider([Turn(calls=[(tool.__name__, {})]), Turn("Done")])
    events = [event async for event in agent(provider, tool, artifact_store=store).execute("Hi", task_id="t")]
    assert [event.kind for event in events] == [
        "task",
        "status-update",
        "artifact-update",
        "artifact-update",
        "status-update",
    ]
    first, second = (event for event in events if isinstance(event, ArtifactUpdateEvent))
    assert (first.artifact.content, first.append, first.last_chunk) == ("# One", False, False)
    assert (second.artifact.content, second.append, second.last_chunk) == ("\nTwo", True, True)
    kept = await store.get(tool_texts(provider)[0])
    assert kept is not None
    assert (kept.content, kept.name, kept.mime_type, kept.task_id) == ("# One\nTwo", "report.md", "text/markdown", "t")
    assert list(await store.list("t")) == list(await store.list()) == [kept]
    assert list(await store.list("other")) == []


async def test_an_agent_without_a_store_says_how_to_get_one() -> None:
    provider = FakeProvider([Turn(calls=[("write", {})]), Turn("Done")])
    await agent(provider, write).arun("Hi")
    assert "AgentLoop(artifact_store=InMemoryArtifactStore(), …)" in tool_texts(provider)[0]


async def test_appending_to_nothing() -> None:
    store = InMemoryArtifactStore()
    with pytest.raises(LookupError, match="no artifact 'x'"):
        await store.append("x", "text")
    assert await store.get("x") is None

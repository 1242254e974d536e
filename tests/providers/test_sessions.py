"""Which session, task and other facts LiteLLM is told of, and which identity the observer sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from looopy_otel.core import semconv
from looopy_otel.core.identity import Identity, current_identity, identity_scope, session
from looopy_otel.providers import LiteLLMProvider, RecordedRequest, ScriptedProvider
from looopy_otel.providers.reply import Reply
from tests.providers.conftest import Connect, Serve
from tests.providers.observing import TRACEPARENT, RememberingObserver

HELLO = [{"role": "user", "content": "Hello!"}]


def in_task(task_id: str) -> identity_scope:
    """What the loop does: everything of a run is inside its task."""
    return identity_scope(replace(current_identity(), agent_id="agent", task_id=task_id))


def told(request: RecordedRequest) -> tuple[str | None, Any]:
    return request.headers.get(semconv.LITELLM_SESSION_HEADER), request.json.get("metadata")


async def test_a_bare_call_has_no_session(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    await connect(server).call(messages=HELLO)
    assert told(server.requests[0]) == (None, None)
    assert observer.only.call.identity == Identity()


async def test_the_session_of_the_call(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    await connect(server).call(messages=HELLO, session_id="task-123")
    assert told(server.requests[0]) == ("task-123", {"session_id": "task-123"})
    assert observer.only.call.identity.session_id == "task-123"
    assert observer.only.call.session_id == "task-123"


async def test_the_open_session(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    with session("s-1", user_id="u-1", tags=["beta"], metadata={"tier": "pro"}, trace_name="support"):
        await connect(server).call(messages=HELLO)
    assert told(server.requests[0]) == (
        "s-1",
        {
            "session_id": "s-1",
            "trace_user_id": "u-1",
            "trace_name": "support",
            "trace_metadata": {"tier": "pro"},
            "tags": ["beta"],
        },
    )
    assert observer.only.call.identity.session_id == "s-1"


async def test_a_bare_loop_has_its_task_as_session(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve()
    with in_task("task_1"):
        await connect(server).call(messages=HELLO, session_id="task_1")
    assert told(server.requests[0]) == (
        "task_1",
        {"session_id": "task_1", "task_id": "task_1", "tags": ["task:task_1"]},
    )
    identity = observer.only.call.identity
    assert (identity.session_id, identity.task_id, identity.effective_session_id) == (None, "task_1", "task_1")


async def test_a_task_inside_a_session(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    with session("s-1", tags=["beta"]), in_task("task_1"):
        await connect(server).call(messages=HELLO, session_id="s-1")
        await connect(server).call(messages=HELLO)
    metadata = {"session_id": "s-1", "task_id": "task_1", "tags": ["beta", "task:task_1"]}
    assert [told(request) for request in server.requests] == [("s-1", metadata)] * 2
    assert {handle.call.identity.session_id for handle in observer.handles} == {"s-1"}


async def test_a_session_of_the_call_stands_in_for_the_open_one(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve()
    with session("s-1", user_id="u-1"):
        await connect(server).call(messages=HELLO, session_id="other")
    assert told(server.requests[0])[0] == "other"
    identity = observer.only.call.identity
    assert (identity.session_id, identity.user_id) == ("other", "u-1")


async def test_the_session_is_that_of_the_place_of_the_call(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve()
    provider = connect(server)
    with session("first"):
        plain, streamed = provider.call(messages=HELLO), provider.call(messages=HELLO)
    with session("second"):
        await plain
        async for _ in streamed:
            pass
    assert [told(request)[0] for request in server.requests] == ["first", "first"]
    assert [handle.operation.identity.session_id for handle in observer.handles] == ["first", "first"]


async def test_metadata_is_merged_and_tags_are_joined(serve: Serve, connect: Connect) -> None:
    server = serve()
    provider = connect(server, extra_params={"metadata": {"team": "ops", "tier": "free", "tags": "single"}})
    with session("s-1", tags=["beta"]), in_task("task_1"):
        await provider.call(messages=HELLO, metadata={"tier": "pro", "run": 7, "tags": ["mine", "beta"]})
    assert told(server.requests[0])[1] == {
        "session_id": "s-1",
        "task_id": "task_1",
        "team": "ops",
        "tier": "free",
        "run": 7,
        "tags": ["beta", "task:task_1", "mine", "single"],
    }


@pytest.mark.parametrize(
    "session_id", ["sitzung-ü", "日本", "two\r\nx-evil: 1", "tab\there", " padded ", "x" * 5000], ids=repr
)
async def test_a_session_that_no_header_can_carry_goes_into_the_metadata_only(
    serve: Serve, connect: Connect, session_id: str
) -> None:
    server = serve()
    await connect(server).call(messages=HELLO, session_id=session_id)
    assert told(server.requests[0]) == (None, {"session_id": session_id})
    assert "x-evil" not in server.requests[0].headers


def test_a_session_id_is_a_text() -> None:
    with pytest.raises(TypeError, match="session_id must be a string, not int"):
        LiteLLMProvider(base_url="http://localhost", model="gpt-4").call(messages=HELLO, session_id=7)  # pyright: ignore[reportArgumentType]


async def test_the_headers_of_the_observer_are_sent(
    serve: Serve, connect: Connect, observer: RememberingObserver
) -> None:
    server = serve()
    provider = connect(server)
    await provider.call(messages=HELLO)
    async for _ in provider.call(messages=HELLO):
        pass
    assert [request.headers["traceparent"] for request in server.requests] == [TRACEPARENT] * 2


def test_the_sync_forms_take_the_callers_session(serve: Serve, connect: Connect, observer: RememberingObserver) -> None:
    server = serve()
    provider = connect(server)
    with session("s-1"):
        provider.call_sync(messages=HELLO)
        list(provider.stream_sync(messages=HELLO))
        provider.call(messages=HELLO).subscribe().wait(10)
    assert [told(request)[0] for request in server.requests] == ["s-1"] * 3


async def test_the_scripted_provider_follows_the_same_rules(observer: RememberingObserver) -> None:
    provider = ScriptedProvider([Reply(text="hi")])
    with session("s-1"), in_task("task_1"):
        await provider.call(messages=HELLO, session_id="task_1")
    assert provider.requests[0].json["metadata"] == {"session_id": "task_1"}
    assert observer.only.call.identity.session_id == "s-1"

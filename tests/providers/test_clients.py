"""HTTP clients: one per event loop, closed in time, or the user's own."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Iterator

import httpx
import pytest

from looopy_otel.providers import LiteLLMConfigError, LiteLLMProvider, LiteLLMTimeoutError, Reply
from tests.providers.conftest import Connect, Serve

HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Fails when a socket, a transport or a coroutine is left to the garbage collector."""
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


@pytest.mark.usefixtures("no_leaks")
def test_one_provider_in_several_event_loops(serve: Serve, connect: Connect) -> None:
    server = serve()
    provider = connect(server)

    async def use() -> None:
        await provider.call(messages=HELLO)
        await asyncio.gather(provider.call(messages=HELLO), provider.call(messages=HELLO))
        async for _ in provider.call(messages=HELLO):
            pass
        async for _ in provider.call(messages=HELLO):
            break

    for _ in range(3):
        asyncio.run(use())
    assert len(server.requests) == 15


@pytest.mark.usefixtures("no_leaks")
def test_a_provider_that_is_dropped_leaves_nothing_open(serve: Serve, connect: Connect) -> None:
    server = serve()

    async def use() -> None:
        await connect(server).call(messages=HELLO)
        await connect(server, "gpt-4o").call(messages=HELLO)

    asyncio.run(use())
    assert server.connections == 1


async def test_connections_are_used_again(serve: Serve, connect: Connect) -> None:
    server = serve()
    provider = connect(server)
    for _ in range(3):
        await provider.call(messages=HELLO)
    assert server.connections == 1
    await provider.aclose()
    await provider.call(messages=HELLO)
    assert server.connections == 2
    async with connect(server) as another:
        await another.call(messages=HELLO)
        await provider.aclose()
        await another.call(messages=HELLO)
    assert server.connections == 2


def test_close_of_the_sync_forms(serve: Serve, connect: Connect) -> None:
    gc.collect()  # A provider of an earlier test that awaits it would still be a user of the connections.
    server = serve()
    provider = connect(server)
    provider.call_sync(messages=HELLO)
    provider.close()
    provider.call_sync(messages=HELLO)
    assert server.connections == 2


async def test_no_cookie_is_kept(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi", headers={"set-cookie": "session=someone; Path=/"}))
    provider = connect(server)
    await provider.call(messages=HELLO)
    await provider.call(messages=HELLO)
    assert "cookie" not in server.requests[1].headers


async def test_an_async_client_of_the_user(serve: Serve, connect: Connect) -> None:
    server = serve(Reply(text="hi"), Reply(text="hi"), Reply(delay=60))
    async with httpx.AsyncClient(headers={"x-mine": "yes"}, timeout=0.001) as client:
        provider = connect(server, http_client=client)
        await provider.call(messages=HELLO)
        assert [event.kind async for event in provider.call(messages=HELLO)] == ["content-delta", "content-complete"]
        provider.update_config(timeout=0.3)
        with pytest.raises(LiteLLMTimeoutError, match=r"after 0\.3s"):
            await provider.call(messages=HELLO)
        await provider.aclose()
        assert not client.is_closed
    assert [request.headers["x-mine"] for request in server.requests] == ["yes"] * 3


# The client is the test's own, and its loop is gone before it could be closed there.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_async_client_of_another_event_loop_is_named(serve: Serve) -> None:
    server = serve(Reply(text="Hello!"))
    provider = LiteLLMProvider(base_url=server.url, model="gpt-4", http_client=httpx.AsyncClient())

    async def ask() -> str | None:
        return str((await provider.call(messages=HELLO)).message.content)

    assert asyncio.run(ask()) == "Hello!"
    with pytest.raises(LiteLLMConfigError, match="belong to another event loop"):
        asyncio.run(ask())
    gc.collect()

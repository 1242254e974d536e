"""A scripted server and a provider that talks to it, and an observer that remembers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, Unpack

import pytest

from looopy_otel.core import hooks
from looopy_otel.providers import LiteLLMProvider, Reply, ScriptedServer
from looopy_otel.providers.factories import ProviderOptions
from looopy_otel.providers.reply import Script
from tests.providers.observing import RememberingObserver

KEY = "sk-test-0123456789abcdef"


class Serve(Protocol):
    """Starts a server; it is closed when the test ends."""

    def __call__(self, *replies: Reply, script: Script | None = None) -> ScriptedServer: ...


class Connect(Protocol):
    """Makes a provider for a server."""

    def __call__(
        self, server: ScriptedServer, model: str = "gpt-4", **options: Unpack[ProviderOptions]
    ) -> LiteLLMProvider: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ScriptedServer] = []

    def start(*replies: Reply, script: Script | None = None) -> ScriptedServer:
        servers.append(ScriptedServer(script or replies or [Reply(text="Hello!")]))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Connect:
    def make(server: ScriptedServer, model: str = "gpt-4", **options: Unpack[ProviderOptions]) -> LiteLLMProvider:
        return LiteLLMProvider(base_url=server.url, model=model, api_key=KEY, **options)

    return make


@pytest.fixture
def observer() -> Iterator[RememberingObserver]:
    remembering = RememberingObserver()
    hooks.install(remembering)
    yield remembering
    hooks.remove(remembering)

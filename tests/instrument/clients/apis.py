"""The APIs of the SDKs, each told in the same words, so that one suite runs over all of them."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai

from looopy_otel.instrument.anthropic import instrument_anthropic, wrap_anthropic
from looopy_otel.instrument.call import WrapOptions
from looopy_otel.instrument.openai import instrument_openai, wrap_openai
from tests.support.model_server import ModelServer

QUESTION = "Who is there?"
MESSAGES = [{"role": "user", "content": QUESTION}]


@dataclass(frozen=True)
class Api:
    """One API.

    Attributes:
        name: Its name.
        sdk: The SDK.
        model: A model of the vendor.
        resource: Where its methods stand in a client.
        arguments: The least that a call needs.
        sync_class: The client.
        async_class: The async client.
        path: The path of its requests.
        text: The text of an answer.
        chunk_text: The text in a chunk of a stream.
        finish: The vendor's words for an answer that is complete, and for one that asks for tools.
        embeds: True for the one that answers with no message.
    """

    name: str
    sdk: Any
    model: str
    resource: tuple[str, ...]
    arguments: Mapping[str, Any]
    sync_class: Any
    async_class: Any
    path: str
    text: Callable[[Any], str]
    chunk_text: Callable[[Any], str]
    finish: tuple[str, str]
    embeds: bool = False

    @property
    def usage_is_asked_for(self) -> bool:
        """True where a stream tells its usage only when asked."""
        return self.name == "chat"


CHAT = Api(
    "chat", openai, "gpt-4o", ("chat", "completions"), {"messages": MESSAGES}, openai.OpenAI, openai.AsyncOpenAI,
    "/v1/chat/completions",
    lambda answer: answer.choices[0].message.content,
    lambda chunk: (chunk.choices[0].delta.content or "") if chunk.choices else "",
    ("stop", "tool_calls"),
)  # fmt: skip
RESPONSES = Api(
    "responses", openai, "gpt-4o", ("responses",), {"input": QUESTION}, openai.OpenAI, openai.AsyncOpenAI,
    "/v1/responses",
    lambda answer: answer.output_text,
    lambda event: event.delta if event.type == "response.output_text.delta" else "",
    ("completed", "completed"),
)  # fmt: skip
EMBEDDINGS = Api(
    "embeddings", openai, "text-embedding-3-small", ("embeddings",), {"input": ["one", "two"]},
    openai.OpenAI, openai.AsyncOpenAI, "/v1/embeddings",
    lambda answer: f"{len(answer.data)} of {len(answer.data[0].embedding)}",
    lambda chunk: "", ("", ""), embeds=True,
)  # fmt: skip
MESSAGES_API = Api(
    "messages", anthropic, "claude-opus-4-8", ("messages",), {"messages": MESSAGES, "max_tokens": 99},
    anthropic.Anthropic, anthropic.AsyncAnthropic, "/v1/messages",
    lambda answer: "".join(block.text for block in answer.content if block.type == "text"),
    lambda event: getattr(event.delta, "text", "") if event.type == "content_block_delta" else "",
    ("end_turn", "tool_use"),
)  # fmt: skip


@dataclass
class Subject:
    """One API through a sync or an async client; every method is awaited, whatever the client is.

    Attributes:
        api: The API.
        asynchronous: True for the async client.
        server: Who answers.
    """

    api: Api
    asynchronous: bool
    server: ModelServer
    _clients: list[Any] = field(default_factory=list[Any])

    def plain_client(self, **settings: Any) -> Any:
        """A client of the SDK as it is."""
        base = self.server.url if self.api.sdk is anthropic else f"{self.server.url}/v1"
        cls = self.api.async_class if self.asynchronous else self.api.sync_class
        client = cls(**{"base_url": base, "api_key": "sk-test", "max_retries": 0, **settings})
        self._clients.append(client)
        return client

    def client(self, client: Any = None, **options: Any) -> Any:
        """A wrapped client."""
        wrap: Any = wrap_anthropic if self.api.sdk is anthropic else wrap_openai
        return wrap(client or self.plain_client(), WrapOptions(**options))

    def instrument(self, **options: Any) -> None:
        """Records all clients."""
        (instrument_anthropic if self.api.sdk is anthropic else instrument_openai)(**options)

    def resource(self, client: Any) -> Any:
        """Where the API's methods stand."""
        for name in self.api.resource:
            client = getattr(client, name)
        return client

    async def create(self, client: Any, **arguments: Any) -> Any:
        """Calls ``create``."""
        method = self.resource(client).create
        return await settled(method(**{"model": self.api.model, **self.api.arguments, **arguments}))

    async def raw(self, client: Any, **arguments: Any) -> Any:
        """Calls ``with_raw_response.create``."""
        method = self.resource(client).with_raw_response.create
        return await settled(method(**{"model": self.api.model, **self.api.arguments, **arguments}))

    def streaming(self, client: Any, **arguments: Any) -> Entered:
        """Calls ``with_streaming_response.create``."""
        method = self.resource(client).with_streaming_response.create
        return Entered(method(**{"model": self.api.model, **self.api.arguments, **arguments}))

    async def stream(self, client: Any, **arguments: Any) -> Any:
        """Calls ``create(stream=True)``."""
        return await self.create(client, stream=True, **arguments)

    def helper(self, client: Any) -> Entered:
        """Calls ``stream``, the SDK's helper."""
        resource = self.resource(client)
        method = resource.stream if hasattr(resource, "stream") else client.beta.chat.completions.stream
        return Entered(method(model=self.api.model, **self.api.arguments))

    async def close_clients(self) -> None:
        """Closes what was opened."""
        for client in self._clients:
            await settled(client.close())


class Entered:
    """``async with`` for sync and async context managers."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    async def __aenter__(self) -> Any:
        if hasattr(self._manager, "__aenter__"):
            return await self._manager.__aenter__()
        return self._manager.__enter__()

    async def __aexit__(self, *raised: Any) -> Any:
        if hasattr(self._manager, "__aexit__"):
            return await self._manager.__aexit__(*raised)
        return self._manager.__exit__(*raised)


async def settled(value: Any) -> Any:
    """A value, awaited where it has to be."""
    return await value if inspect.isawaitable(value) else value


async def take(stream: Any, count: int | None = None) -> list[Any]:
    """The chunks of a stream by a loop over it, left after so many of them."""
    chunks: list[Any] = []
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == count:
                break
    else:
        for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == count:
                break
    return chunks


async def following(stream: Any) -> Any:
    """The next chunk of a stream; None at its end."""
    return await anext(stream, None) if hasattr(stream, "__anext__") else next(stream, None)


def collect() -> None:
    """Collects what nobody refers to any more."""
    gc.collect()

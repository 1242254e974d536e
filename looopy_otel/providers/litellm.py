"""The LiteLLM provider: calls a LiteLLM proxy, or any OpenAI-compatible endpoint, over HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack, cast

from pydantic import SecretStr

from looopy_otel.core.background import run_on_every_loop
from looopy_otel.core.operation import Middleware
from looopy_otel.core.types import LLMResponse, MessageLike, ToolLike
from looopy_otel.providers.call import ProviderCall
from looopy_otel.providers.events import SyncEventStream
from looopy_otel.providers.exchange import perform
from looopy_otel.providers.options import LiteLLMOptions, OptionChanges, changed, options_from
from looopy_otel.providers.preparing import CallArguments, changed_parameters, prepare
from looopy_otel.providers.sending import CallSender
from looopy_otel.providers.sync_transport import open_on_thread
from looopy_otel.providers.transport import (
    AsyncHTTPClient,
    ClientUser,
    HTTPClient,
    OpenResponse,
    SyncHTTPClient,
    clients,
    is_http_client,
    open_with,
)


class LiteLLMProvider:
    """An LLM provider over a LiteLLM proxy.

    Its calls are announced to the observer, so they are traced as soon as ``looopy_otel.configure()`` has run.
    One provider serves any number of tasks, threads and event loops at once.

    ``response.model`` is the model that answered, as far as the endpoint tells: the proxy mostly repeats the alias, and
    names the model behind it in a header. A dated version such as ``gpt-4-0613`` appears only where the endpoint
    gives it.
    """

    announces_calls = True

    def __init__(
        self,
        *,
        base_url: str,
        model: str,
        api_key: str | SecretStr | None = None,
        temperature: float | None = 0.7,
        max_tokens: int | None = 4096,
        top_p: float | None = 1.0,
        timeout: float = 60.0,
        extra_params: Mapping[str, Any] | None = None,
        max_retries: int = 0,
        debug_log_path: str | Path | None = None,
        http_client: HTTPClient | None = None,
        middleware: Sequence[Middleware] = (),
        tracing: bool = True,
    ) -> None:
        """Makes the provider; nothing is sent.

        Args:
            base_url: The proxy's URL, with or without ``/v1``.
            model: The model's name, as the proxy knows it.
            api_key: The proxy's key.
            temperature: 0 to 2, or None to send none.
            max_tokens: At least 1, or None to send none.
            top_p: Above 0 and up to 1, or None to send none.
            timeout: Seconds for the whole call; for a stream, to the first chunk, then between chunks.
            extra_params: Further fields of the request body, which win; ``metadata`` and ``stream_options`` are merged,
                and a stream asks for usage whatever these say.
            max_retries: Further tries after a failed connection or a status 408, 429 or 5xx, within the timeout and
                before anything was streamed; ``Retry-After`` is honoured.
            debug_log_path: A file that gets the raw chunks and the events of every call, as JSON lines, without
                secrets, when the call has ended.
            http_client: An ``httpx.AsyncClient`` or ``httpx.Client``, or what behaves like one; it stays yours to
                close. A sync client works on a daemon thread per call; a call of it that is cancelled before the
                response begins leaves its thread waiting until it does, or until nothing came for `timeout`. By
                default one async client per event loop.
            middleware: Around each call, outermost first.
            tracing: False announces nothing.

        Raises:
            LiteLLMConfigError: Naming every wrong option and what is allowed.
        """
        self._options = options_from(
            {
                "base_url": base_url,
                "model": model,
                "api_key": api_key,
                "temperature": temperature,
                "max_tokens": max_tokens,
                "top_p": top_p,
                "timeout": timeout,
                "extra_params": extra_params,
                "max_retries": max_retries,
                "debug_log_path": debug_log_path,
            },
            http_client=http_client is None or is_http_client(http_client),
            middleware=_are_callables(middleware),
        )
        self._user = ClientUser()
        self._open = _opening(http_client, self._user)
        self._middleware = tuple(middleware)
        self._tracing = tracing

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._options.base_url!r}, model={self.model!r})"

    async def __aenter__(self) -> LiteLLMProvider:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def model(self) -> str:
        """The model that the next call asks for."""
        return self._options.requested_model

    @property
    def options(self) -> LiteLLMOptions:
        """The options of the next call."""
        return self._options

    def update_config(self, **changes: Unpack[OptionChanges]) -> None:
        """Changes options for later calls; those under way keep theirs.

        Args:
            **changes: Options by name; see `LiteLLMOptions`.

        Raises:
            LiteLLMConfigError: Naming every wrong option and what is allowed; then nothing is changed.
        """
        self._options = changed(self._options, changes)

    def call(
        self,
        *,
        messages: Sequence[MessageLike],
        tools: Sequence[ToolLike] | None = None,
        session_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tool_choice: Any = None,
        response_format: Any = None,
        model: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> ProviderCall:
        """Prepares one call; nothing is sent before it is awaited, iterated or subscribed to.

        Args:
            messages: The conversation.
            tools: What the model may call: OpenAI's nested form, the flat one, or `ToolDefinition`.
            session_id: Goes to LiteLLM as the session; by default the session that is open here, else the task.
            metadata: Goes to LiteLLM with the call; ``tags`` are joined with those of the session.
            tool_choice: As in OpenAI's chat completions.
            response_format: As in OpenAI's chat completions.
            model: The model of this call; by default the provider's.
            parameters: What else steers the model in this call, such as ``{"temperature": 0}``; each wins over the
                option, or the field of `extra_params`, of its name. None is not sent.

        Returns:
            The call: ``await`` it for an `LLMResponse`, ``async for`` over it for events.

        Raises:
            TypeError: If a message or a tool is of a wrong type.
            ValueError: If a message has no role, or a tool has no name.
        """
        options = self._options
        endpoint = options.endpoint
        operation = prepare(
            model=model or options.requested_model,
            messages=messages,
            tools=tools,
            session_id=session_id,
            metadata=metadata,
            tool_choice=tool_choice,
            response_format=response_format,
        )
        operation = replace(
            operation,
            parameters=changed_parameters(options.parameters, parameters),
            server_address=endpoint.hostname,
            server_port=endpoint.port or (443 if endpoint.scheme == "https" else 80),
        )
        send = CallSender(options, self._open)
        return ProviderCall(operation, partial(perform, send=send, tracing=self._tracing), self._middleware)

    def call_sync(self, *, messages: Sequence[MessageLike], **arguments: Unpack[CallArguments]) -> LLMResponse:
        """Makes one plain call from sync code; the arguments are those of `call`.

        It works where an event loop is running too, and blocks that loop meanwhile.

        Raises:
            LiteLLMError: If the call fails.
        """
        return self.call(messages=messages, **arguments).result()

    def stream_sync(self, *, messages: Sequence[MessageLike], **arguments: Unpack[CallArguments]) -> SyncEventStream:
        """Streams one call from sync code; the arguments are those of `call`.

        Returns:
            An iterator of events, which raises `LiteLLMError` if the call fails; leaving it, or its ``with`` block,
            ends the call.
        """
        return self.call(messages=messages, **arguments).events()

    async def aclose(self) -> None:
        """Closes the connections of this event loop, unless another provider uses them; a later call opens new ones.

        Not needed under ``asyncio.run``, which closes them when it ends. A client of yours stays open.
        """
        await clients.leave(self._user)

    def close(self) -> None:
        """Closes the connections of the sync forms, as `aclose` does; for code without an event loop."""
        run_on_every_loop(self.aclose)


def _are_callables(values: object) -> bool:
    return isinstance(values, Iterable) and all(map(callable, cast("Iterable[object]", values)))


def _opening(client: HTTPClient | None, user: ClientUser) -> OpenResponse:
    if client is None:
        return partial(clients.open, user)
    if hasattr(client, "aclose"):
        return partial(open_with, cast("AsyncHTTPClient", client))
    return partial(open_on_thread, cast("SyncHTTPClient", client))

"""Clients of SDKs that come from one generator: OpenAI's and Anthropic's, wrapped one by one or patched as a whole.

Every method of theirs (``create``, ``parse``, ``stream``, the raw and the streaming forms, beta) ends in the client's
``request``; so that is where calls are seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from types import ModuleType
from typing import Any, cast

from looopy_otel.core import hooks
from looopy_otel.core.guard import guard
from looopy_otel.core.operation import LLMCall
from looopy_otel.instrument.call import WrapOptions
from looopy_otel.instrument.patching import lasting, patch, uninstrument
from looopy_otel.instrument.stainless.exchange import Exchange
from looopy_otel.instrument.stainless.hooks import Note, is_recorded, note_delay, note_refusal, note_response, noted
from looopy_otel.instrument.stainless.request import Route, Sdk, SdkRequest
from looopy_otel.instrument.stainless.stream import copied_as


class TracedClient:
    """What the classes of wrapped clients have in common.

    Attributes:
        looopy_options: What the user said when the client was wrapped.
        looopy_request: What another instrumentation had put in the place of the client's ``request``, as Logfire does;
            it is called inside ours.
    """

    looopy_options: WrapOptions = WrapOptions()
    looopy_request: Callable[..., Any] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Keeps the classes made here from the hook of the client's own class, which is for its author's."""


def wrap_client(sdk: Sdk, client: Any, options: WrapOptions) -> Any:
    """A copy of a client that records its calls and shares its HTTP client.

    Args:
        sdk: The SDK.
        client: The client; it stays as it is. One that is wrapped already comes back as it is, unless there are new
            options, which then hold beside those that it has.
        options: What the user says.

    Raises:
        TypeError: If it is no client of such an SDK.
    """
    if not any(base.__name__ in ("SyncAPIClient", "AsyncAPIClient") for base in client.__class__.__mro__):
        raise TypeError(f"{client.__class__.__name__} is no client of the {sdk.name} SDK")
    if isinstance(client, TracedClient):
        options = client.looopy_options.joined(options)
        if options == client.looopy_options:
            return client
    wrapped = copied_as(_traced_class(sdk, client.__class__), client)
    wrapped.looopy_options = options
    _rebuild(wrapped, client)
    return wrapped


def _rebuild(wrapped: Any, client: Any) -> None:
    """Has what refers to the client refer to its copy: resources that were made already, and an SDK's middleware."""
    fields: dict[str, Any] = wrapped.__dict__
    if "request" in fields:
        wrapped.looopy_request = fields.pop("request")
    for name, value in list(fields.items()):
        if isinstance(getattr(wrapped.__class__, name, None), functools.cached_property):
            delattr(wrapped, name)
        elif getattr(value, "_client", None) is client or name in ("with_raw_response", "with_streaming_response"):
            setattr(wrapped, name, value.__class__(wrapped))
    if getattr(wrapped, "_middleware_chain", None) is not None:
        wrapped._middleware_chain = wrapped._build_middleware_chain()


def instrument_sdk(
    sdk: Sdk,
    base_client: ModuleType,
    options: WrapOptions,
    *,
    name: str | None = None,
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Records the calls of all clients, until `uninstrument`; those that are wrapped are recorded once, as before.

    Args:
        sdk: The SDK.
        base_client: Its module ``_base_client``.
        options: What the user says; those of the last call hold.
        name: What `uninstrument` is told to undo it; by default that of the SDK.
        wanted: Whether a call that is made here and now is to be recorded.
    """
    name = name or sdk.name
    uninstrument(name)
    holds = lasting(name)
    base: Any = base_client.BaseClient
    clients: tuple[Any, Any] = (base_client.SyncAPIClient, base_client.AsyncAPIClient)
    for owner, request in zip(clients, (_patched_request, _patched_async_request), strict=True):
        for one in (owner, *_patched_by_others(owner)):
            patch(name, one, "request", request(sdk, one.request, options, lambda: holds() and wanted()))
        patch(name, owner, "_process_response", _patched_hook(owner._process_response, note_response, holds))
    patch(name, base, "_should_retry", _patched_hook(base._should_retry, note_refusal, holds))
    waiting = _patched_hook(base._calculate_retry_timeout, note_delay, holds)
    patch(name, base, "_calculate_retry_timeout", waiting)
    native: Any = base.__dict__.get("_tracer")
    if isinstance(native, property):
        tracer = property(lambda self: None if holds() and is_recorded() else native.__get__(self))
        patch(name, base, "_tracer", tracer)


def _patched_by_others(owner: Any) -> Iterator[Any]:
    """The classes of clients whose ``request`` another instrumentation has wrapped, as Logfire does."""
    subclasses: list[type[Any]] = owner.__subclasses__()
    for one in subclasses:
        if not issubclass(one, TracedClient):
            if hasattr(vars(one).get("request"), "__wrapped__"):
                yield one
            yield from _patched_by_others(one)


def _patched_request(
    sdk: Sdk, original: Callable[..., Any], options: WrapOptions, wanted: Callable[[], bool]
) -> Callable[..., Any]:
    @functools.wraps(original)
    def request(self: Any, cast_to: Any, *args: Any, **kwargs: Any) -> Any:
        send = _Sender(functools.partial(original, self), cast_to, args, kwargs)
        seen = isinstance(self, TracedClient) or not wanted()
        exchange = None if seen else _exchange(sdk, self, options, send)
        return send(send.options) if exchange is None else exchange.run(send)

    return request


def _patched_async_request(
    sdk: Sdk, original: Callable[..., Any], options: WrapOptions, wanted: Callable[[], bool]
) -> Callable[..., Any]:
    @functools.wraps(original)
    async def request(self: Any, cast_to: Any, *args: Any, **kwargs: Any) -> Any:
        send = _Sender(functools.partial(original, self), cast_to, args, kwargs)
        seen = isinstance(self, TracedClient) or not wanted()
        exchange = None if seen else _exchange(sdk, self, options, send)
        return await (send(send.options) if exchange is None else exchange.arun(send))

    return request


def _patched_hook(original: Callable[..., Any], note: Note, holds: Callable[[], bool]) -> Callable[..., Any]:
    @functools.wraps(original)
    def hook(self: Any, *args: Any, **kwargs: Any) -> Any:
        skip = isinstance(self, TracedClient) or not holds()
        return noted(self, functools.partial(original, self), note, args, kwargs, skip=skip)

    return hook


@lru_cache(maxsize=256)
def _traced_class(sdk: Sdk, cls: type[Any]) -> type[Any]:
    """The subclass of a client's class that records what goes through `request`."""
    if issubclass(cls, TracedClient):
        return cls
    asynchronous = any(base.__name__ == "AsyncAPIClient" for base in cls.__mro__)
    base = _traced_async_class(sdk, cls) if asynchronous else _traced_sync_class(sdk, cls)
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(base, name, getattr(cls, name))
    return base


def _traced_sync_class(sdk: Sdk, cls: Any) -> type[Any]:
    class Traced(_hooked(cls)):
        def request(self, cast_to: Any, *args: Any, **kwargs: Any) -> Any:
            parent: Any = super()
            send = _Sender(self.looopy_request or parent.request, cast_to, args, kwargs)
            exchange = _exchange(sdk, self, self.looopy_options, send)
            return send(send.options) if exchange is None else exchange.run(send)

    return Traced


def _traced_async_class(sdk: Sdk, cls: Any) -> type[Any]:
    class Traced(_hooked(cls)):
        async def request(self, cast_to: Any, *args: Any, **kwargs: Any) -> Any:
            parent: Any = super()
            send = _Sender(self.looopy_request or parent.request, cast_to, args, kwargs)
            exchange = _exchange(sdk, self, self.looopy_options, send)
            return await (send(send.options) if exchange is None else exchange.arun(send))

    return Traced


def _hooked(cls: Any) -> Any:
    """A subclass whose copies are wrapped too, and whose retries are seen."""

    class Hooked(TracedClient, cls):
        def copy(self, *args: Any, **kwargs: Any) -> Any:
            parent: Any = super()
            copied = parent.copy(*args, **kwargs)
            copied.looopy_options = self.looopy_options
            return copied

        def with_options(self, *args: Any, **kwargs: Any) -> Any:
            return self.copy(*args, **kwargs)

        def _process_response(self, *args: Any, **kwargs: Any) -> Any:
            parent: Any = super()
            return noted(self, parent._process_response, note_response, args, kwargs)

        def _should_retry(self, *args: Any, **kwargs: Any) -> Any:
            parent: Any = super()
            return noted(self, parent._should_retry, note_refusal, args, kwargs)

        def _calculate_retry_timeout(self, *args: Any, **kwargs: Any) -> Any:
            parent: Any = super()
            return noted(self, parent._calculate_retry_timeout, note_delay, args, kwargs)

        if isinstance(getattr(cls, "_tracer", None), property):

            @property
            def _tracer(self) -> Any:
                parent: Any = super()
                return None if is_recorded() else parent._tracer

    return Hooked


class _Sender:
    """The SDK's own ``request`` with the arguments of one call, whose options may be others.

    Args:
        request: The method.
        cast_to: Its first argument.
        args: What follows it by position.
        kwargs: What follows it by name.

    Attributes:
        options: The SDK's options of this call.
    """

    def __init__(
        self, request: Callable[..., Any], cast_to: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.cast_to = cast_to
        self.kwargs = kwargs
        self._request = request
        self._args = args
        self.options: Any = args[0] if args else kwargs["options"]

    def __call__(self, options: Any) -> Any:
        if self._args:
            return self._request(self.cast_to, options, *self._args[1:], **self.kwargs)
        return self._request(self.cast_to, **{**self.kwargs, "options": options})

    def keep_iterators(self) -> None:
        """Makes lists of what can be read only once, such as messages from a generator: it is read here and sent."""
        fields: Mapping[str, Any] = self.options.json_data
        once = {name: cast("Iterator[Any]", value) for name, value in fields.items() if isinstance(value, Iterator)}
        lists = {name: list(value) for name, value in once.items()}
        if lists:
            self.options = self.options.model_copy(update={"json_data": {**fields, **lists}})


def _exchange(sdk: Sdk, client: Any, options: WrapOptions, send: _Sender) -> Exchange | None:
    """The call that a request is; None for one that calls no model, or where nobody wants to know of it."""
    if hooks.installed() is None and not options.middleware:
        return None
    route = sdk.route_of(send.options.method, send.options.url)
    if route is None or not isinstance(send.options.json_data, Mapping):
        return None
    send.keep_iterators()
    with guard("instrument.request"):
        request = SdkRequest(
            client=client,
            options=send.options,
            cast_to=send.cast_to,
            stream=bool(send.kwargs.get("stream")),
            stream_cls=send.kwargs.get("stream_cls"),
        )
        return Exchange(request, _operation(sdk, route, request, options), route, options)
    return None


def _operation(sdk: Sdk, route: Route, request: SdkRequest, options: WrapOptions) -> LLMCall:
    operation = route.wire_format.call(request.arguments)
    vendor = sdk.vendor(request.client, operation.model)
    url = request.client.base_url
    operation = replace(
        operation,
        system=vendor.system,
        provider_name=vendor.provider_name,
        stream=request.stream,
        server_address=url.host or None,
        server_port=url.port or {"https": 443, "http": 80}.get(url.scheme),
    )
    return options.named(operation)

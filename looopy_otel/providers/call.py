"""The cold call: one object that can be awaited, streamed, or subscribed to, once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, Protocol

from looopy_otel.core.background import run_blocking
from looopy_otel.core.errors import AlreadyUsedError, MissingExtraError
from looopy_otel.core.operation import CallNext, LLMCall, Middleware
from looopy_otel.core.types import LLMResponse
from looopy_otel.core.vendors import ModelVendor, vendor_named
from looopy_otel.providers.events import EventStream, Pump, SyncEventStream
from looopy_otel.providers.exchange import Exchange
from looopy_otel.providers.subscription import Subscription


class Performer(Protocol):
    """Does one call from announcement to end."""

    def __call__(
        self, operation: LLMCall, exchange: Exchange, /, *, middleware: Sequence[Middleware]
    ) -> Coroutine[Any, Any, LLMResponse]:
        """Does it.

        Args:
            operation: The call.
            exchange: A fresh one.
            middleware: Around the call, outermost first.
        """
        ...


class ProviderCall(Coroutine[Any, Any, LLMResponse]):
    """One LLM call that has not been sent yet. Use it once, in one of these ways.

    - ``response = await call``: one plain request. As it is a coroutine, ``asyncio.create_task``, ``TaskGroup``,
      ``gather`` and ``asyncio.run`` take it too.
    - ``async for event in call``: one streamed request; the last event is ``content-complete`` with the response.
      Leaving the loop ends the call and closes its connection.
    - ``call.subscribe(on_next, on_error, on_completed)`` or ``call.to_observable()``: one plain request, whose
      response is the only item.
    - ``call.result()`` and ``call.events()``: the same two for sync code.

    Nothing is sent and no span opens before. The session is that of the place where the call was made.
    A second use raises `AlreadyUsedError`.
    """

    def __init__(self, operation: LLMCall, perform: Performer, middleware: Sequence[Middleware] = ()) -> None:
        self._operation = operation
        self._performer = perform
        self._middleware = tuple(middleware)
        self._perform = partial(perform, middleware=self._middleware)
        self._context = copy_context()
        self._used = False
        self._coroutine: Coroutine[Any, Any, LLMResponse] | None = None
        self._driver: object = None
        self._pump: Pump | None = None

    def __repr__(self) -> str:
        state = "used" if self._used else "not sent yet"
        return f"<{type(self).__name__} model={self._operation.model!r} {state}>"

    def through(self, middleware: Sequence[Middleware], provider_name: str | None = None) -> ProviderCall:
        """The same call, with further middleware around it; this one is used up.

        Args:
            middleware: Outermost first; it stands outside of what the provider has.
            provider_name: ``gen_ai.provider.name`` of the call, in place of what the model tells.

        Raises:
            AlreadyUsedError: If the call was used already.
        """
        self._claim()
        operation, layers = self._operation, (*middleware, *self._middleware)
        if provider_name:
            vendor = vendor_named(provider_name)
            operation = replace(operation, system=vendor.system, provider_name=vendor.provider_name)
            layers = (_named(vendor), *layers)
        return type(self)(operation, self._performer, layers)

    def __await__(self) -> Generator[Any, Any, LLMResponse]:
        return self._start().__await__()

    def send(self, value: Any, /) -> Any:
        """Advances the plain request; for event loops."""
        return self._driven().send(value)

    def throw(self, *error: Any) -> Any:
        """Raises inside the plain request; for event loops."""
        return self._driven().throw(*error)

    def close(self) -> None:
        """Ends the call where it is; a call that was not used is used up."""
        self._used = True
        if self._coroutine is not None:
            self._coroutine.close()
        if self._pump is not None:
            self._pump.stop_threadsafe(abandoned=True)

    async def aclose(self) -> None:
        """Ends the call and waits until its connection is closed."""
        self.close()
        if self._pump is not None:
            await self._pump.wait()

    def __aiter__(self) -> EventStream:
        self._claim()
        self._pump = Pump(self._operation, self._perform, self._context)
        return EventStream(self._pump)

    def events(self) -> SyncEventStream:
        """Sends one streamed request from sync code; also where an event loop is running, which it blocks.

        Returns:
            An iterator of events; leaving it, or its ``with`` block, ends the call.
        """
        self._claim()
        self._pump = Pump(self._operation, self._perform, self._context)
        return SyncEventStream(self._pump)

    def result(self) -> LLMResponse:
        """Sends one plain request from sync code; also where an event loop is running, which it blocks.

        Raises:
            LiteLLMError: What the call raises.
        """
        return run_blocking(self._start)

    def subscribe(
        self,
        on_next: Callable[[LLMResponse], object] | None = None,
        on_error: Callable[[BaseException], object] | None = None,
        on_completed: Callable[[], object] | None = None,
    ) -> Subscription:
        """Sends one plain request now; on the running loop, or on a thread of its own where none runs.

        Args:
            on_next: Gets the response.
            on_error: Gets what the call raises.
            on_completed: Called after `on_next`.

        Returns:
            The subscription, with ``unsubscribe()`` and ``wait()``.
        """
        return Subscription(self._start, on_next, on_error, on_completed)

    def to_observable(self) -> Any:
        """The call as a ``reactivex.Observable`` of one response; sent when it is subscribed to, once.

        Raises:
            MissingExtraError: If reactivex is not installed.
        """
        try:
            reactivex: Any = import_module("reactivex")
            disposable: Any = import_module("reactivex.disposable").Disposable
        except ImportError as error:
            raise MissingExtraError(
                "to_observable() needs reactivex: pip install 'looopy-otel[reactivex]'", name="reactivex"
            ) from error

        def subscribe(observer: Any, _scheduler: Any = None) -> Any:
            try:
                subscription = self.subscribe(observer.on_next, observer.on_error, observer.on_completed)
            except AlreadyUsedError as error:
                observer.on_error(error)
                return disposable()
            return disposable(subscription.unsubscribe)

        return reactivex.create(subscribe)

    def _claim(self) -> None:
        if self._used:
            raise AlreadyUsedError("this call was used already; each call() is one request: make a new one")
        self._used = True

    def _start(self) -> Coroutine[Any, Any, LLMResponse]:
        self._claim()
        return self._perform(self._operation, Exchange())

    def _driven(self) -> Coroutine[Any, Any, LLMResponse]:
        """The coroutine behind `send`; a second task that wants to drive it is told so."""
        driver = _current_task()
        if self._coroutine is None:
            self._coroutine, self._driver = self._start(), driver
        elif driver is not self._driver or inspect.getcoroutinestate(self._coroutine) == inspect.CORO_CLOSED:
            self._claim()
        return self._coroutine


def _named(vendor: ModelVendor) -> Middleware:
    """The name that the user gives, in place of what the response tells of a model behind an alias."""

    async def named(operation: LLMCall, call_next: CallNext) -> LLMResponse:
        response: LLMResponse = await call_next(operation)
        return replace(response, system=vendor.system, provider_name=vendor.provider_name)

    return named


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None

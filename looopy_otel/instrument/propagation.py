"""Functions that carry the place they were sent from to the thread or process that they run in."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial, update_wrapper, wraps
from typing import Any, Generic, ParamSpec, TypeVar, cast

from looopy_otel.core.hooks import installed
from looopy_otel.core.identity import Identity
from looopy_otel.instrument.observer import TracingObserver
from looopy_otel.record.surroundings import Surroundings, outgoing, own_continued, surrounded

P = ParamSpec("P")
R = TypeVar("R")


def propagated(function: Callable[P, R]) -> Callable[P, R]:
    """Has a function run under the current span, in whatever thread or process it is called.

    Context does not cross ``submit()`` by itself; this carries it::

        pool.submit(lo.propagated(work), item)        # the spans of work() hang under the span that is current here
        pool.map(lo.propagated(work), items)

    What is current at this moment is current in every call: the span, the operation, `session()`, `suppressed()` and
    OpenTelemetry's baggage. Context variables of your own are left as the thread has them. Calls may run at the same
    time, and leave their thread as it was. ``asyncio.to_thread``, tasks and ``os.fork`` need none of this.

    For a process pool the function is pickled with the trace's id and the identity. A process that is not forked has no
    tracing until it calls `configure()` itself::

        ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=setup_tracing)

    Where the processes go on from an agent's run, its totals do not include what they did.

    Args:
        function: A function or coroutine function; the body of a generator runs where it is iterated, so a generator
            function takes nothing along. For process pools it must be possible to pickle it by its name.

    Returns:
        A callable of the same signature; a coroutine function of a coroutine function.

    Raises:
        TypeError: If `function` is not callable.
    """
    if not callable(function):
        raise TypeError(
            f"propagated takes a function, not {type(function).__name__}; write propagated(fn), then call it"
        )
    if inspect.iscoroutinefunction(function):
        return cast("Callable[P, R]", _carrying(cast("Callable[..., Any]", function), Surroundings.here()))
    if _is_async_object(function):
        return cast("Callable[P, R]", PropagatedAsync(function, Surroundings.here()))
    return Propagated(function, Surroundings.here())


class Propagated(Generic[P, R]):
    """A function with the surroundings that it runs in; made by `propagated`.

    Args:
        function: The function.
        surroundings: What is current in each of its calls.
    """

    def __init__(self, function: Callable[P, R], surroundings: Surroundings) -> None:
        update_wrapper(self, function)
        self._function = function
        self._surroundings = surroundings

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function in its surroundings."""
        with surrounded(self._surroundings):
            return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        here = self._surroundings
        facts = outgoing(here.context), here.identity, here.suppressed, is_own(here)
        return _rebuilt, (type(self), self._function, *facts)

    def __repr__(self) -> str:
        return f"propagated({self._function!r})"


class PropagatedAsync(Propagated[P, R]):
    """An object whose ``__call__`` is async, with the surroundings that it runs in; made by `propagated`."""

    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] # R is what is awaited
        """Calls the object in its surroundings."""
        with surrounded(self._surroundings):
            return await cast("Awaitable[Any]", self._function(*args, **kwargs))


def _rebuilt(
    kind: type[Propagated[P, R]],
    function: Callable[P, R],
    headers: Mapping[str, str],
    identity: Identity,
    suppressed: bool,
    own: bool,
) -> Propagated[P, R]:
    return kind(function, own_continued(headers, identity, suppressed=suppressed, own=own))


def is_own(place: Surroundings) -> bool:
    """True where the current span of a place is one that Langfuse sees: ours, or its SDK's."""
    observer = installed()
    return isinstance(observer, TracingObserver) and not observer.ownership.is_root(place.context)


def _is_async_object(function: object) -> bool:
    while isinstance(function, partial):
        function = cast("partial[Any]", function).func
    return inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _carrying(function: Callable[..., Any], surroundings: Surroundings) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        with surrounded(surroundings):
            return await function(*args, **kwargs)

    return call

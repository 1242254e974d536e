"""Decorators that record each call of a function, bare (``@trace_tool``) or with arguments (``@trace_tool(name="f")``).

They work on sync and async functions, generators and async generators, on methods of all sorts (above or below
``@staticmethod`` and ``@classmethod``), partials and callable objects. The decorated function is of the same kind, has
the same signature and types, and can be pickled by its name as before (a partial, a bound method or a callable object
has none: decorate the function behind it); whatever it raises passes unchanged. Arguments are the
span's input by their names (``self`` and ``cls`` left out), the result or what is yielded its output. A generator's
span ends when it is exhausted, closed, left or collected, and is never current in its consumer. Before `configure()` a
call only costs the look into an empty slot; one of ``@trace_agent`` still is a run, and of an agent, to budgets.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from looopy_otel.core.operation import LLMOperation
from looopy_otel.instrument.openings import AgentKind, IterationKind, LLMKind, Opening, RunOpening, StepKind, ToolKind
from looopy_otel.instrument.wrap import Begin, is_generator, recorded

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Decorator(Protocol):
    """Takes a function and gives one of the same type."""

    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def trace_agent(function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def trace_agent(function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def trace_agent(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace_agent(*, name: str | None = None, metadata: Mapping[str, Any] | None = None) -> Decorator: ...
def trace_agent(function: Any = None, /, *, name: str | None = None, metadata: Mapping[str, Any] | None = None) -> Any:
    """Records each call of a function as the run of an agent, ``agent.execute``, with the totals of what is inside.

    Each call gets a task id of its own; everything inside carries it and the agent's id. A sole argument that is a
    text, or messages, is the input as it is. A generator's texts are joined to one output. A function that returns an
    `AgentResult` says by it how the run went.

    Args:
        function: The function, when used bare.
        name: The agent's id; the function's qualified name by default.
        metadata: Facts about each run.

    Raises:
        TypeError: If what is decorated is not a function.
    """
    return _decorated("trace_agent", function, name, lambda name, _: AgentKind(name, metadata), opening=RunOpening)


@overload
def trace_iteration(function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def trace_iteration(function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def trace_iteration(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace_iteration(*, number: int | None = None) -> Decorator: ...
def trace_iteration(function: Any = None, /, *, number: int | None = None) -> Any:
    """Records each call of a function as one turn of the agent around it, ``agent.iteration``.

    Args:
        function: The function, when used bare.
        number: The turn; by default the turns of each run are counted from 1.

    Raises:
        TypeError: If what is decorated is not a function.
    """
    return _decorated("trace_iteration", function, None, lambda _name, _target: IterationKind(number))


@overload
def trace_llm(function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def trace_llm(function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def trace_llm(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace_llm(
    *,
    model: str | None = None,
    system: str | None = None,
    provider_name: str | None = None,
    name: str | None = None,
    operation: LLMOperation = "chat",
) -> Decorator: ...
def trace_llm(
    function: Any = None,
    /,
    *,
    model: str | None = None,
    system: str | None = None,
    provider_name: str | None = None,
    name: str | None = None,
    operation: LLMOperation = "chat",
) -> Any:
    """Records each call of a function as a call of a model, ``llm.call``.

    The conversation is the argument ``messages``, else the text ``prompt``, else the first text; arguments such as
    ``model``, ``tools`` and ``temperature`` are read too. The answer is what the function returns: a text, a message,
    or the response object or JSON of a known provider, whose usage, model and finish reason are then recorded. Of a
    generator the chunks are joined, and the first one with content counts as the first chunk. What else is known can be
    told by ``lo.current().record(usage=…, …)`` inside.

    Where an LLM call that is recorded by itself (a wrapped client, a provider) happens inside, that one is the
    generation, and the function becomes a step around it: one call is one generation. A function that returns the
    stream of an SDK ends its span when it returns; wrap the client, or write a generator, to have the stream recorded.

    Args:
        function: The function, when used bare.
        model: The model asked for; by default the argument ``model``, else ``unknown``.
        system: ``gen_ai.system``; by default what the model's name says.
        provider_name: ``gen_ai.provider.name``; likewise.
        name: The name as a step; the function's qualified name by default.
        operation: What is asked of the model.

    Raises:
        TypeError: If what is decorated is not a function.
    """
    asked: dict[str, Any] = {"model": model, "system": system, "provider_name": provider_name, "operation": operation}
    known = {key: value for key, value in asked.items() if value is not None}
    return _decorated("trace_llm", function, name, lambda name, target: LLMKind(name, is_generator(target), known))


@overload
def trace_tool(function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def trace_tool(function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def trace_tool(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace_tool(*, name: str | None = None) -> Decorator: ...
def trace_tool(function: Any = None, /, *, name: str | None = None) -> Any:
    """Records each call of a function as the run of a tool, ``tool.execute``.

    The model's id for the call is the argument ``call_id`` or ``tool_call_id``, else a new one. A tool of the agent
    loop is recorded by the loop; decorated with its own name, it is not recorded a second time.

    Args:
        function: The function, when used bare.
        name: The tool; the function's name by default.

    Raises:
        TypeError: If what is decorated is not a function.
    """
    return _decorated("trace_tool", function, name, lambda name, _: ToolKind(name), short=True)


@overload
def trace_span(function: staticmethod[P, R], /) -> staticmethod[P, R]: ...
@overload
def trace_span(function: classmethod[T, P, R], /) -> classmethod[T, P, R]: ...
@overload
def trace_span(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace_span(*, name: str | None = None) -> Decorator: ...
def trace_span(function: Any = None, /, *, name: str | None = None) -> Any:
    """Records each call of a function as a span of its own name.

    Args:
        function: The function, when used bare.
        name: The span's name; the function's qualified name by default.

    Raises:
        TypeError: If what is decorated is not a function.
    """
    return _decorated("trace_span", function, name, lambda name, _: StepKind(name))


def _decorated(
    decorator: str,
    function: Any,
    name: str | None,
    kind: Callable[[str, Any], Any],
    *,
    short: bool = False,
    opening: Callable[[Any, Any], Begin] = Opening,
) -> Any:
    return decorated(
        decorator,
        function,
        lambda target: recorded(target, opening(target, kind(name or _name_of(target, short), target))),
    )


def decorated(decorator: str, function: Any, made: Callable[[Any], Any]) -> Any:
    """What a decorator gives: the wrapped function when it was used bare, else what wraps the one that comes next.

    Args:
        decorator: Its name.
        function: The function, when used bare; else None.
        made: Wraps a function; of a ``staticmethod`` or ``classmethod`` the one in it.

    Raises:
        TypeError: If what is decorated is not a function.
    """

    def decorate(target: Any) -> Any:
        if isinstance(target, staticmethod | classmethod):
            return type(cast("Any", target))(decorate(cast("Any", target).__func__))
        if not callable(target) or isinstance(target, type):
            given = "a class" if isinstance(target, type) else f"{type(target).__name__} {target!r:.40}"
            raise TypeError(f"{decorator} decorates functions, not {given}; options have names, such as name=…")
        return made(target)

    return decorate if function is None else decorate(function)


def _name_of(target: Any, short: bool) -> str:
    """The name that a function has; that of its class for an object, which may answer to any attribute."""
    while issubclass(type(target), partial):
        target = target.func
    named: Any = target if inspect.isroutine(target) and _is_named(target) else cast("Any", type(target))
    return named.__name__ if short else named.__qualname__.rpartition("<locals>.")[2]


def _is_named(target: Any) -> bool:
    return all(isinstance(getattr(target, name, None), str) for name in ("__name__", "__qualname__"))

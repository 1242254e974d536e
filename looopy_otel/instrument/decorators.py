"""Decorators that record each call of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from looopy_otel.core.guard import guard
from looopy_otel.core.hooks import NO_RECORDER, Recorder, announce, installed
from looopy_otel.core.operation import Step
from looopy_otel.instrument.wrap import recorded

P = ParamSpec("P")
R = TypeVar("R")


@overload
def trace_span(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def trace_span(*, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def trace_span(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Records each call of a function as a span, bare or with arguments: ``@trace_span``, ``@trace_span(name="load")``.

    Works on sync and async functions, generators and async generators, and on methods; the result is of the same kind.
    The arguments are the span's input (``self`` and ``cls`` are left out), the result or the yielded items its output.
    Before `configure()` a call only costs the look into an empty slot.

    Args:
        function: The function, when used bare.
        name: The span's name; the function's qualified name by default.

    Raises:
        TypeError: If what is decorated is not callable.
    """

    def decorate(target: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(target):
            raise TypeError(f"trace_span decorates functions, not {type(target).__name__}; for a name write name=…")
        return recorded(target, _opening(target, name or _default_name(target)))

    return decorate if function is None else decorate(function)


def _default_name(target: Callable[..., Any]) -> str:
    name = getattr(target, "__qualname__", type(target).__qualname__)
    return name.rpartition("<locals>.")[2]


def _opening(target: Callable[..., Any], name: str) -> Callable[[tuple[Any, ...], dict[str, Any]], Recorder]:
    signature = _signature(target)

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Recorder:
        if installed() is None:
            return NO_RECORDER
        return announce(Step(name=name, input=_arguments(signature, args, kwargs)))

    return begin


def _signature(target: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        return None


def _arguments(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The arguments by name, without ``self`` and ``cls``."""
    if signature is None:
        return {"args": list(args), **kwargs}
    with guard("decorators.arguments"):
        try:
            bound = signature.bind(*args, **kwargs).arguments
        except TypeError:
            # The call itself is about to fail with the same complaint.
            return {"args": list(args), **kwargs}
        first = next(iter(signature.parameters), None)
        return {key: value for key, value in bound.items() if not (key == first and key in ("self", "cls"))}
    return None

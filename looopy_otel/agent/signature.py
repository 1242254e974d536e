"""What a function looks like: its parameters, with types for annotations that are text, and whether it is async."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, SimpleNamespace, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from looopy_otel.agent.tool_context import ToolContext


def resolved_parameters(function: Callable[..., Any]) -> Sequence[inspect.Parameter]:
    """The parameters of anything that can be called. The annotation of its result does not matter.

    Raises:
        NameError, AttributeError, SyntaxError, TypeError: If the text of an annotation names no type.
        ValueError: If it has no signature.
    """
    parameters = inspect.signature(function).parameters.values()
    texts = {one.name: one.annotation for one in parameters if isinstance(one.annotation, str)}
    if not texts:
        return tuple(parameters)
    names, type_parameters = _names(function)
    hints = get_type_hints(SimpleNamespace(__annotations__=texts), names, type_parameters, include_extras=True)
    return tuple(one.replace(annotation=hints.get(one.name, one.annotation)) for one in parameters)


def is_coroutine_function(function: object) -> bool:
    """True for what is ``async def``, also as a method or as the ``__call__`` of an object."""
    called = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def takes_context(annotation: Any) -> bool:
    """True for ``ToolContext``, also where it is annotated or optional."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return takes_context(get_args(annotation)[0])
    if origin in (Union, UnionType):
        members = [member for member in get_args(annotation) if member is not NoneType]
        return all(map(takes_context, members))
    return annotation is ToolContext


def _names(function: Callable[..., Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """The names that annotations of a function may use: those of its module, and its own type parameters."""
    body = _body(function)
    module = sys.modules.get(getattr(body, "__module__", None) or "")
    names = getattr(body, "__globals__", {} if module is None else vars(module))
    return names, {one.__name__: one for one in getattr(body, "__type_params__", ())}


def _body(function: Any) -> Any:
    """The function that is written down somewhere, behind methods, partials, decorators and callable objects."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isclass(function):
            return function.__init__ if hasattr(function.__init__, "__globals__") else function
        elif not inspect.isroutine(function):
            function = type(function).__call__
        else:
            return function

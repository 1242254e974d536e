"""Tools: who offers them, how functions become some, and how a call of one becomes a result that the model sees."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from looopy_otel.agent.errors import InvalidArgumentsError, ToolSignatureError
from looopy_otel.agent.plain import plain
from looopy_otel.agent.schema import FunctionSchema, function_schema
from looopy_otel.agent.signature import is_coroutine_function
from looopy_otel.agent.tool_context import ToolContext
from looopy_otel.core.daemon_thread import in_daemon_thread
from looopy_otel.core.types import ToolCall, ToolDefinition, ToolLike, ToolResult

TOOL_GRACE = 1.0
"""Seconds that a cancelled tool has to end before it is left alone."""


@runtime_checkable
class ToolProvider(Protocol):
    """Anything that offers tools to a loop."""

    def get_tools(self) -> Sequence[ToolLike]:
        """The tools, as the model is told of them. Asked when a loop is built and when a run begins."""
        ...

    def can_handle(self, name: str) -> bool:
        """True when `execute` takes calls of that tool."""
        ...

    async def execute(self, call: ToolCall, context: ToolContext) -> Any:
        """Runs a tool.

        Args:
            call: What the model asks for; its arguments are the JSON text as the model wrote it.
            context: The run that calls.

        Returns:
            Any value that JSON can say, text, or a `ToolResult`. What is raised becomes an error text for the model.
        """
        ...


class FunctionTools:
    """Offers functions as tools: ``FunctionTools([calculate, search])``.

    A tool's name is the function's, its description the docstring's, its schema that of the annotations, with the
    docstring's words on each parameter. Methods, callable objects, defaults, ``Optional``, ``Literal``, enums,
    dataclasses and pydantic models are understood. A parameter annotated ``ToolContext`` gets the context and is not
    told to the model. Coroutine functions run on the run's event loop, all others in a thread of their own.

    Raises:
        ToolSignatureError: If a function cannot be a tool, or two have the same name.
    """

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._tools: dict[str, tuple[Callable[..., Any], FunctionSchema]] = {}
        for function in functions:
            if not callable(function):
                raise ToolSignatureError(f"a tool must be callable, not {type(function).__name__}")
            schema = function_schema(function)
            if schema.definition.name in self._tools:
                raise ToolSignatureError(f"two functions are named {schema.definition.name!r}; rename one")
            self._tools[schema.definition.name] = (function, schema)

    def get_tools(self) -> Sequence[ToolDefinition]:
        """The functions as the model is told of them, in the order given."""
        return tuple(schema.definition for _, schema in self._tools.values())

    def can_handle(self, name: str) -> bool:
        """True for the name of one of the functions."""
        return name in self._tools

    async def execute(self, call: ToolCall, context: ToolContext) -> Any:
        """Calls a function with validated arguments.

        Returns:
            What the function returned.

        Raises:
            InvalidArgumentsError: If the arguments do not fit its signature.
            Exception: What the function raised.
        """
        function, schema = self._tools[call.name]
        positional, named = schema.bind(call.arguments, context)
        if is_coroutine_function(function):
            return await function(*positional, **named)
        result = await in_daemon_thread(lambda: function(*positional, **named), name="looopy-otel-tool")
        return await result if inspect.isawaitable(result) else result


class FindProvider(Protocol):
    """Says who runs a tool; None when nobody does."""

    def __call__(self, name: str, /) -> ToolProvider | None:
        """Gives the provider. What is raised becomes an error text for the model."""
        ...


async def execute_tool(
    find: FindProvider, call: ToolCall, context: ToolContext, timeout: float | None
) -> ToolResult | None:
    """Runs one tool call; its failure is a result, too.

    Args:
        find: Says who runs it.
        call: What the model asks for.
        context: The run that calls.
        timeout: Seconds that the tool has, or None for no limit. A function in a thread cannot be stopped: it is no
            longer waited for.

    Returns:
        The result, with content that JSON can say; None when nobody runs that tool.

    Raises:
        asyncio.CancelledError: If the run is cancelled. A tool that does not end within `TOOL_GRACE` is left alone.
        BaseException: `KeyboardInterrupt`, `SystemExit` and the like from the tool.
    """
    work = asyncio.ensure_future(_outcome(find, call, context))
    try:
        done, _ = await asyncio.wait({work}, timeout=timeout)
    except asyncio.CancelledError:
        await _leave(work)
        raise
    if not done:
        await _leave(work)
        return ToolResult(f"Error: {call.name} did not finish within {timeout:g} s and was stopped", "timeout")
    if work.cancelled():
        return ToolResult(f"Error: {call.name} was cancelled from inside", "CancelledError")
    return work.result()


async def _outcome(find: FindProvider, call: ToolCall, context: ToolContext) -> ToolResult | None:
    try:
        provider = find(call.name)
        if provider is None:
            return None
        result: Any = provider.execute(call, context)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, ToolResult):
            return replace(result, content=plain(result.content))
        return ToolResult(plain(result))
    except InvalidArgumentsError as error:
        return ToolResult(f"Error: invalid arguments for {call.name}: {error}", "invalid_arguments")
    except Exception as error:
        context.logger.debug("the tool failed", exc_info=error)
        return ToolResult(f"Error: {call.name} failed: {_described(error)}", type(error).__name__)


def _described(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


async def _leave(work: asyncio.Future[ToolResult | None]) -> None:
    """Cancels a tool and waits for it, but not for ever."""
    work.cancel()
    work.add_done_callback(_retrieve)
    await asyncio.wait({work}, timeout=TOOL_GRACE)


def _retrieve(work: asyncio.Future[ToolResult | None]) -> None:
    """Looks at the result that nobody wants, so that asyncio does not complain of an exception never retrieved."""
    if not work.cancelled():
        work.exception()

"""All tools of one agent, whoever offers them, and what a run found them to be when it began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from looopy_otel.agent.signature import is_coroutine_function
from looopy_otel.agent.tools import ToolProvider
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.messages import tool_to_dict
from looopy_otel.core.types import ToolLike


@dataclass(frozen=True, slots=True)
class OfferedTools:
    """The tools of one run.

    Attributes:
        tools: As the model is told of them.
        owners: Who offers each, by the tool's name.
        providers: All of them, for tools that one takes without offering them.
    """

    tools: Sequence[ToolLike] = ()
    owners: Mapping[str, ToolProvider] = field(default_factory=dict[str, ToolProvider])
    providers: Sequence[ToolProvider] = ()

    def provider_of(self, name: str) -> ToolProvider | None:
        """Who runs the tool: who offers it, else the first that can handle it; None when nobody can.

        Raises:
            Exception: What a provider raised.
        """
        owner = self.owners.get(name)
        return owner or next((provider for provider in self.providers if provider.can_handle(name)), None)


class Toolbox:
    """The tool providers of an agent, in order.

    Raises:
        ConfigurationError: If something is no tool provider, or two tools have the same name.
    """

    def __init__(self, providers: Iterable[ToolProvider]) -> None:
        self._providers = tuple(providers)
        for provider in self._providers:
            problem = _problem(provider)
            if problem:
                raise ConfigurationError(f"tool_providers: {problem}")
        self.offer()

    def offer(self) -> OfferedTools:
        """The tools as they are now.

        Raises:
            ConfigurationError: If two have the same name.
        """
        owners: dict[str, list[ToolProvider]] = {}
        tools: list[ToolLike] = []
        for provider in self._providers:
            for tool in provider.get_tools():
                tools.append(tool)
                owners.setdefault(tool_to_dict(tool)["function"]["name"], []).append(provider)
        doubled = [
            f"{name!r} ({', '.join(type(one).__name__ for one in who)})" for name, who in owners.items() if len(who) > 1
        ]
        if doubled:
            raise ConfigurationError(f"tool names must be unique; offered more than once: {'; '.join(doubled)}")
        return OfferedTools(tuple(tools), {name: who[0] for name, who in owners.items()}, self._providers)


def _problem(given: Any) -> str | None:
    if isinstance(given, type):
        return f"{given.__name__} is a class; write {given.__name__}(…)"
    if not isinstance(given, ToolProvider):
        if callable(given):
            return f"wrap functions: tool_providers=[FunctionTools([{getattr(given, '__name__', 'f')}])]"
        return f"{type(given).__name__} lacks get_tools, can_handle or execute"
    if is_coroutine_function(given.get_tools) or is_coroutine_function(given.can_handle):
        return f"{type(given).__name__}: get_tools and can_handle must be plain functions; only execute is async"
    return None

"""All tools of one agent, whoever offers them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from looopy_otel.agent.tools import ToolProvider
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.messages import tool_to_dict
from looopy_otel.core.types import ToolLike


class Toolbox:
    """The tool providers of an agent, in order.

    Raises:
        ConfigurationError: If something is no tool provider, or two tools have the same name.
    """

    def __init__(self, providers: Iterable[ToolProvider]) -> None:
        self._providers = tuple(providers)
        for provider in self._providers:
            if not isinstance(provider, ToolProvider):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ConfigurationError(_no_provider(provider))
        self.tools()

    def tools(self) -> Sequence[ToolLike]:
        """The tools as they are now.

        Raises:
            ConfigurationError: If two have the same name.
        """
        owners: dict[str, list[str]] = {}
        tools: list[ToolLike] = []
        for provider in self._providers:
            for tool in provider.get_tools():
                tools.append(tool)
                owners.setdefault(tool_to_dict(tool)["function"]["name"], []).append(type(provider).__name__)
        doubled = [f"{name!r} ({', '.join(who)})" for name, who in owners.items() if len(who) > 1]
        if doubled:
            raise ConfigurationError(f"tool names must be unique; offered more than once: {'; '.join(doubled)}")
        return tuple(tools)

    def names(self) -> list[str]:
        """The tools' names, in order."""
        return [tool_to_dict(tool)["function"]["name"] for tool in self.tools()]

    def provider_of(self, name: str) -> ToolProvider | None:
        """Who runs the tool: the first provider that can handle it; None when nobody can."""
        return next((provider for provider in self._providers if provider.can_handle(name)), None)


def _no_provider(given: Any) -> str:
    if callable(given):
        return f"tool_providers: wrap functions: tool_providers=[FunctionTools([{getattr(given, '__name__', 'f')}])]"
    return f"tool_providers: {type(given).__name__} lacks get_tools, can_handle or execute"

"""The calls that a call's middleware makes by itself, and what they used."""

from __future__ import annotations

from dataclasses import replace

from looopy_otel.core.types import LLMResponse
from looopy_otel.core.usage import Usage


class OwnCalls:
    """The calls of their own inside one call, such as that of a fallback: each has used its tokens once."""

    __slots__ = ("_usages",)

    def __init__(self) -> None:
        self._usages: list[Usage] = []

    def add(self, result: object) -> None:
        """Takes what such a call gave."""
        if isinstance(result, LLMResponse) and result.usage is not None:
            self._usages.append(result.usage)

    def without(self, result: object) -> object:
        """The result of the call itself; where it is the answer of such a call, without what that one has used."""
        if not isinstance(result, LLMResponse) or not any(result.usage is usage for usage in self._usages):
            return result
        return replace(result, usage=None, usage_source="missing", cost=None, cost_source="unknown")

"""Whose spans go out: told by instrumentation scope, and on a provider that others use too, by what they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

from looopy_otel.core.semconv import GEN_AI_PREFIX, LANGFUSE_OBSERVATION_PREFIX, LANGFUSE_PROMPT_PREFIX

KNOWN_SCOPES: Final = frozenset(
    {
        "agent_framework",
        "ai",
        "autogen-core",
        "haystack",
        "langfuse-sdk",
        "langsmith",
        "litellm",
        "openinference",
        *(
            f"opentelemetry.instrumentation.{library}"
            for library in (
                "agno", "alephalpha", "anthropic", "bedrock", "cohere", "crewai", "google_generativeai", "groq",
                "haystack", "langchain", "llamaindex", "mistralai", "ollama", "openai", "openai_agents", "openai_v2",
                "replicate", "sagemaker", "together", "transformers", "vertexai", "voyageai", "watsonx", "writer",
            )
        ),
        "pydantic-ai",
        "strands-agents",
        "vllm",
    }
)  # fmt: skip
"""Scopes of LLM instrumentations, with all below them (after a dot).

Source: ``KNOWN_LLM_INSTRUMENTATION_SCOPE_PREFIXES`` of the Langfuse SDK, version 5.
"""

_TELLING: Final = (GEN_AI_PREFIX, LANGFUSE_OBSERVATION_PREFIX)
_REMEMBERED: Final = 1024


class ScopeFilter:
    """Which instrumentation scopes the user wants and which not.

    Args:
        patterns: Names with ``*`` for any characters. With ``!`` in front one leaves out, and wins over those without;
            where there are some without, a scope has to match one of them.
        own: Our own scope, which only its very name leaves out: ``!looopy_otel``.
    """

    def __init__(self, patterns: Sequence[str], own: str) -> None:
        wanted = [_Glob(pattern) for pattern in patterns if not pattern.startswith("!")]
        unwanted = [_Glob(pattern.lstrip("!")) for pattern in patterns if pattern.startswith("!")]

        def verdict(scope: str) -> bool | None:
            if scope == own:
                return all(glob.pattern != own for glob in unwanted)
            if any(glob.matches(scope) for glob in unwanted):
                return False
            return any(glob.matches(scope) for glob in wanted) if wanted else None

        self._verdict: Callable[[str], bool | None] = lru_cache(maxsize=_REMEMBERED)(verdict)

    def verdict(self, scope: str) -> bool | None:
        """True for a scope that is wanted, False for one that is not; None where nothing was said of it."""
        return self._verdict(scope)


def is_about_llms(scope: str, attributes: Mapping[str, object]) -> bool:
    """True for a span of a known LLM instrumentation, or with attributes that say that it is about an LLM.

    What the Langfuse SDK copies to every span of its provider (names, tags, metadata, prompts) says nothing of a span.

    Args:
        scope: Name of its instrumentation scope.
        attributes: Its attributes so far.
    """
    return _is_known(scope) or any(
        key.startswith(_TELLING) and not key.startswith(LANGFUSE_PROMPT_PREFIX) for key in attributes
    )


@lru_cache(maxsize=_REMEMBERED)
def _is_known(scope: str) -> bool:
    parts = scope.split(".")
    return any(".".join(parts[:length]) in KNOWN_SCOPES for length in range(1, min(len(parts), 8) + 1))


class _Glob:
    """A pattern in which ``*`` stands for any characters; matching takes time linear in the text."""

    __slots__ = ("_first", "_last", "_middle", "pattern")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._first, *middle = pattern.split("*")
        self._last = middle.pop() if middle else None
        self._middle = [part for part in middle if part]

    def matches(self, text: str) -> bool:
        if self._last is None:
            return text == self._first
        if not text.startswith(self._first):
            return False
        at, end = len(self._first), len(text) - len(self._last)
        for part in self._middle:
            found = text.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return at <= end and text.endswith(self._last)

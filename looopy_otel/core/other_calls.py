"""LLM calls that other instrumentations record: how their spans look, and what a second account leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from looopy_otel.core.semconv import (
    GEN_AI_OPERATION_NAME,
    GEN_AI_PREFIX,
    GEN_AI_REQUEST_MODEL,
    GEN_AI_RESPONSE_MODEL,
    LANGFUSE_COST_DETAILS,
    LANGFUSE_MODEL_NAME,
    LANGFUSE_TYPE,
    LANGFUSE_USAGE_DETAILS,
)

OWN_SCOPE: Final = "looopy_otel"
"""Name of the instrumentation scope of our own spans."""
LANGFUSE_SCOPE: Final = "langfuse-sdk"
"""That of the Langfuse SDK, whose users say by themselves what a generation is."""

_OPENINFERENCE_KIND: Final = "openinference.span.kind"
_USAGE: Final = (f"{GEN_AI_PREFIX}usage.", "llm.usage.", "llm.token_count.", "llm.cost.")
_OF_GENERATIONS: Final = frozenset(
    {
        GEN_AI_OPERATION_NAME,
        GEN_AI_REQUEST_MODEL,
        GEN_AI_RESPONSE_MODEL,
        LANGFUSE_TYPE,
        LANGFUSE_MODEL_NAME,
        LANGFUSE_USAGE_DETAILS,
        LANGFUSE_COST_DETAILS,
        _OPENINFERENCE_KIND,
        "llm.model_name",
        "operation.cost",
    }
)


def is_call_of_others(span: Any) -> bool:
    """True for a span by which another instrumentation records an LLM call.

    That is a client's span in the GenAI conventions (Logfire, OpenLLMetry, OpenTelemetry's own), or OpenInference's.

    Args:
        span: Any span of OpenTelemetry; its attributes so far count.
    """
    scope: Any = getattr(span, "instrumentation_scope", None)
    if scope is None or scope.name in (OWN_SCOPE, LANGFUSE_SCOPE):
        return False
    attributes: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    if attributes.get(_OPENINFERENCE_KIND) == "LLM":
        return True
    return GEN_AI_REQUEST_MODEL in attributes and getattr(getattr(span, "kind", None), "name", "") == "CLIENT"


def without_generation(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without what makes a generation of a span: model, usage, cost and kind."""
    return {
        key: value for key, value in attributes.items() if key not in _OF_GENERATIONS and not key.startswith(_USAGE)
    }

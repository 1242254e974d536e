"""What is known of the Langfuse SDK's spans in the same process, on whatever provider they are."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from opentelemetry.baggage import get_baggage, set_baggage
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, TraceFlags, get_current_span

from looopy_otel.core.semconv import (
    LANGFUSE_COMPLETION_START_TIME,
    LANGFUSE_COST_DETAILS,
    LANGFUSE_METADATA,
    LANGFUSE_MODEL_NAME,
    LANGFUSE_TYPE,
    LANGFUSE_USAGE_DETAILS,
)

Generation: TypeAlias = Span
"""A span of the SDK that is one."""

_NOTHING: Final[Mapping[str, Any]] = {}
_SDK: Final = "langfuse"
_SCOPE: Final = "langfuse-sdk"
"""The instrumentation scope of its spans; the scope's attribute ``public_key`` names their project."""
_OF_GENERATIONS: Final = frozenset(
    {LANGFUSE_TYPE, LANGFUSE_USAGE_DETAILS, LANGFUSE_COST_DETAILS, LANGFUSE_MODEL_NAME, LANGFUSE_COMPLETION_START_TIME}
)
_CLAIM: Final = "langfuse_trace_id"
"""The baggage entry that says of which trace Langfuse has a root already.

Source: ``LANGFUSE_TRACE_ID_BAGGAGE_KEY`` of the SDK, version 5.
"""


def project_of(span: Span) -> str | None:
    """The public key of the Langfuse project that a span of the SDK goes to; None for any other span."""
    scope: Any = getattr(span, "instrumentation_scope", None)
    if scope is None or scope.name != _SCOPE or not span.is_recording():
        return None
    attributes: Any = scope.attributes or {}
    key = attributes.get("public_key")
    return key if isinstance(key, str) else None


def claimed_for_langfuse(context: Context, trace_id: str | None, projects: Collection[str]) -> Context:
    """A context in which the SDK does not make a root of its spans, since there is one: ours.

    Only where all its projects are among `projects`, those that we export to.
    """
    manager = sys.modules.get(f"{_SDK}._client.resource_manager")
    if manager is None or trace_id is None or get_baggage(_CLAIM, context) == trace_id:
        return context
    theirs: Any = getattr(getattr(manager, "LangfuseResourceManager", None), "_instances", {})
    return set_baggage(_CLAIM, trace_id, context) if theirs and set(theirs) <= set(projects) else context


def is_generation_of_langchain(span: Span) -> bool:
    """True for a generation that the SDK's LangChain handler has made; LangChain's facts of the model stand on it."""
    attributes: Any = getattr(span, "attributes", None) or {}
    return attributes.get(LANGFUSE_TYPE) == "generation" and f"{LANGFUSE_METADATA}ls_model_type" in attributes


def langchain_generation_here() -> Generation | None:
    """The generation of the SDK's LangChain handler that is current here, or None."""
    span = get_current_span()
    return span if is_generation_of_langchain(span) else None


def demote(span: Span) -> None:
    """Makes a plain span of a generation that is under way: what the SDK says of model and tokens is not taken.

    It stays, as what is inside it refers to it.
    """
    demoted: Any = span
    take = demoted.set_attributes

    def set_attributes(attributes: Mapping[str, Any]) -> None:
        take({name: value for name, value in attributes.items() if name not in _OF_GENERATIONS})

    span.set_attribute(LANGFUSE_TYPE, "span")
    demoted.set_attributes = set_attributes


def withdraw(span: Span) -> None:
    """Has a span that is under way not be exported by anyone: from here on it counts as not sampled.

    OpenTelemetry has no public way to take a span back; its exporting processors all ask the span's context.
    """
    before = span.get_span_context()
    flags = TraceFlags(before.trace_flags & ~TraceFlags.SAMPLED)
    withdrawn: Any = span
    # Logfire's provider wraps the SDK's spans.
    withdrawn = getattr(withdrawn, "__dict__", _NOTHING).get("span", withdrawn)
    withdrawn._context = SpanContext(before.trace_id, before.span_id, before.is_remote, flags, before.trace_state)

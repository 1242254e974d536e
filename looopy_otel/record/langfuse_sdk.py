"""What is known of the Langfuse SDK's spans in the same process, on whatever provider they are."""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any, Final

from opentelemetry.baggage import get_baggage, set_baggage
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, TraceFlags

_SDK: Final = "langfuse"
_SCOPE: Final = "langfuse-sdk"
"""The instrumentation scope of its spans; the scope's attribute ``public_key`` names their project."""
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


def withdraw(span: Span) -> None:
    """Has a span that is under way not be exported by anyone: from here on it counts as not sampled.

    OpenTelemetry has no public way to take a span back; its exporting processors all ask the span's context.
    """
    before = span.get_span_context()
    flags = TraceFlags(before.trace_flags & ~TraceFlags.SAMPLED)
    withdrawn: Any = span
    withdrawn._context = SpanContext(before.trace_id, before.span_id, before.is_remote, flags, before.trace_state)

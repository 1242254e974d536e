"""What an ended span carries inside the process alone: whose it is, and which local root it stands under."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id

from looopy_otel.core.draft import LLMDraft
from looopy_otel.core.known_spans import KnownSpan
from looopy_otel.core.semconv import PROJECT
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.drafted import DraftedSpan
from looopy_otel.export.tail_sampling import Facts
from looopy_otel.export.weight import draft_bytes, outgoing_bytes

INSIDE: Final = frozenset({PROJECT})
"""The attributes that never leave."""

_KEY: Final = "known"


def with_known(span: ReadableSpan, known: KnownSpan, identity: Mapping[str, Any]) -> ReadableSpan:
    """A copy of an ended span that shares all else with it.

    Args:
        span: The span.
        known: What is known of it, which lives as long as the copy.
        identity: Attributes that it is to have where it has none of that name: those of a span that nobody knew to be
            ours when it started, or that has more attributes than its provider keeps.
    """
    copy = ReadableSpan.__new__(ReadableSpan)
    vars(copy).update(vars(span))
    vars(copy)[_KEY] = known
    if identity:
        vars(copy)["_attributes"] = {**identity, **(span.attributes or {})}
    return copy


def _known(span: ReadableSpan) -> KnownSpan | None:
    return vars(span).get(_KEY)


def project_of(span: ReadableSpan) -> str | None:
    """The name of its project, as it was before the gate: what the gate makes of a name is no project's."""
    if isinstance(span, DraftedSpan):
        return span.draft.identity.project
    known = _known(span)
    return None if known is None else known.identity.project


def facts_of(span: ReadableSpan, passed: Outgoing) -> Facts:
    """What tail sampling needs of a span.

    Args:
        span: As it ended.
        passed: The same one, redacted and priced.
    """
    context, draft, known = span.context, passed.draft, _known(span)
    root: int | None = None
    if context is None or known is None:
        # It started before we were there.
        is_root = span.parent is None or span.parent.is_remote
    else:
        root = context.span_id if known.local_root is None else known.local_root
        is_root = root == context.span_id
    cost: Decimal | None = draft.cost.total if isinstance(draft, LLMDraft) and draft.cost is not None else None
    return Facts(
        trace_id=context.trace_id if context is not None else 0,
        root=None if root is None else format_span_id(root),
        is_root=is_root,
        failed=passed.span.status.status_code is StatusCode.ERROR,
        start_time=span.start_time or 0,
        end_time=span.end_time or 0,
        cost=cost,
        size=outgoing_bytes(passed) + (0 if draft is None else draft_bytes(draft)),
    )

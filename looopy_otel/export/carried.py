"""What a span carries inside the process alone: the project that it is for, and which local root it stands under."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id

from looopy_otel.core.draft import LLMDraft
from looopy_otel.core.semconv import LOCAL_ROOT, PROJECT
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.drafted import DraftedSpan
from looopy_otel.export.tail_sampling import Facts
from looopy_otel.export.weight import draft_bytes, outgoing_bytes

INSIDE: Final = frozenset({PROJECT, LOCAL_ROOT})
"""The attributes that never leave."""


def project_of(span: ReadableSpan) -> str | None:
    """The name of its project, as it was before the gate: what the gate makes of a name is no project's."""
    if isinstance(span, DraftedSpan):
        return span.draft.identity.project
    project = (span.attributes or {}).get(PROJECT)
    return None if project is None else str(project)


def facts_of(span: ReadableSpan, passed: Outgoing) -> Facts:
    """What tail sampling needs of a span.

    Args:
        span: As it ended.
        passed: The same one, redacted and priced.
    """
    context, draft = span.context, passed.draft
    root = (span.attributes or {}).get(LOCAL_ROOT)
    if isinstance(root, str) and context is not None:
        is_root = root == format_span_id(context.span_id)
    else:
        # Some other processor has taken the mark off.
        root, is_root = None, span.parent is None or span.parent.is_remote
    cost: Decimal | None = draft.cost.total if isinstance(draft, LLMDraft) and draft.cost is not None else None
    return Facts(
        trace_id=context.trace_id if context is not None else 0,
        root=root,
        is_root=is_root,
        failed=passed.span.status.status_code is StatusCode.ERROR,
        start_time=span.start_time or 0,
        end_time=span.end_time or 0,
        cost=cost,
        size=outgoing_bytes(passed) + (0 if draft is None else draft_bytes(draft)),
    )

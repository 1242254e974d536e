"""A finished span together with the draft of what happened in it."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

from looopy_otel.core.draft import Draft


class DraftedSpan(ReadableSpan):
    """An ended span that carries its draft through the batch processor's queue."""

    draft: Draft

    @property
    def is_sampled(self) -> bool:
        """False for one that stands for a span that nobody will see."""
        return self.context is not None and self.context.trace_flags.sampled

    @classmethod
    def of(cls, span: ReadableSpan, draft: Draft) -> DraftedSpan:
        """Makes one that shares everything with `span`; costs no copy of attributes, events or links."""
        drafted = cls.__new__(cls)
        vars(drafted).update(vars(span))
        drafted.draft = draft
        return drafted

    @classmethod
    def unsampled(cls, span_context: SpanContext, draft: Draft) -> DraftedSpan:
        """Stands for a span that nobody will see; only its draft, which is measured, goes on."""
        return cls.of(ReadableSpan(draft.name, span_context), draft)


def not_sampled(context: SpanContext) -> SpanContext:
    """The same context, marked as that of a span that nobody will see."""
    flags = TraceFlags(context.trace_flags & ~TraceFlags.SAMPLED)
    return SpanContext(context.trace_id, context.span_id, context.is_remote, flags, context.trace_state)

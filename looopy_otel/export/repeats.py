"""Spans of others that tell of an LLM call which we record: no second generation at our destinations."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from looopy_otel.core.other_calls import LANGFUSE_SCOPE, OWN_SCOPE, is_call_of_others, without_generation

_REMEMBERED: Final = 10_000
_LOG_OF_STREAM: Final = ("logfire.span_type", "log")
"""What Logfire says of a stream when that is over: beside its span of the request, and with usage again."""

_REQUEST: Final = "request_data"
"""Where Logfire keeps the arguments of the request, on both."""


class Repeats:
    """Tells which spans of others stand directly around an LLM call of ours, or inside one.

    They stay in the tree, since others refer to them, without model, usage and cost. Other exporters get them whole.

    Args:
        is_inside: True where an LLM call of ours is under way that knows all about itself.
    """

    def __init__(self, is_inside: Callable[[], bool]) -> None:
        self._is_inside = is_inside
        self._found: dict[object, None] = {}

    def see(self, span: ReadableSpan, parent: object) -> None:
        """Looks at a span that starts.

        Args:
            span: Of anyone.
            parent: What it stands under.
        """
        scope = span.instrumentation_scope
        if scope is not None and scope.name == OWN_SCOPE:
            if span.kind is SpanKind.CLIENT and isinstance(parent, ReadableSpan) and is_call_of_others(parent):
                self._add(parent)
        elif self._is_inside():
            self._add(span)

    def settled(self, span: ReadableSpan) -> ReadableSpan:
        """The span as our destinations are to have it; itself, or a copy that shares all else."""
        scope = span.instrumentation_scope
        if not self._found or scope is None or scope.name in (OWN_SCOPE, LANGFUSE_SCOPE):
            return span
        key, value = _LOG_OF_STREAM
        said: Any = span.attributes or {}
        keys = {_own(span), _beside(span)} if said.get(key) == value else {_own(span)}
        if self._found.keys().isdisjoint(keys):
            return span
        settled = ReadableSpan.__new__(ReadableSpan)
        vars(settled).update(vars(span))
        vars(settled)["_attributes"] = without_generation(said)
        return settled

    def _add(self, span: ReadableSpan) -> None:
        self._found[_own(span)] = self._found[_beside(span)] = None
        if len(self._found) > _REMEMBERED:
            for key in list(islice(self._found, _REMEMBERED // 10)):
                self._found.pop(key, None)


def _own(span: ReadableSpan) -> object:
    context = span.get_span_context()
    return context and context.span_id


def _beside(span: ReadableSpan) -> object:
    """Equal for what one instrumentation tells of one request: beside each other, though as roots in two traces."""
    parent, scope, attributes = span.parent, span.instrumentation_scope, span.attributes or {}
    return (parent and parent.span_id, scope and scope.name, hash(attributes.get(_REQUEST)))

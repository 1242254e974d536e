"""What the local store keeps: one row per span, and one line per trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from looopy_otel.core.draft import Draft
from looopy_otel.core.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSpan:
    """One span, redacted and priced.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits, or None for a span without a parent.
        name: The span's name.
        kind: OpenTelemetry's span kind: ``INTERNAL``, ``CLIENT``, …
        start_time: Unix time in nanoseconds.
        end_time: Unix time in nanoseconds.
        status: OpenTelemetry's status code.
        status_message: The status description, or None.
        scope: Name of the instrumentation scope.
        attributes: What stands on the span besides what the draft says.
        events: ``{"name", "time", "attributes"}`` each, times in nanoseconds.
        links: ``{"trace_id", "span_id", "attributes"}`` each.
        resource: The resource's attributes.
        draft: What happened, for spans of this library's own kinds; else None.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str = "INTERNAL"
    start_time: int
    end_time: int
    status: Literal["UNSET", "OK", "ERROR"] = "UNSET"
    status_message: str | None = None
    scope: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    events: Sequence[Mapping[str, Any]] = ()
    links: Sequence[Mapping[str, Any]] = ()
    resource: Mapping[str, Any] = field(default_factory=dict[str, Any])
    draft: Draft | None = None

    @property
    def duration(self) -> float:
        """Seconds from start to end."""
        return (self.end_time - self.start_time) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """One trace in a list.

    Attributes:
        trace_id: 32 hex digits.
        name: Trace name, else the agent id, else the name of its earliest span.
        agent_id: The agent of its earliest agent span, or None.
        session_id: The session, or the task where none was given.
        start_time: Unix time in nanoseconds of the earliest span.
        duration: Seconds from the first start to the last end.
        spans: How many spans there are.
        llm_calls: How many of them are LLM calls.
        usage: Tokens of the LLM calls together, or None when none reported any.
        cost: USD of the LLM calls together, or None when no call's cost is known.
        failed: True when the earliest span has the status ERROR.
    """

    trace_id: str
    name: str
    agent_id: str | None
    session_id: str | None
    start_time: int
    duration: float
    spans: int
    llm_calls: int
    usage: Usage | None
    cost: Decimal | None
    failed: bool

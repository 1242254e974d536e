"""Spans to rows of the local store and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

import orjson

from looopy_otel.core.draft import Draft, LLMDraft, draft_from_json, draft_to_json
from looopy_otel.core.money import total_of
from looopy_otel.core.semconv import AGENT_ID, AGENT_TASK_ID, SESSION_ID, USER_ID
from looopy_otel.core.text import valid_text
from looopy_otel.core.usage import Usage
from looopy_otel.store.span import StoredSpan, TraceSummary

Row = Mapping[str, Any]

SUMMARY_COLUMNS: Final = "name, operation, start_time, end_time, status, session_id, agent_id, trace_name, usage, cost"

_INT64: Final = range(-(2**63), 2**63)
_ROW_BYTES: Final = 2048
"""The dictionary and its short values, rounded up."""


def row_from_span(span: StoredSpan) -> dict[str, Any]:
    """The columns of one span, by name; text is made valid UTF-8.

    Raises:
        ValueError: If a time or a number of tokens has more than the 64 bits that SQLite holds.
    """
    row: dict[str, Any] = {
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "start_time": span.start_time,
        "end_time": span.end_time,
        "status": span.status,
        "scope": span.scope,
        "status_message": span.status_message,
        "resource": _json(span.resource),
        "links": _json(list(span.links)),
        "events": _json(list(span.events)),
        "attributes": _json(span.attributes),
        "draft": None if span.draft is None else _text(draft_to_json(span.draft)),
    }
    row |= {**_who(span), **_what(span.draft)}
    return {column: _storable(column, value) for column, value in row.items()}


def _storable(column: str, value: str | int | None) -> str | int | None:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, int) and value not in _INT64:
        raise ValueError(f"{column} {value} has more than 64 bits")
    return value


def row_bytes(row: Row) -> int:
    """How much memory a row takes, in bytes, about."""
    return _ROW_BYTES + sum(len(value) for value in row.values() if isinstance(value, str))


def _who(span: StoredSpan) -> dict[str, Any]:
    if span.draft is None:
        names = {"session_id": SESSION_ID, "user_id": USER_ID, "agent_id": AGENT_ID, "task_id": AGENT_TASK_ID}
        found = {column: span.attributes.get(name) for column, name in names.items()}
        return {
            **{column: value if isinstance(value, str) else None for column, value in found.items()},
            "trace_name": None,
        }
    identity = span.draft.identity
    return {
        "session_id": identity.effective_session_id,
        "user_id": identity.user_id,
        "agent_id": identity.agent_id,
        "task_id": identity.task_id,
        "trace_name": identity.trace_name,
    }


def _what(draft: Draft | None) -> dict[str, Any]:
    call = draft if isinstance(draft, LLMDraft) else None
    usage = call.usage if call is not None else None
    return {
        "operation": draft.kind if draft is not None else None,
        "model": (call.response_model or call.request_model or None) if call else None,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "usage": _json(asdict(usage)) if usage else None,
        "cost": str(call.cost.total) if call and call.cost else None,
    }


def span_from_row(row: Row) -> StoredSpan:
    """Reads a span back, equal to what was stored.

    Raises:
        ValueError: If the row was not written by `row_from_span`.
    """
    return StoredSpan(
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_id=row["parent_id"],
        name=row["name"],
        kind=row["kind"],
        start_time=row["start_time"],
        end_time=row["end_time"],
        status=row["status"],
        status_message=row["status_message"],
        scope=row["scope"],
        attributes=orjson.loads(row["attributes"]),
        events=tuple(orjson.loads(row["events"])),
        links=tuple(orjson.loads(row["links"])),
        resource=orjson.loads(row["resource"]),
        draft=None if row["draft"] is None else draft_from_json(row["draft"]),
    )


def summary_from_rows(trace_id: str, rows: Sequence[Row]) -> TraceSummary:
    """Sums up one trace.

    Args:
        trace_id: 32 hex digits.
        rows: The `SUMMARY_COLUMNS` of its spans, in start order; at least one.

    Raises:
        ValueError: If a row was not written by `row_from_span`.
    """
    first = rows[0]
    agent_id = _first(row["agent_id"] for row in rows if row["operation"] == "agent")
    usages = [Usage(**orjson.loads(row["usage"])) for row in rows if row["usage"] is not None]
    costs = [Decimal(row["cost"]) for row in rows if row["cost"] is not None]
    return TraceSummary(
        trace_id=trace_id,
        name=_first(row["trace_name"] for row in rows) or agent_id or first["name"],
        agent_id=agent_id,
        session_id=_first(row["session_id"] for row in rows),
        start_time=first["start_time"],
        duration=(max(row["end_time"] for row in rows) - first["start_time"]) / 1e9,
        spans=len(rows),
        llm_calls=sum(row["operation"] == "llm" for row in rows),
        usage=sum(usages[1:], usages[0]) if usages else None,
        cost=total_of(costs) if costs else None,
        failed=first["status"] == "ERROR",
    )


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _json(value: object) -> str:
    try:
        return _text(orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS))
    except TypeError:
        # Lone surrogates and integers over 64 bits, which orjson refuses.
        return _text(json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace"))


def _text(value: bytes) -> str:
    return value.decode()

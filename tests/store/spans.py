"""Stored spans to fill a store with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from looopy_otel.core.draft import AgentDraft, Cost, LLMDraft
from looopy_otel.core.identity import Identity
from looopy_otel.core.usage import Usage
from looopy_otel.store.span import StoredSpan

ALICE = Identity(session_id="s-1", user_id="alice", agent_id="helper", task_id="task_1")


def trace_id(number: int) -> str:
    return f"{number:032x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def stored(trace: int, span: int, **changes: Any) -> StoredSpan:
    facts: dict[str, Any] = {
        "trace_id": trace_id(trace),
        "span_id": span_id(span),
        "parent_id": None,
        "name": "step",
        "start_time": trace * 1_000_000_000 + span,
        "end_time": trace * 1_000_000_000 + span + 500_000_000,
    }
    return StoredSpan(**{**facts, **changes})


def agent(trace: int, span: int = 1, identity: Identity = ALICE, **changes: Any) -> StoredSpan:
    draft = AgentDraft(name="agent.execute", start_time=1, end_time=2, identity=identity)
    return stored(trace, span, name="agent.execute", draft=draft, **changes)


def call(trace: int, span: int, identity: Identity = ALICE, **facts: Any) -> StoredSpan:
    known: dict[str, Any] = {
        "request_model": "gpt-4o",
        "usage": Usage(100, 20, cache_read_tokens=10),
        "cost": Cost(Decimal("0.0034")),
    }
    draft = LLMDraft(name="llm.call", start_time=1, end_time=2, identity=identity, **{**known, **facts})
    return stored(trace, span, name="llm.call", kind="CLIENT", parent_id=span_id(1), draft=draft)

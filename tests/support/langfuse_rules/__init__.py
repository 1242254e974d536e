"""Langfuse's OTLP ingestion, rule by rule: what a request must hold so that nothing is lost, renamed or counted twice.

Server 4.16, both of its pipelines (the direct one, and the legacy one that drops what is typed wrongly without a
word). Each rule has an id; a violation reads ``<id> <place>: <what is wrong>``.
"""

from __future__ import annotations

from collections.abc import Iterable

from tests.support.langfuse_rules.amounts import AMOUNT_RULES
from tests.support.langfuse_rules.content import CONTENT_RULES
from tests.support.langfuse_rules.observation import OBSERVATION_RULES
from tests.support.langfuse_rules.request import REQUEST_RULES
from tests.support.langfuse_rules.trace import TRACE_RULES
from tests.support.otlp_sink import Received
from tests.support.spans import Span

SPAN_RULES = {**OBSERVATION_RULES, **AMOUNT_RULES, **CONTENT_RULES}


def violations(request: Received) -> list[str]:
    """Gives every rule that a request to Langfuse breaks, its spans taken one by one; empty when all is well."""
    found = [f"{name} request: {what}" for name, rule in REQUEST_RULES.items() for what in rule(request)]
    return found + [violation for span in request.spans for violation in span_violations(span)]


def span_violations(span: Span) -> list[str]:
    """Gives every rule that one span breaks."""
    return [f"{name} {span.name}: {what}" for name, rule in SPAN_RULES.items() for what in rule(span)]


def trace_violations(spans: Iterable[Span]) -> list[str]:
    """Gives every rule that whole traces break; `spans` must be all that was sent of them, however batched."""
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id, []).append(span)
    return [
        f"{name} trace: {what}"
        for trace in traces.values()
        for name, rule in TRACE_RULES.items()
        for what in rule(trace)
    ]


def all_violations(requests: Iterable[Received]) -> list[str]:
    """Gives what the requests break one by one, and what the traces break that the accepted ones make together."""
    requests = list(requests)
    found = [violation for request in requests for violation in violations(request)]
    return found + trace_violations(span for request in requests if request.accepted for span in request.spans)

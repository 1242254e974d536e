"""Finished spans and drafts to send through the pipeline."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from looopy_otel.core.draft import LLMDraft
from looopy_otel.core.identity import Identity
from looopy_otel.core.settings import Deployment, Destination, HTTPDestination, Settings
from looopy_otel.export.build import build_destination
from looopy_otel.export.destination import DestinationExporter, Outgoing
from looopy_otel.export.memory import MemoryBudget

TRACE_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736
_ids = itertools.count(1)
RESOURCE = Resource({"service.name": "shop"})


def finished(name: str = "llm.call", attributes: Mapping[str, Any] | None = None) -> ReadableSpan:
    start = time.time_ns()
    return ReadableSpan(
        name=name,
        context=SpanContext(TRACE_ID, next(_ids), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
        resource=RESOURCE,
        attributes=attributes or {},
        kind=SpanKind.CLIENT,
        start_time=start,
        end_time=start + 1_000_000,
        instrumentation_scope=InstrumentationScope("looopy_otel", "1"),
    )


def outgoing(*names: str) -> list[Outgoing]:
    return [Outgoing(finished(name)) for name in names]


def llm_draft(**changes: Any) -> LLMDraft:
    facts: dict[str, Any] = {
        "name": "llm.call",
        "start_time": 1,
        "end_time": 2,
        "identity": Identity(session_id="s-1", agent_id="a", task_id="t"),
        "request_model": "gpt-4o",
        "input": [{"role": "user", "content": "Hello!"}],
    }
    return LLMDraft(**{**facts, **changes})


def destination(url: str, **changes: Any) -> HTTPDestination:
    return replace(HTTPDestination("otlp", url, timeout=5.0), **changes)


def spooled_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*.otlp") if path.parent.name != "rejected")


def rejected_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*.otlp") if path.parent.name == "rejected")


def built(destination: Destination, spool: Path) -> DestinationExporter:
    """The exporter of a destination, with a count of its own of what waits in memory."""
    settings = Settings("test", Deployment(), {}, (destination,), spool_directory=spool)
    return build_destination(destination, settings, MemoryBudget(settings.limits.memory))

"""What the agents of all frameworks do here, and how their spans are read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

import looopy_otel as lo
from looopy_otel.testing import CapturedSpans
from tests.support.model_server import Answer, Recorded

TWO_TOOLS = [
    "agent.execute",
    "  agent.iteration",
    "    llm.call",
    "    tool.execute",
    "      reckon",
    "    tool.execute",
    "      reckon",
    "  agent.iteration",
    "    llm.call",
]
"""The tree of a run that asks for two tools at once and then answers."""


def calculating(request: Recorded) -> Answer:
    """Asks for two calculations; answers once it has seen a result."""
    last = items_of(request)[-1]
    if last.get("role") == "tool" or last.get("type") == "function_call_output":
        return Answer(text="It is 42.", usage=(20, 5))
    return Answer(
        text="",
        tool_calls=[("calculate", {"expression": "6*7"}), ("calculate", {"expression": "1+1"})],
        usage=(11, 7),
    )


def items_of(request: Recorded) -> list[Mapping[str, Any]]:
    """The conversation of a request, whichever API it is."""
    items = request.json.get("messages") or request.json["input"]
    return [{"role": "user", "content": items}] if isinstance(items, str) else items


def reckon(expression: str) -> str:
    """What the tool does: it has a span of its own, and may fail."""
    with lo.span("reckon"):
        if expression == "boom":
            raise ValueError("boom")
        return {"6*7": "42", "1+1": "2"}[expression]


def named(captured: CapturedSpans, name: str) -> list[ReadableSpan]:
    """The spans of a name, in the order of their starts."""
    return [span for span in captured.spans() if span.name == name]


def told(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(span.attributes or {})


def decoded(span: ReadableSpan, attribute: str) -> Any:
    """An attribute that is JSON."""
    return json.loads(str(told(span)[attribute]))

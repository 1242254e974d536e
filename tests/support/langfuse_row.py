"""What Langfuse shows for a span: the row that its server (4.16, direct pipeline) derives, by its tables of precedence.

A compact oracle, so that tests can say what a person would see. It covers what may arrive from here: no special
scopes, no other SDK's attributes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.spans import Span

GENERATION_OPERATIONS: Final = ("chat", "completion", "text_completion", "generate_content", "generate")
OPERATION_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(GENERATION_OPERATIONS, "GENERATION"),
    "embeddings": "EMBEDDING",
    "invoke_agent": "AGENT",
    "create_agent": "AGENT",
    "execute_tool": "TOOL",
}
TYPES: Final = frozenset(
    {"span", "generation", "event", "embedding", "agent", "tool", "chain", "retriever", "guardrail", "evaluator"}
)
WITHOUT_MODEL: Final = ("invoke_agent", "agent_step")
INPUT_USAGE: Final = ("prompt_tokens", "input_tokens", "prompt")
OUTPUT_USAGE: Final = ("completion_tokens", "output_tokens", "completion")
CACHE_READ: Final = ("cache_read.input_tokens", "cache_read_input_tokens", "input_cached_tokens")
CACHE_WRITE: Final = ("cache_creation.input_tokens", "cache_creation_input_tokens", "input_cache_creation")
REASONING: Final = ("reasoning.output_tokens",)


@dataclass(frozen=True, slots=True)
class Row:
    """One observation as Langfuse stores it.

    Attributes:
        type: Upper-case, such as ``GENERATION``.
        name: The observation's name.
        level: ``DEFAULT``, ``ERROR``, …
        status_message: Text, or None.
        model: The model that is priced, or None.
        model_parameters: As given.
        usage: Tokens by key, with ``total``.
        cost: USD by key, with ``total`` where it is known; empty when the server has to compute it.
        input: Decoded where it is JSON.
        output: Decoded where it is JSON.
        session: The session, or None.
        user: The user, or None.
        tags: The trace's tags.
        trace_name: The trace's name, or None.
        environment: ``default`` where none is usable.
        release: Or None.
        version: Or None.
        root: True when the row counts as the root of its trace.
        metadata: The keys that can be filtered by.
    """

    type: str
    name: str
    level: str
    status_message: str | None
    model: str | None
    model_parameters: Mapping[str, Any]
    usage: Mapping[str, int]
    cost: Mapping[str, float]
    input: Any
    output: Any
    session: str | None
    user: str | None
    tags: tuple[str, ...]
    trace_name: str | None
    environment: str
    release: str | None
    version: str | None
    root: bool
    metadata: Mapping[str, Any]


def to_row(span: Span) -> Row:
    """Gives the row for one span."""
    seen = span.attributes
    model_allowed = seen.get("gen_ai.operation.name") not in WITHOUT_MODEL
    source, content = _content(seen)
    return Row(
        type=_type(seen),
        name=_first(seen, "gen_ai.tool.name", "genkit:name", "logfire.msg", "ai.toolCall.name") or span.name,
        level=_level(span),
        status_message=_first(seen, "langfuse.observation.status_message") or span.status_message or None,
        model=_model(seen) if model_allowed else None,
        model_parameters=_parameters(seen),
        usage=_usage(seen) if model_allowed else {},
        cost=_cost(seen) if model_allowed else {},
        input=_decoded(content[0]) if source else None,
        output=_decoded(content[1]) if source else None,
        session=_first(seen, "langfuse.session.id", "session.id", "gen_ai.conversation.id"),
        user=_first(seen, "langfuse.user.id", "user.id"),
        tags=tuple(_first(seen, "langfuse.trace.tags", "langfuse.tags") or ()),
        trace_name=_first(seen, "langfuse.trace.name"),
        environment=_environment(span),
        release=_first(seen, "langfuse.release") or _first(span.resource, "langfuse.release"),
        version=_first(seen, "langfuse.version") or _first(span.resource, "service.version"),
        root=span.parent_id is None or seen.get("langfuse.internal.is_app_root") in (True, "true"),
        metadata=_metadata(seen),
    )


def outline(row: Row) -> str:
    """Gives what a person sees first: name, type in lower case, model, tokens and cost, in one line."""
    parts = [f"{row.name} ({row.type.lower()})"]
    if row.model:
        parts.append(row.model)
    if row.usage:
        parts.append(f"{_side(row.usage, 'input')} → {_side(row.usage, 'output')} ({row.usage['total']} total)")
    if "total" in row.cost:
        parts.append(f"${row.cost['total']:.4f}")
    return " · ".join(parts)


def _side(usage: Mapping[str, int], side: str) -> int:
    return sum(count for key, count in usage.items() if side in key)


def _first(values: Mapping[str, Any], *keys: str) -> Any:
    return next((values[key] for key in keys if values.get(key)), None)


def _type(seen: Mapping[str, Any]) -> str:
    if seen.get("langfuse.observation.type") in TYPES:
        return str(seen["langfuse.observation.type"]).upper()
    if seen.get("gen_ai.operation.name") in OPERATION_TYPES:
        return OPERATION_TYPES[seen["gen_ai.operation.name"]]
    if _first(seen, "gen_ai.tool.name", "gen_ai.tool.call.id"):
        return "TOOL"
    return "GENERATION" if _model(seen) else "SPAN"


def _level(span: Span) -> str:
    explicit = str(span.attributes.get("langfuse.observation.level", "")).upper()
    if explicit in ("DEBUG", "DEFAULT", "WARNING", "ERROR"):
        return explicit
    return "ERROR" if span.status == "ERROR" else "DEFAULT"


def _model(seen: Mapping[str, Any]) -> str | None:
    keys = (
        "langfuse.observation.model.name",
        "gen_ai.response.model",
        "gen_ai.request.model",
        "llm.model_name",
        "model",
    )
    return _first(seen, *keys)


def _parameters(seen: Mapping[str, Any]) -> dict[str, Any]:
    explicit = _decoded(seen.get("langfuse.observation.model.parameters"))
    if isinstance(explicit, dict):
        return explicit  # pyright: ignore[reportUnknownVariableType]
    prefix = "gen_ai.request."
    return {
        key.removeprefix(prefix): value
        for key, value in seen.items()
        if key.startswith(prefix) and key != "gen_ai.request.model"
    }


def _usage(seen: Mapping[str, Any]) -> dict[str, int]:
    text = seen.get("langfuse.observation.usage_details")
    explicit = _decoded(text)
    if text and not (isinstance(explicit, str) and explicit == text):
        counts = _counts(explicit)
    else:
        counts = _generic_usage(seen)
    return counts and {**counts, "total": counts.get("total", sum(counts.values()))}


def _counts(explicit: Any) -> dict[str, int]:
    """Non-negative ints are kept; OpenAI's own shape is renamed when it stands alone."""
    if not isinstance(explicit, dict):
        return {}
    counts: dict[str, int] = {
        str(key): value  # pyright: ignore[reportUnknownArgumentType]
        for key, value in explicit.items()  # pyright: ignore[reportUnknownVariableType]
        if type(value) is int and value >= 0  # pyright: ignore[reportUnknownArgumentType]
    }
    if set(counts) == {"prompt_tokens", "completion_tokens", "total_tokens"} == set(explicit):  # pyright: ignore[reportUnknownArgumentType]
        names = {"prompt_tokens": "input", "completion_tokens": "output", "total_tokens": "total"}
        return {names[key]: value for key, value in counts.items()}
    return counts


def _generic_usage(seen: Mapping[str, Any]) -> dict[str, int]:
    """The `gen_ai.usage.*` numbers: totals are inclusive, the known parts are taken out of them."""
    prefix = "gen_ai.usage."
    left = {
        key.removeprefix(prefix): value
        for key, value in seen.items()
        if key.startswith(prefix) and key != f"{prefix}cost" and isinstance(value, int) and not isinstance(value, bool)
    }
    prompt, completion, total = (_take(left, names) for names in (INPUT_USAGE, OUTPUT_USAGE, ("total_tokens", "total")))
    read, write, reasoning = (_take(left, names) for names in (CACHE_READ, CACHE_WRITE, REASONING))
    counts = {
        "input": None if prompt is None else max(prompt - (read or 0) - (write or 0), 0),
        "output": None if completion is None else max(completion - (reasoning or 0), 0),
        "total": total,
        "input_cached_tokens": read,
        "input_cache_creation": write,
        "output_reasoning_tokens": reasoning,
    }
    return {**{key: count for key, count in counts.items() if count is not None}, **left}


def _take(left: dict[str, int], names: Sequence[str]) -> int | None:
    """The first of the names that is there; all of them are used up."""
    found = [left.pop(name) for name in names if name in left]
    return found[0] if found else None


def _cost(seen: Mapping[str, Any]) -> dict[str, float]:
    explicit = _decoded(seen.get("langfuse.observation.cost_details"))
    costs: dict[str, float] = dict(explicit) if isinstance(explicit, dict) else {}  # pyright: ignore[reportUnknownArgumentType]
    if not costs and "gen_ai.usage.cost" in seen:
        costs = {"total": seen["gen_ai.usage.cost"]}
    if costs and "total" not in costs and set(costs) <= {"input", "output"}:
        costs["total"] = sum(costs.values())
    return costs


CONTENT_PAIRS: Final = (
    ("input.value", "output.value"),
    ("input", "output"),
    ("gen_ai.prompt", "gen_ai.completion"),
    ("gen_ai.input.messages", "gen_ai.output.messages"),
    ("gen_ai.tool.call.arguments", "gen_ai.tool.call.result"),
)


def _content(seen: Mapping[str, Any]) -> tuple[str | None, tuple[Any, Any]]:
    """One source gives both; the first with any of them wins."""
    own = ("langfuse.observation.input", "langfuse.observation.output")
    if any(seen.get(key) is not None for key in own):
        return own[0], (seen.get(own[0]), seen.get(own[1]))
    for pair in CONTENT_PAIRS:
        prefixed = pair[0] == "gen_ai.prompt" and any(re.match(r"gen_ai\.(prompt|completion)", key) for key in seen)
        if prefixed or any(seen.get(key) for key in pair):
            return pair[0], (seen.get(pair[0]), seen.get(pair[1]))
    return None, (None, None)


def _environment(span: Span) -> str:
    keys = ("langfuse.environment", "deployment.environment.name", "deployment.environment")
    found = next((place[key] for key in keys for place in (span.attributes, span.resource) if place.get(key)), "")
    cleaned = re.sub(r"^langfuse[-_]?", "", str(found).lower())[:40]
    return cleaned if re.fullmatch(r"[a-z0-9_-]+", cleaned) else "default"


def _metadata(seen: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for prefix in ("langfuse.observation.metadata.", "langfuse.trace.metadata."):
        found.update((key.removeprefix(prefix), value) for key, value in seen.items() if key.startswith(prefix))
    return found


def _decoded(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text

"""Rules of generations: model, tokens, cost and first token (sections 2, 3, 6 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final

from tests.support.langfuse_rules.reading import COST, USAGE, is_generation, json_object, observation_type
from tests.support.spans import Span

USAGE_KEYS: Final = frozenset(
    [
        "input",
        "output",
        "total",
        "input_cached_tokens",
        "input_cache_creation",
        "input_cache_creation_5m",
        "input_cache_creation_1h",
        "input_audio_tokens",
        "output_reasoning_tokens",
        "output_audio_tokens",
    ]
)
MODEL_STRIPPING_OPERATIONS: Final = frozenset({"invoke_agent", "agent_step"})


def model(span: Span) -> Iterator[str]:
    """A generation has a model; any other span with one would become a generation or be counted as one."""
    name = span.attributes.get("langfuse.observation.model.name")
    if is_generation(span):
        if not isinstance(name, str) or not name:
            yield f"a generation with langfuse.observation.model.name={name!r}"
    else:
        names = ("langfuse.observation.model.name", "gen_ai.request.model", "gen_ai.response.model", "model")
        yield from (f"{key} on a {observation_type(span)}" for key in names if key in span.attributes)


def model_parameters(span: Span) -> Iterator[str]:
    """A JSON object of texts and numbers."""
    text = span.attributes.get("langfuse.observation.model.parameters")
    if text is None:
        return
    parameters = json_object(text)
    if not parameters:
        yield f"langfuse.observation.model.parameters={text!r}"
    for key, value in (parameters or {}).items():
        if value is None or isinstance(value, dict | list):
            yield f"model parameter {key}={value!r} is neither text nor number"


def usage(span: Span) -> Iterator[str]:
    """A JSON object of disjoint, non-negative ints; anything else suppresses all usage or counts tokens twice."""
    text = span.attributes.get(USAGE)
    if text is None:
        return
    counts = json_object(text)
    if not counts:
        yield f"{USAGE}={text!r}"
        return
    wrong = {key: count for key, count in counts.items() if type(count) is not int or count < 0}
    if wrong:
        yield f"{USAGE} has {wrong!r}"
        return
    if unknown := set(counts) - USAGE_KEYS:
        yield f"{USAGE} has keys without a price: {sorted(unknown)}"
    parts = sum(count for key, count in counts.items() if key != "total")
    if parts != counts.get("total", parts):
        yield f"{USAGE}: the parts add up to {parts}, not to the total {counts['total']}"


def completion_start(span: Span) -> Iterator[str]:
    """ISO 8601 with an offset, or the legacy pipeline drops the generation."""
    text = span.attributes.get("langfuse.observation.completion_start_time")
    if text is None:
        return
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        moment = None
    if moment is None or not str(text).endswith("Z"):
        yield f"completion_start_time={text!r} is not ISO 8601 with Z"
    elif not span.start - 1_000_000 <= moment.timestamp() * 1e9 <= span.end + 1_000_000:
        yield f"completion_start_time={text!r} is outside the span"
    if not is_generation(span):
        yield f"completion_start_time on a {observation_type(span)}"


def operation(span: Span) -> Iterator[str]:
    """These operations strip model, usage and cost, explicit ones included."""
    name = span.attributes.get("gen_ai.operation.name")
    if name in MODEL_STRIPPING_OPERATIONS and is_generation(span):
        yield f"gen_ai.operation.name={name!r} on a generation"


def cost(span: Span) -> Iterator[str]:
    """Numbers of USD with a total; without it a breakdown gives no cost at all."""
    text = span.attributes.get(COST)
    if text is None:
        return
    amounts = json_object(text)
    if not amounts or "total" not in amounts:
        yield f"{COST}={text!r} has no total"
    for key, amount in (amounts or {}).items():
        if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
            yield f"{COST}: {key}={amount!r}"
    parts = [amount for key, amount in (amounts or {}).items() if key != "total" and isinstance(amount, int | float)]
    if amounts and parts and abs(sum(parts) - amounts.get("total", 0)) > 1e-9:
        yield f"{COST}: the parts do not add up to the total: {text}"


def unknown_cost(span: Span) -> Iterator[str]:
    """A cost of 0 counts as given; unknown is absent."""
    if span.attributes.get("llm.cost.source") in (None, "unknown"):
        yield from (
            f"{key} though the cost is unknown" for key in (COST, "gen_ai.usage.cost") if key in span.attributes
        )
    value = span.attributes.get("gen_ai.usage.cost", 0.0)
    if not isinstance(value, float) or value < 0:
        yield f"gen_ai.usage.cost={value!r} is not a double of at least 0"


def usage_of_generations_only(span: Span) -> Iterator[str]:
    """Every type of observation is priced and summed, so usage and cost stand on the leaves alone."""
    if is_generation(span):
        return
    for key in span.attributes:
        if key in (USAGE, COST, "llm.cost.total") or key.startswith(("gen_ai.usage.", "llm.token_count.")):
            yield f"{key} on a {observation_type(span)}"


def usage_of_failures(span: Span) -> Iterator[str]:
    """Without any usage the server counts the input itself and puts a cost on a call that never was answered."""
    if is_generation(span) and span.status == "ERROR" and USAGE not in span.attributes and COST not in span.attributes:
        yield f"a failed generation without {USAGE}"


AMOUNT_RULES: Final[Mapping[str, Callable[[Span], Iterator[str]]]] = {
    "2.model": model,
    "2.model-parameters": model_parameters,
    "2.usage": usage,
    "2.completion-start": completion_start,
    "3.operation": operation,
    "6.cost": cost,
    "6.unknown": unknown_cost,
    "8.usage-on-leaves": usage_of_generations_only,
    "8.usage-of-failures": usage_of_failures,
}

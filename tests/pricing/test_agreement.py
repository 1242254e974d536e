"""One hundred calls: the local store, what Langfuse gets, the metrics and the run's own total say the same spend."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum

import looopy_otel as lo
from looopy_otel.core.draft import LLMDraft
from looopy_otel.providers import Reply, ScriptedProvider
from looopy_otel.store.sqlite import Store
from tests.support.otlp_sink import OTLPSink

CALLS = 100
MODELS = (
    "gpt-4o",
    "gpt-4.1-mini-2025-04-14",
    "o3",
    "claude-sonnet-4-5-20250929",
    "gemini/gemini-2.5-flash",
    "azure/gpt-4o-mini",
    "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
    "house-model",
    "reported-model",
    "ollama/llama2",
    "nobody-knows-it",
)


def replies(model: str, seed: int) -> Reply:
    chance = random.Random(seed)
    prompt, completion = chance.randint(1, 300_000), chance.randint(0, 20_000)
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": chance.randint(0, prompt)},
        "completion_tokens_details": {"reasoning_tokens": chance.randint(0, completion)},
    }
    cost = round(chance.uniform(0.00001, 2), 9) if model == "reported-model" else None
    return Reply(text="Hello!", usage=usage, cost=cost)


@pytest.fixture
def sink() -> Iterator[OTLPSink]:
    with OTLPSink() as running:
        yield running


@lo.trace_agent
def work() -> None:
    for number in range(CALLS):
        model = MODELS[number % len(MODELS)]
        provider = ScriptedProvider([replies(model, number)], model=model)
        provider.call_sync(messages=[{"role": "user", "content": "Hi"}])


def drafts_in(store: Store) -> dict[str, LLMDraft]:
    spans = [span for summary in store.traces() for span in store.spans(summary.trace_id)]
    return {span.span_id: span.draft for span in spans if isinstance(span.draft, LLMDraft)}


def cost_details(attributes: Mapping[str, Any]) -> dict[str, Decimal] | None:
    text = attributes.get("langfuse.observation.cost_details")
    return None if text is None else json.loads(text, parse_float=Decimal, parse_int=Decimal)


def spent_by_metrics(reader: InMemoryMetricReader) -> Decimal:
    data = reader.get_metrics_data()
    assert data is not None
    metrics = [one for resource in data.resource_metrics for scope in resource.scope_metrics for one in scope.metrics]
    (cost,) = (one.data for one in metrics if one.name == "looopy.cost.usd")
    assert isinstance(cost, Sum)
    return sum((Decimal(repr(point.value)) for point in cost.data_points), Decimal(0))


def test_a_hundred_calls_cost_the_same_everywhere(sink: OTLPSink, tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    database = tmp_path / "traces.db"
    with lo.configure(
        exporters=["langfuse", "local"],
        langfuse_base_url=sink.url,
        langfuse_public_key="pk",
        langfuse_secret_key="sk",
        database=database,
        spool_directory=tmp_path / "spool",
        metrics=reader,
        prices={"house-*": {"input": "1.23", "cache_read": "0.07", "output": "4.56"}},
    ) as running:
        work()
        running.flush(20)
        measured = spent_by_metrics(reader)
        unpriced = running.stats().unpriced_calls
    sent = {span.span_id: span.attributes for span in sink.spans}
    with Store(database, read_only=True) as store:
        stored = drafts_in(store)
        (summary,) = store.traces()
    assert len(stored) == CALLS
    for span_id, draft in stored.items():
        details = cost_details(sent[span_id])
        assert (None if details is None else details.pop("total")) == (None if draft.cost is None else draft.cost.total)
        assert not details or sum(details.values()) == (draft.cost and draft.cost.total)
    spent = sum((draft.cost.total for draft in stored.values() if draft.cost is not None), Decimal(0))
    assert spent > 10
    assert summary.cost == spent
    assert unpriced == {"nobody-knows-it": CALLS // len(MODELS)}
    sources = {draft.cost.source if draft.cost else "unknown" for draft in stored.values()}
    assert sources == {"provider", "override", "price-table", "unknown"}
    (run,) = (attributes for attributes in sent.values() if "agent.outcome" in attributes)
    # A sum of doubles has the last of its sixteen digits rounded.
    assert run["agent.cost.usd"] == float(spent)
    assert round(measured, 10) == round(spent, 10)

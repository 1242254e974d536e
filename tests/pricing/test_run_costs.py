"""What the calls of a run cost together stands on the run, whoever wrote its code."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from opentelemetry.sdk.trace import TracerProvider

import looopy_otel as lo
from looopy_otel.core.draft import AgentDraft, Cost, LLMDraft
from looopy_otel.core.identity import NOBODY
from looopy_otel.export.run_costs import RunCosts
from looopy_otel.providers import Reply, ScriptedProvider
from looopy_otel.testing import capture_spans
from tests.agent.fakes import FakeProvider, Turn, agent, calculate

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
# 1000 at 2.50 and 100 at 10 per million.
ONE_CALL = 0.0035


def ask(model: str = "gpt-4o") -> None:
    provider = ScriptedProvider([Reply(text="x", usage=USAGE)], model=model)
    provider.call_sync(messages=[{"role": "user", "content": "Hi"}])


@lo.trace_agent
def inner() -> None:
    ask()
    ask("nobody-knows-it")


@lo.trace_agent
def outer() -> None:
    ask()
    with lo.span("a step"):
        inner()


def costs(captured: Any) -> dict[str, float | None]:
    spans = [dict(span.attributes or {}) for span in captured.spans() if span.name == "agent.execute"]
    return {str(span["gen_ai.agent.name"]): span.get("agent.cost.usd") for span in spans}


def test_a_decorated_run_has_the_cost_of_its_calls_and_of_the_runs_inside_it() -> None:
    with capture_spans() as captured:
        outer()
        assert costs(captured) == {"outer": 2 * ONE_CALL, "inner": ONE_CALL}


def test_a_span_of_somebody_else_between_loses_nothing() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("somebody else")
    with capture_spans() as captured, lo.agent_span("mine"):
        with tracer.start_as_current_span("GET /"):
            ask()
    assert costs(captured) == {"mine": ONE_CALL}


def test_a_run_whose_calls_have_no_known_cost_has_none() -> None:
    with capture_spans() as captured, lo.agent_span("mine"):
        ask("nobody-knows-it")
    assert costs(captured) == {"mine": None}


async def test_a_loop_keeps_its_own_total_and_hands_on_what_its_calls_cost() -> None:
    loop = agent(FakeProvider([Turn("Done", cost=Decimal("0.4"))]), calculate, agent_id="loop")
    with capture_spans() as captured:
        with lo.agent_span("around"):
            result = await loop.arun("Hi")
            ask()
        assert result.cost == Decimal("0.4")
        assert costs(captured) == {"around": 0.4 + ONE_CALL, "loop": 0.4}


RUN = AgentDraft(name="agent.execute", start_time=1, end_time=2, identity=NOBODY)
CALL = LLMDraft(name="llm.call", start_time=1, end_time=2, identity=NOBODY, cost=Cost(Decimal("0.1")))


def test_runs_that_never_end_are_forgotten() -> None:
    memory = RunCosts(most=2)
    for number in (1, 2, 3):
        memory.settled(replace(CALL, run=format(number, "016x")), None)
    settled = [memory.settled(RUN, number) for number in (1, 2, 3)]
    assert [run.cost for run in settled if isinstance(run, AgentDraft)] == [None, Decimal("0.1"), Decimal("0.1")]


def test_a_run_is_settled_once() -> None:
    memory = RunCosts()
    memory.settled(replace(CALL, run=format(7, "016x")), None)
    first, second = memory.settled(RUN, 7), memory.settled(RUN, 7)
    assert isinstance(first, AgentDraft)
    assert first.cost == Decimal("0.1")
    assert second is RUN

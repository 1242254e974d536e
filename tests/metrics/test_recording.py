"""What is measured, as it arrives by OTLP."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import looopy_otel as lo
from looopy_otel.agent import (
    AgentLoop,
    Budget,
    BudgetExceededError,
    FunctionTools,
    InMemoryArtifactStore,
    InMemoryStateStore,
)
from looopy_otel.core import hooks, semconv
from looopy_otel.core.draft import LLMDraft
from looopy_otel.core.identity import Identity
from looopy_otel.core.operation import LLMCall
from looopy_otel.core.types import LLMResponse, Message
from looopy_otel.core.usage import Usage
from looopy_otel.providers import LiteLLMAPIError, Reply, ScriptedProvider
from looopy_otel.record.metric_runs import ActiveRuns
from looopy_otel.record.metrics import CALL_SECONDS, CALL_TOKENS, RUN_PARTS, RUN_SECONDS, Measurements
from tests.metrics.points import CUMULATIVE, Point, metrics, point, points, points_of, resource
from tests.metrics.workload import COST, MODEL, agent, ask, asks_for_tool, reply, run
from tests.support.otlp_sink import Answer, OTLPSink

LABELS = {
    semconv.GEN_AI_OPERATION_NAME,
    semconv.GEN_AI_PROVIDER_NAME,
    semconv.GEN_AI_REQUEST_MODEL,
    semconv.GEN_AI_RESPONSE_MODEL,
    semconv.GEN_AI_AGENT_NAME,
    semconv.DEPLOYMENT_ENVIRONMENT,
    semconv.GEN_AI_TOKEN_TYPE,
    semconv.GEN_AI_TOKEN_MODALITY,
    semconv.GEN_AI_TOOL_NAME,
    semconv.GEN_AI_TOOL_TYPE,
    semconv.ERROR_TYPE,
    semconv.AGENT_OUTCOME,
    semconv.LABEL_DESTINATION,
    semconv.LABEL_REASON,
}
UNITS = {
    semconv.METRIC_OPERATION_DURATION: ("s", CALL_SECONDS),
    semconv.METRIC_TOKEN_USAGE: ("{token}", CALL_TOKENS),
    semconv.METRIC_TIME_TO_FIRST_CHUNK: ("s", CALL_SECONDS),
    semconv.METRIC_TIME_PER_OUTPUT_CHUNK: ("s", CALL_SECONDS),
    semconv.METRIC_AGENT_DURATION: ("s", RUN_SECONDS),
    semconv.METRIC_AGENT_INFERENCE_CALLS: ("{inference_call}", RUN_PARTS),
    semconv.METRIC_AGENT_TOOL_CALLS: ("{tool_call}", RUN_PARTS),
    semconv.METRIC_AGENT_ITERATIONS: ("{iteration}", RUN_PARTS),
    semconv.METRIC_TOOL_DURATION: ("s", CALL_SECONDS),
}


def test_a_run_is_measured_with_the_names_units_and_buckets_of_the_conventions(
    sink: OTLPSink, pushed: lo.Telemetry
) -> None:
    run()
    pushed.flush()
    arrived = metrics(sink.metric_requests[-1])
    assert {name: metric.unit for name, metric in arrived.items() if name in UNITS} == {
        name: unit for name, (unit, _) in UNITS.items()
    }
    for name, (_, bounds) in UNITS.items():
        assert arrived[name].histogram.aggregation_temporality == CUMULATIVE
        assert {one.bounds for one in points_of(arrived[name])} == {tuple(map(float, bounds))}
    assert arrived[semconv.METRIC_COST].unit == "{USD}"
    assert arrived[semconv.METRIC_COST].sum.is_monotonic


def test_the_numbers_of_a_run(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    result = run()
    pushed.flush()
    assert result.cost == 2 * COST
    call = {"gen_ai_agent_name": "counter", "gen_ai_request_model": MODEL, "gen_ai_operation_name": "chat"}
    assert point(sink, semconv.METRIC_COST, **call).value == pytest.approx(0.5)
    assert point(sink, semconv.METRIC_OPERATION_DURATION, **call).count == 2
    tokens = {kind: point(sink, semconv.METRIC_TOKEN_USAGE, gen_ai_token_type=kind) for kind in ("input", "output")}
    assert {kind: (one.count, one.value) for kind, one in tokens.items()} == {"input": (2, 200), "output": (2, 40)}
    assert point(sink, semconv.METRIC_CACHE_READ_TOKENS, **call).value == 120
    assert point(sink, semconv.METRIC_REASONING_TOKENS, **call).value == 10
    assert points(sink, semconv.METRIC_CACHE_WRITE_TOKENS) == []
    assert point(sink, semconv.METRIC_TIME_TO_FIRST_CHUNK).count == 2
    assert point(sink, semconv.METRIC_TIME_PER_OUTPUT_CHUNK).count >= 1
    assert point(sink, semconv.METRIC_TOOL_DURATION, gen_ai_tool_name="calculate").count == 1
    assert point(sink, semconv.METRIC_AGENT_DURATION, agent_outcome="completed").count == 1
    assert point(sink, semconv.METRIC_AGENT_INFERENCE_CALLS).value == 2
    assert point(sink, semconv.METRIC_AGENT_TOOL_CALLS).value == 1
    assert point(sink, semconv.METRIC_AGENT_ITERATIONS).value == 2
    assert points(sink, semconv.METRIC_UNPRICED_CALLS) == []


def test_a_run_counts_its_own_calls_and_not_those_of_its_sub_agents(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    inner = agent([asks_for_tool(), asks_for_tool(), reply()], "inner")

    def delegate(expression: str) -> str:
        """Has another agent calculate.

        Args:
            expression: What.
        """
        return inner.run(expression).output or ""

    outer = AgentLoop(
        agent_id="outer",
        llm_provider=ScriptedProvider([asks_for_tool("delegate"), reply()], model=MODEL),
        tool_providers=[FunctionTools([delegate])],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
    )
    result = outer.run("Go!")
    pushed.flush()
    assert (result.llm_calls, result.tool_calls) == (5, 3)
    for name, calls, tools in (("inner", 3, 2), ("outer", 2, 1)):
        assert point(sink, semconv.METRIC_AGENT_INFERENCE_CALLS, gen_ai_agent_name=name).value == calls
        assert point(sink, semconv.METRIC_AGENT_TOOL_CALLS, gen_ai_agent_name=name).value == tools


def test_what_is_not_sampled_is_measured_all_the_same(sink: OTLPSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with lo.configure(exporters="otlp", otlp_endpoint=sink.url) as telemetry:
        run()
        telemetry.flush()
        assert telemetry.stats().queued == 0
    assert sink.requests == []
    assert point(sink, semconv.METRIC_COST).value == pytest.approx(0.5)
    assert point(sink, semconv.METRIC_TOKEN_USAGE, gen_ai_token_type="input").value == 200
    assert point(sink, semconv.METRIC_AGENT_DURATION, agent_outcome="completed").count == 1
    assert point(sink, semconv.METRIC_TOOL_DURATION).count == 1
    assert point(sink, semconv.METRIC_AGENT_INFERENCE_CALLS).value == 2


def test_what_a_recorded_answer_says_is_measured_where_nothing_is_sampled(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    answer = {
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}}],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000},
    }
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url), lo.llm_span(model="gpt-4o") as call:
        call.record(output=answer)
    assert point(sink, semconv.METRIC_COST, gen_ai_response_model="gpt-4o-2024-08-06").value == pytest.approx(2.5)
    assert point(sink, semconv.METRIC_TOKEN_USAGE, gen_ai_token_type="input").value == 1_000_000


def test_half_of_the_traces_are_sampled_and_all_calls_are_measured(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    with lo.configure(exporters="otlp", otlp_endpoint=sink.url):
        for _ in range(60):
            ask()
    assert 0 < len(sink.spans) < 60
    assert point(sink, semconv.METRIC_OPERATION_DURATION).count == 60
    assert point(sink, semconv.METRIC_COST).value == pytest.approx(float(60 * COST))


def test_nothing_of_the_content_is_looked_at_where_nothing_is_sampled(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(dict[str, str]):
        looks = 0

        def __repr__(self) -> str:
            Watched.looks += 1
            return "watched"

        def items(self):  # pyright: ignore[reportIncompatibleMethodOverride, reportUnknownParameterType]
            Watched.looks += 1
            return super().items()

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        ScriptedProvider([reply()], model=MODEL).call_sync(
            messages=[{"role": "user", "content": "Hello!"}], parameters={"logit_bias": Watched(a="b")}
        )
        seen = Watched.looks
        telemetry.flush()
        assert Watched.looks == seen
    assert point(sink, semconv.METRIC_OPERATION_DURATION).count == 1


def test_exemplars_lead_to_the_trace(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    result = run()
    pushed.flush()
    for name in (semconv.METRIC_OPERATION_DURATION, semconv.METRIC_COST, semconv.METRIC_AGENT_DURATION):
        assert set(point(sink, name).exemplars) == {result.trace_id}


def test_failed_calls_are_measured_by_their_error(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    provider = ScriptedProvider([Reply(status=429, body=b'{"error": {"message": "slow down"}}')], model=MODEL)
    with pytest.raises(LiteLLMAPIError):
        provider.call_sync(messages=[{"role": "user", "content": "Hello!"}])
    ask()
    pushed.flush()
    by_error = {
        one.labels.get(semconv.ERROR_TYPE): one.count for one in points(sink, semconv.METRIC_OPERATION_DURATION)
    }
    assert by_error == {"429": 1, None: 1}
    # It told no tokens, and cost nothing that anybody knows of.
    assert point(sink, semconv.METRIC_TOKEN_USAGE, gen_ai_token_type="input").count == 1
    assert points(sink, semconv.METRIC_UNPRICED_CALLS) == []


def test_failed_tools_and_runs_are_measured_by_their_error(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    fails = Reply(tool_calls=(("calculate", {"expression": "fail"}),), cost=float(COST))
    with pytest.raises(LiteLLMAPIError):
        agent([fails, Reply(status=500, body=b"down")]).run("Go!")
    pushed.flush()
    assert point(sink, semconv.METRIC_TOOL_DURATION, error_type="ZeroDivisionError").count == 1
    assert point(sink, semconv.METRIC_AGENT_DURATION, agent_outcome="failed").labels[semconv.ERROR_TYPE] == "500"


async def test_cancelled_and_abandoned_calls_are_measured_and_are_no_errors(
    sink: OTLPSink, pushed: lo.Telemetry
) -> None:
    slow = ScriptedProvider([Reply(text="a long answer " * 50, chunk_delay=0.05)], model=MODEL)
    messages = [{"role": "user", "content": "Hello!"}]
    async with aclosing(aiter(slow.call(messages=messages))) as stream:  # pyright: ignore[reportArgumentType]
        async for _ in stream:
            break
    first = asyncio.Event()

    async def consume() -> None:
        async for _ in slow.call(messages=messages):
            first.set()

    task = asyncio.create_task(consume())
    await first.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.to_thread(pushed.flush)
    measured = point(sink, semconv.METRIC_OPERATION_DURATION)
    assert measured.count == 2
    assert semconv.ERROR_TYPE not in measured.labels


def test_unknown_cost_is_counted_and_warned_of_once_per_model(
    sink: OTLPSink, pushed: lo.Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "looopy_otel"):
        for model in ("nobody-knows-1", "nobody-knows-2", "nobody-knows-1"):
            ask(model=model, cost=None)
        pushed.flush()
    counted = {
        one.labels[semconv.GEN_AI_REQUEST_MODEL]: one.value for one in points(sink, semconv.METRIC_UNPRICED_CALLS)
    }
    assert counted == {"nobody-knows-1": 2, "nobody-knows-2": 1}
    assert points(sink, semconv.METRIC_COST) == []
    warnings = [record.getMessage() for record in caplog.records if "no price" in record.getMessage()]
    assert ["nobody-knows-1" in warnings[0], "nobody-knows-2" in warnings[1], len(warnings)] == [True, True, 2]


def test_no_label_says_who_or_what(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    secrets = ("session-77", "user-77", "tag-77", "15 * 23")
    with lo.session(session_id="session-77", user_id="user-77", tags=["tag-77"], metadata={"k": "v-77"}):
        result = run()
    pushed.flush()
    request = sink.metric_requests[-1]
    keys = {key for metric in metrics(request).values() for one in points_of(metric) for key in one.labels}
    assert keys <= LABELS
    plain = str(request.message)
    assert not [secret for secret in (*secrets, result.task_id, "v-77") if secret in plain]


def test_a_label_takes_few_values(sink: OTLPSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOOPY_OTEL_METRIC_LABEL_VALUES", "3")
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        for number in range(10):
            ask(model=f"model-{number}")
        ask(model="model-0")
        telemetry.flush()
    counts = {
        one.labels[semconv.GEN_AI_REQUEST_MODEL]: one.count for one in points(sink, semconv.METRIC_OPERATION_DURATION)
    }
    assert counts == {"model-0": 2, "model-1": 1, "model-2": 1, "other": 7}


def test_tools_that_a_model_makes_up_are_one_and_push_no_real_one_out(
    sink: OTLPSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOOPY_OTEL_METRIC_LABEL_VALUES", "3")
    made_up = Reply(tool_calls=tuple((f"search-{number}", {}) for number in range(10)), cost=float(COST))
    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url) as telemetry:
        agent([made_up, asks_for_tool(), reply()]).run("Go!")
        telemetry.flush()
    counts = {one.labels[semconv.GEN_AI_TOOL_NAME]: one.count for one in points(sink, semconv.METRIC_TOOL_DURATION)}
    assert counts == {"unknown": 10, "calculate": 1}


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Research Assistant", "Research Assistant"),
        ("arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0", None),
        ("the customer John Smith wants a refund", "other"),
        ("refund " + "x" * 64, "other"),
        ("x" * 201, "other"),
    ],
)
def test_a_label_is_a_name_and_no_text(sink: OTLPSink, pushed: lo.Telemetry, name: str, label: str | None) -> None:
    with lo.tool_span(name) as call:
        call.record(output="ok")
    pushed.flush()
    assert point(sink, semconv.METRIC_TOOL_DURATION).labels[semconv.GEN_AI_TOOL_NAME] == (label or name)


def test_a_cost_that_nobody_believes_is_unknown(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    for cost in (1e308, 1e308, 1_000_001, 0.25):
        with lo.llm_span(model="nobody-knows") as call:
            call.record(output="ok", usage={"prompt_tokens": 1, "completion_tokens": 1}, cost=cost)
    pushed.flush()
    assert point(sink, semconv.METRIC_COST).value == 0.25
    assert point(sink, semconv.METRIC_UNPRICED_CALLS).value == 3


def test_two_that_are_given_one_instance_id_count_as_two(sink: OTLPSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-1")
    for _ in range(2):
        with lo.configure(exporters="otlp", metrics="otlp", otlp_endpoint=sink.url):
            ask()
    instances = {resource(request)[semconv.SERVICE_INSTANCE_ID] for request in sink.metric_requests}
    assert len(instances) == 2
    assert all(one.startswith("pod-1-") for one in instances)
    assert {span.resource[semconv.SERVICE_INSTANCE_ID] for span in sink.spans} == {"pod-1"}


def test_the_health_of_the_pipeline_is_among_the_metrics(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    for _ in range(3):
        ask()
    pushed.flush()
    ask()
    pushed.flush()
    assert point(sink, semconv.METRIC_SPANS_EXPORTED, looopy_destination="otlp").value >= 3
    assert point(sink, semconv.METRIC_SPANS_SPOOLED, looopy_destination="otlp").value >= 0
    assert point(sink, semconv.METRIC_SPANS_QUEUED).value >= 0
    assert points(sink, semconv.METRIC_SPANS_DROPPED) == []
    pushed.shutdown()
    assert point(sink, semconv.METRIC_SPANS_EXPORTED, looopy_destination="otlp").value == 4


def test_dropped_spans_are_counted_by_reason(sink: OTLPSink) -> None:
    sink.answer(then=Answer(401))
    with lo.configure(exporters="otlp", otlp_endpoint=sink.url) as telemetry:
        ask()
        telemetry.flush()
    lost = point(sink, semconv.METRIC_SPANS_DROPPED, looopy_reason="http-401")
    assert (lost.value, lost.labels[semconv.LABEL_DESTINATION]) == (1, "otlp")


def test_the_resource_says_whose_metrics_they_are(sink: OTLPSink) -> None:
    with lo.configure(
        service_name="billing", environment="prod", exporters="none", metrics="otlp", otlp_endpoint=sink.url
    ):
        ask()
    about = resource(sink.metric_requests[-1])
    assert about[semconv.SERVICE_NAME] == "billing"
    assert about[semconv.DEPLOYMENT_ENVIRONMENT] == "prod"
    assert point(sink, semconv.METRIC_COST).labels[semconv.DEPLOYMENT_ENVIRONMENT] == "prod"


def measured(draft: LLMDraft) -> dict[str, list[Point]]:
    """What one draft adds, by metric."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("test")
    Measurements(meter, environment=None, label_values=2, runs=ActiveRuns(), stats=lo.Stats).record(draft)
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: [
            Point({k: str(v) for k, v in (one.attributes or {}).items()}, float(getattr(one, "sum", 0)))
            for one in metric.data.data_points
        ]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
    }


def test_odd_times_and_names_are_no_fault() -> None:
    draft = LLMDraft(name="llm.call", start_time=5, end_time=3, identity=Identity(), request_model="x" * 500)
    (only,) = measured(draft)[semconv.METRIC_OPERATION_DURATION]
    assert (only.value, only.labels[semconv.GEN_AI_REQUEST_MODEL]) == (0.0, "other")


def test_half_an_emoji_in_a_name_spoils_no_push(sink: OTLPSink, pushed: lo.Telemetry) -> None:
    hooks.announce(LLMCall(messages=(), model="half \ud83d")).end(LLMResponse(Message("assistant", "Hello!")))
    pushed.flush()
    assert point(sink, semconv.METRIC_OPERATION_DURATION).count == 1


def test_embeddings_have_input_tokens_only() -> None:
    found = measured(
        LLMDraft(
            name="llm.call",
            start_time=0,
            end_time=1,
            identity=Identity(),
            operation="embeddings",
            request_model="text-embedding-3-small",
            usage=Usage(prompt_tokens=7, completion_tokens=0),
        )
    )
    assert [one.labels[semconv.GEN_AI_TOKEN_TYPE] for one in found[semconv.METRIC_TOKEN_USAGE]] == ["input"]


def test_what_a_function_records_of_its_answer_counts_where_it_returns_only_the_text(sink: OTLPSink) -> None:
    answer = {
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}}],
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000},
    }

    @lo.trace_llm(model="gpt-4o")
    def asked(text: str | None) -> str | None:
        lo.current().record(output=answer)
        return text

    with lo.configure(exporters="otlp", metrics="otlp", otlp_endpoint=sink.url):
        assert [asked("Hello!"), asked(None)] == ["Hello!", None]
    assert point(sink, semconv.METRIC_COST, gen_ai_response_model="gpt-4o-2024-08-06").value == pytest.approx(5.0)
    for span in sink.spans:
        assert "Hello!" in str(span.attributes[semconv.GEN_AI_OUTPUT_MESSAGES])


def test_what_a_budget_refuses_is_no_failed_call(sink: OTLPSink) -> None:
    budget = Budget(max_llm_calls=2)

    @lo.trace_tool
    def stopped() -> None:
        raise BudgetExceededError("the budget is spent", limit="max_llm_calls", allowed=None, used=None)

    with lo.configure(exporters="none", metrics="otlp", otlp_endpoint=sink.url):
        provider = lo.wrap(ScriptedProvider([reply()], model=MODEL), middleware=[budget])
        with lo.agent_span("asker"):
            for _ in range(2):
                provider.call_sync(messages=[{"role": "user", "content": "Hello!"}])
            with pytest.raises(BudgetExceededError):
                provider.call_sync(messages=[{"role": "user", "content": "Hello!"}])
            with pytest.raises(BudgetExceededError):
                stopped()
    assert BudgetExceededError.__name__ == semconv.ERROR_TYPE_BUDGET
    assert point(sink, semconv.METRIC_OPERATION_DURATION).count == 2
    assert semconv.METRIC_TOOL_DURATION not in metrics(sink.metric_requests[-1])

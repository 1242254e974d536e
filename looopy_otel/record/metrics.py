"""What is measured: the instruments, and what each finished operation adds to them.

Names, units and buckets are those of the GenAI conventions where these have the metric, this project's own elsewhere.
No session, user, task or text is ever a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from looopy_otel.core import semconv as names
from looopy_otel.core.draft import AgentDraft, Draft, LLMDraft, ToolDraft
from looopy_otel.core.types import Stats
from looopy_otel.core.usage import Usage
from looopy_otel.mapping.scalars import error_type
from looopy_otel.record.metric_labels import UNKNOWN, LabelCap
from looopy_otel.record.metric_runs import ActiveRuns

# https://github.com/open-telemetry/semantic-conventions/blob/v1.41.1/docs/gen-ai/gen-ai-metrics.md
CALL_SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
CALL_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
# https://github.com/open-telemetry/semantic-conventions-genai
RUN_SECONDS: Final = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
RUN_PARTS: Final = (1, 2, 4, 8, 16, 32, 64, 128)

_NO_CONTEXT: Final = Context()


class Measurements:
    """The instruments of one configuration.

    Args:
        meter: Makes them.
        environment: The deployment environment, a label of all; or None.
        label_values: How many values one label takes before it says ``other``.
        runs: The runs that are under way.
        stats: Tells the health of the pipeline.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        environment: str | None,
        label_values: int,
        runs: ActiveRuns,
        stats: Callable[[], Stats],
    ) -> None:
        self._environment = environment
        self._cap = LabelCap(label_values)
        self._runs = runs
        self._stats = stats
        self._agents: frozenset[str] = frozenset()
        self._make_call_instruments(meter)
        self._make_run_instruments(meter)
        self._make_observed_instruments(meter)

    def record(self, draft: Draft, span_context: SpanContext | None = None) -> None:
        """Adds one finished operation, redacted and priced.

        Args:
            draft: The operation; one of a kind that is not measured, or that a budget refused, changes nothing.
            span_context: Of its span; the measurements of a sampled one can become exemplars.
        """
        if _is_refused(draft):
            return
        context = _NO_CONTEXT
        if span_context is not None:
            context = set_span_in_context(NonRecordingSpan(span_context), context)
        match draft:
            case LLMDraft():
                self._record_call(draft, context)
            case AgentDraft():
                self._record_run(draft, context)
            case ToolDraft():
                self._record_tool(draft, context)
            case _:
                pass

    def _make_call_instruments(self, meter: Meter) -> None:
        self._call_seconds = _seconds(
            meter, names.METRIC_OPERATION_DURATION, CALL_SECONDS, "Duration of LLM calls, retries included."
        )
        self._first_chunk = _seconds(
            meter, names.METRIC_TIME_TO_FIRST_CHUNK, CALL_SECONDS, "Time from a streamed request to its first chunk."
        )
        self._chunk = _seconds(
            meter,
            names.METRIC_TIME_PER_OUTPUT_CHUNK,
            CALL_SECONDS,
            "Time between the chunks of a streamed answer, averaged over one call.",
        )
        self._tokens = meter.create_histogram(
            names.METRIC_TOKEN_USAGE,
            "{token}",
            "Tokens of LLM calls, cached and reasoning ones included.",
            explicit_bucket_boundaries_advisory=CALL_TOKENS,
        )
        self._parts = {
            name: meter.create_counter(name, "{token}", f"{what}; a part of the tokens.")
            for name, what in (
                (names.METRIC_CACHE_READ_TOKENS, "Input tokens read from a cache"),
                (names.METRIC_CACHE_WRITE_TOKENS, "Input tokens written to a cache"),
                (names.METRIC_REASONING_TOKENS, "Output tokens spent on reasoning"),
            )
        }
        self._cost = meter.create_counter(names.METRIC_COST, "{USD}", "What LLM calls cost, as far as it is known.")
        self._unpriced = meter.create_counter(
            names.METRIC_UNPRICED_CALLS, "{call}", "LLM calls that were answered and whose cost is not known."
        )

    def _make_run_instruments(self, meter: Meter) -> None:
        self._run_seconds = _seconds(meter, names.METRIC_AGENT_DURATION, RUN_SECONDS, "Duration of agent runs.")
        self._run_calls = _parts(
            meter, names.METRIC_AGENT_INFERENCE_CALLS, "{inference_call}", "LLM calls of one run, failed ones included."
        )
        self._run_tools = _parts(
            meter, names.METRIC_AGENT_TOOL_CALLS, "{tool_call}", "Tool calls of one run, failed ones included."
        )
        self._run_iterations = _parts(meter, names.METRIC_AGENT_ITERATIONS, "{iteration}", "Turns of one run.")
        self._tool_seconds = _seconds(meter, names.METRIC_TOOL_DURATION, CALL_SECONDS, "Duration of tool calls.")

    def _make_observed_instruments(self, meter: Meter) -> None:
        meter.create_observable_up_down_counter(
            names.METRIC_ACTIVE_RUNS, [self._observe_runs], "{run}", "Agent runs that are under way."
        )
        meter.create_observable_up_down_counter(
            names.METRIC_SPANS_QUEUED, [self._observe_queued], "{span}", "Spans that wait in memory."
        )
        meter.create_observable_counter(
            names.METRIC_SPANS_EXPORTED,
            [self._observe_exported],
            "{span}",
            "Spans that a destination acknowledged.",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_SPANS_SPOOLED, [self._observe_spooled], "{span}", "Spans that wait on disk."
        )
        meter.create_observable_counter(
            names.METRIC_SPANS_DROPPED, [self._observe_dropped], "{span}", "Spans that were lost, by reason."
        )

    def _record_call(self, draft: LLMDraft, context: Context) -> None:
        labels = self._labels(
            draft,
            {
                names.GEN_AI_OPERATION_NAME: draft.operation,
                names.GEN_AI_PROVIDER_NAME: draft.provider_name or draft.system,
                names.GEN_AI_REQUEST_MODEL: draft.request_model,
                names.GEN_AI_RESPONSE_MODEL: draft.response_model,
            },
        )
        self._call_seconds.record(_duration(draft), labels | self._failure(draft), context)
        if draft.time_to_first_chunk is not None:
            self._first_chunk.record(draft.time_to_first_chunk, labels, context)
        if draft.time_per_output_chunk is not None:
            self._chunk.record(draft.time_per_output_chunk, labels, context)
        if draft.usage is not None:
            self._record_usage(draft, draft.usage, labels, context)
        if draft.cost is not None:
            self._cost.add(float(draft.cost.total), labels, context)
        elif draft.answered:
            self._unpriced.add(1, labels, context)

    def _record_usage(self, draft: LLMDraft, usage: Usage, labels: Mapping[str, str], context: Context) -> None:
        self._tokens.record(usage.prompt_tokens, {**labels, names.GEN_AI_TOKEN_TYPE: names.TOKEN_TYPE_INPUT}, context)
        if draft.operation != "embeddings":
            self._tokens.record(
                usage.completion_tokens, {**labels, names.GEN_AI_TOKEN_TYPE: names.TOKEN_TYPE_OUTPUT}, context
            )
        parts = {
            names.METRIC_CACHE_READ_TOKENS: usage.cache_read_tokens,
            names.METRIC_CACHE_WRITE_TOKENS: usage.cache_write_tokens,
            names.METRIC_REASONING_TOKENS: usage.reasoning_tokens,
        }
        for name, tokens in parts.items():
            if tokens:
                modality = {names.GEN_AI_TOKEN_MODALITY: names.TOKEN_MODALITY_UNKNOWN}
                self._parts[name].add(tokens, {**labels, **modality}, context)

    def _record_run(self, draft: AgentDraft, context: Context) -> None:
        labels = self._labels(draft, {})
        self._agents = self._agents | {labels.get(names.GEN_AI_AGENT_NAME, "")}
        ending = labels | self._cap.labels({names.AGENT_OUTCOME: draft.outcome}) | self._failure(draft)
        self._run_seconds.record(_duration(draft), ending, context)
        for histogram, count in (
            (self._run_calls, draft.own_llm_calls),
            (self._run_tools, draft.own_tool_calls),
            (self._run_iterations, draft.iterations),
        ):
            if count is not None:
                histogram.record(count, labels, context)

    def _record_tool(self, draft: ToolDraft, context: Context) -> None:
        labels = self._labels(draft, {names.GEN_AI_TOOL_TYPE: draft.tool_type}) | self._failure(draft)
        if error_type(draft) == names.ERROR_TYPE_UNKNOWN_TOOL:
            # The model made the name up: it may be any text, and must not use up the values of real tools.
            labels[names.GEN_AI_TOOL_NAME] = UNKNOWN
        else:
            labels |= self._cap.labels({names.GEN_AI_TOOL_NAME: draft.tool_name})
        self._tool_seconds.record(_duration(draft), labels, context)

    def _labels(self, draft: Draft, facts: Mapping[str, str | None]) -> dict[str, str]:
        common = {names.GEN_AI_AGENT_NAME: draft.identity.agent_id, names.DEPLOYMENT_ENVIRONMENT: self._environment}
        return self._cap.labels({**facts, **common})

    def _failure(self, draft: Draft) -> dict[str, str]:
        return self._cap.labels({names.ERROR_TYPE: error_type(draft)})

    def _observe_runs(self, options: CallbackOptions) -> Iterator[Observation]:
        environment = {names.DEPLOYMENT_ENVIRONMENT: self._environment}
        now = self._runs.by_agent()
        counts = dict.fromkeys(self._agents, 0)
        for agent, count in now.items():
            label = self._cap.value(names.GEN_AI_AGENT_NAME, agent) if agent else ""
            counts[label] = counts.get(label, 0) + count
        # An agent that was seen once is told for ever: without it, its last count would stand in the backend.
        self._agents = self._agents | counts.keys()
        for label, count in counts.items():
            yield Observation(count, self._cap.labels({names.GEN_AI_AGENT_NAME: label, **environment}))

    def _observe_queued(self, options: CallbackOptions) -> Iterable[Observation]:
        stats = self._stats()
        return [Observation(stats.queued + sum(one.queued for one in stats.destinations))]

    def _observe_exported(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(one.exported, _destination(one.name)) for one in self._stats().destinations]

    def _observe_spooled(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(one.spooled, _destination(one.name)) for one in self._stats().destinations]

    def _observe_dropped(self, options: CallbackOptions) -> Iterator[Observation]:
        stats = self._stats()
        ours = dict(stats.dropped)
        for one in stats.destinations:
            for reason, spans in one.dropped.items():
                ours[reason] = ours.get(reason, 0) - spans
                yield Observation(spans, {**_destination(one.name), names.LABEL_REASON: reason})
        for reason, spans in ours.items():
            if spans > 0:
                # Lost before any destination had them.
                yield Observation(spans, {names.LABEL_REASON: reason})


def _seconds(meter: Meter, name: str, buckets: tuple[float, ...], description: str) -> Histogram:
    return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=buckets)


def _parts(meter: Meter, name: str, unit: str, description: str) -> Histogram:
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=RUN_PARTS)


def _duration(draft: Draft) -> float:
    return max(draft.end_time - draft.start_time, 0) / 1e9


def _destination(name: str) -> dict[str, str]:
    return {names.LABEL_DESTINATION: name}


def _is_refused(draft: Draft) -> bool:
    """True for a call or a tool that a budget stopped: it was not made, and no provider and no tool has failed."""
    refused = isinstance(draft, LLMDraft | ToolDraft) and error_type(draft) == names.ERROR_TYPE_BUDGET
    return refused and not (isinstance(draft, LLMDraft) and (draft.answered or draft.usage is not None))

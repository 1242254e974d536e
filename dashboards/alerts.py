"""The alerts: what is wrong, from when on, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dashboards.promql import added, total

SERVICE = "job"
ENVIRONMENT = "deployment_environment_name"
AGENT = "gen_ai_agent_name"
PROVIDER = "gen_ai_provider_name"
MODEL = "gen_ai_request_model"
VERSION = "gen_ai_response_model"
DESTINATION = "looopy_destination"
REASON = "looopy_reason"

COST = "looopy_cost_usd_total"
UNPRICED = "looopy_unpriced_calls_total"
CALLS = "gen_ai_client_operation_duration_seconds_count"
FAILED_CALLS = f'{CALLS}{{error_type!=""}}'
CALL_BUCKETS = "gen_ai_client_operation_duration_seconds_bucket"
RUNS = "gen_ai_invoke_agent_duration_seconds_count"
FAILED_RUNS = f'{RUNS}{{agent_outcome!~"completed|cancelled"}}'
EXPORTED = "looopy_spans_exported_total"
SPOOLED = "looopy_spans_spooled"
DROPPED = "looopy_spans_dropped_total"
COLLECTOR_QUEUE = "otelcol_exporter_queue_size"
COLLECTOR_ROOM = "otelcol_exporter_queue_capacity"
COLLECTOR_LOST = "otelcol_exporter_send_failed_spans"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        name: In CamelCase.
        expr: PromQL; each series of its result is one alert.
        hold: How long it has to be so, before somebody is told.
        severity: ``warning``: in working hours. ``critical``: now.
        summary: What is wrong, in one line.
        description: How it is measured.
        action: What to do.
    """

    name: str
    expr: str
    hold: str
    severity: Literal["warning", "critical"]
    summary: str
    description: str
    action: str


def alerts() -> list[Alert]:
    """All alerts. The numbers in them are a start: put your own in their place."""
    return [*_about_money(), *_about_calls(), *_about_telemetry(), *_about_collectors()]


def _about_money() -> list[Alert]:
    last_hour = total(added(COST, "1h"), SERVICE, ENVIRONMENT)
    last_day = total(added(COST, "1d"), SERVICE, ENVIRONMENT)
    return [
        Alert(
            "LooopySpendHigh",
            f"{last_hour} > 10",
            "0m",
            "critical",
            '{{ $labels.job }} spent ${{ $value | printf "%.2f" }} on LLM calls within an hour',
            "The known cost of all calls of the last hour is above $10. After a gap in scraping of more than an hour, "
            "what a process has spent since its start counts as spent now: the alert may come once, and too early.",
            "Open the dashboard Cost and tokens, Who spends: which agent and model is it? Open its traces in Langfuse "
            "and look for loops. Stop it, or give its runs a Budget(max_cost_usd=…). If the traffic is wanted, raise "
            "this limit.",
        ),
        Alert(
            "LooopySpendJumped",
            f"({last_hour} > 1)\n> 3 * {last_day} / 24\n"
            f"and count by ({SERVICE}, {ENVIRONMENT}) (last_over_time({COST}[1d] offset 1d))",
            "10m",
            "warning",
            '{{ $labels.job }} spends three times its usual: ${{ $value | printf "%.2f" }} within an hour',
            "The cost of the last hour is above $1 and three times the mean hour of the last day. A service that was "
            "not measured on the day before has no usual yet. After a gap in scraping of more than an hour, what a "
            "process has spent since its start counts as spent now.",
            "Compare today with yesterday in Cost and tokens: are there more runs (Agents), does a run cost more, is "
            "it another model version, or are fewer tokens cached? Each has its panel.",
        ),
        Alert(
            "LooopyUnpricedCalls",
            f"{total(added(UNPRICED, '1h'), SERVICE, PROVIDER, MODEL, VERSION)} > 0",
            "0m",
            "warning",
            "Calls of {{ $labels.gen_ai_request_model }} by {{ $labels.job }} have no known cost",
            '{{ $value | printf "%.0f" }} calls of the last hour were answered by '
            "{{ $labels.gen_ai_response_model }} ({{ $labels.gen_ai_provider_name }}) and have no price, so spend is "
            "reported too low and cost budgets do not see them.",
            "Give the model a price with configure(prices={…}), 0 for a model of your own, or update genai-prices.",
        ),
    ]


def _about_calls() -> list[Alert]:
    calls = total(added(CALLS, "15m"), SERVICE, PROVIDER, MODEL)
    failed = total(added(FAILED_CALLS, "15m"), SERVICE, PROVIDER, MODEL)
    runs, failed_runs = (total(added(one, "30m"), SERVICE, AGENT) for one in (RUNS, FAILED_RUNS))
    buckets = total(added(CALL_BUCKETS, "15m"), "le", SERVICE, PROVIDER, MODEL)
    return [
        Alert(
            "LooopyCallErrors",
            f"{failed}\n/ ({calls} >= 20) > 0.05",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of the calls of {{ $labels.gen_ai_request_model }} by "
            "{{ $labels.job }} fail",
            "More than 5 % of at least 20 calls of the last 15 minutes failed, retries included.",
            "Open the dashboard Agents, Failed LLM calls: 429 is a rate limit (raise it, or send less), 401 and 403 "
            "are keys, 5xx and timeouts are the provider (see its status page; use another model), the rest are "
            "requests that the model does not take (open one trace).",
        ),
        Alert(
            "LooopyRunFailures",
            f"{failed_runs}\n/ ({runs} >= 10) > 0.1",
            "5m",
            "critical",
            "{{ $value | humanizePercentage }} of the runs of {{ $labels.gen_ai_agent_name }} do not complete",
            "More than 10 % of at least 10 runs of the last 30 minutes failed, or stopped at a budget or at the limit "
            "of iterations. Cancelled runs do not count.",
            "Open the dashboard Agents, How runs end. failed: open a trace, the error is on agent.execute. "
            "max_iterations: the agent loops, look at its tools' results. budget_exceeded: agent.outcome.reason says "
            "which limit.",
        ),
        Alert(
            "LooopyCallLatency",
            f"histogram_quantile(0.95, {buckets})\n> 30 and {calls} >= 20",
            "10m",
            "warning",
            "95 of 100 calls of {{ $labels.gen_ai_request_model }} by {{ $labels.job }} take up to "
            '{{ $value | printf "%.0f" }} s',
            "The 95th percentile of at least 20 calls of the last 15 minutes is above 30 seconds, retries included.",
            "Open the dashboard Agents, LLM calls: does the first chunk come late (provider, or its rate limit), or "
            "are answers long (output and reasoning tokens in Cost and tokens)? A point in the panel is a slow trace.",
        ),
    ]


def _about_telemetry() -> list[Alert]:
    waiting = total(f"min_over_time({SPOOLED}[10m])", SERVICE, DESTINATION)
    delivered = total(added(EXPORTED, "10m"), SERVICE, DESTINATION)
    return [
        Alert(
            "LooopySpansDropped",
            f"{total(added(DROPPED, '15m'), SERVICE, DESTINATION, REASON)} > 0",
            "0m",
            "critical",
            '{{ $labels.job }} lost {{ $value | printf "%.0f" }} spans ({{ $labels.looopy_reason }})',
            "Spans of the last 15 minutes will never arrive at {{ $labels.looopy_destination }}.",
            "The log of looopy_otel and stats().destinations (last_error) have the destination's answer. http-401, "
            "http-403: its keys. Other http-4xx: spans that it does not take. queue-full: too many spans for this "
            "machine, sample or add CPU. shutdown: the process ends too soon, give shutdown() more time.",
        ),
        Alert(
            "LooopySpansNotDelivered",
            f"{waiting}\n> 0 unless {delivered} > 0",
            "5m",
            "critical",
            "{{ $labels.looopy_destination }} takes no spans from {{ $labels.job }}",
            '{{ $value | printf "%.0f" }} spans wait on disk, and none was acknowledged for 10 minutes. Nothing is '
            "lost yet.",
            "Is the destination up, and can the process reach it? The log of looopy_otel and stats().destinations "
            "(last_error) have the last answer. What waits is sent by itself once the destination is back.",
        ),
        Alert(
            "LooopySpansPileUp",
            f"{total(SPOOLED, SERVICE, DESTINATION)} > 10000",
            "15m",
            "warning",
            '{{ $value | printf "%.0f" }} spans of {{ $labels.job }} wait on disk for {{ $labels.looopy_destination }}',
            "More than 10000 spans have waited on disk for 15 minutes: the destination takes them too slowly. When the "
            "outbox is full, the oldest are lost.",
            "Look at Telemetry health: does Delivered go on? Then the destination limits the rate (raise it, or put a "
            "collector in between). Keep an eye on the disk.",
        ),
    ]


def _about_collectors() -> list[Alert]:
    lost = total(added(COLLECTOR_LOST, "15m"), "instance", "exporter")
    queue, room = (total(one, "instance", "exporter") for one in (COLLECTOR_QUEUE, COLLECTOR_ROOM))
    return [
        Alert(
            "LooopyCollectorLosesSpans",
            f"{lost} > 0",
            "0m",
            "critical",
            'The collector at {{ $labels.instance }} lost {{ $value | printf "%.0f" }} spans',
            "{{ $labels.exporter }} refused spans of the last 15 minutes for good. The applications have handed them "
            "over and do not know of it.",
            "The collector's log says what the destination answered: 401 and 403 are its keys, 400 and 413 are spans "
            "that it does not take. Correct the keys and restart the collector.",
        ),
        Alert(
            "LooopyCollectorQueueFills",
            f"{queue}\n/ {room} > 0.8",
            "10m",
            "warning",
            "The queue of the collector at {{ $labels.instance }} is {{ $value | humanizePercentage }} full",
            "{{ $labels.exporter }} does not keep up, or is down. A full queue refuses; the applications then keep "
            "what they have in their own outboxes.",
            "Is the destination up? If it is only slow, give it more requests at a time (num_consumers) or raise its "
            "limits; LOOOPY_COLLECTOR_QUEUE_BYTES makes the queue larger.",
        ),
    ]

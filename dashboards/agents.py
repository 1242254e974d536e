"""*Agents*: how many runs there are, how they end, how long they and their calls take, and which tools fail."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards import variables
from dashboards.board import board
from dashboards.panels import COUNT, SECONDS, SHARE, Query, bars, lines, number, rows
from dashboards.promql import OF_CALLS, OF_RUNS, added, mean, quantile, series, total, zero_where

RUN_SECONDS = "gen_ai_invoke_agent_duration_seconds"
CALL_SECONDS = "gen_ai_client_operation_duration_seconds"
FIRST_CHUNK_SECONDS = "gen_ai_client_operation_time_to_first_chunk_seconds"
CHUNK_SECONDS = "gen_ai_client_operation_time_per_output_chunk_seconds"
TOOL_SECONDS = "gen_ai_execute_tool_duration_seconds"

RUNS = series(f"{RUN_SECONDS}_count", OF_RUNS)
COMPLETED_RUNS = series(f"{RUN_SECONDS}_count", OF_RUNS, 'agent_outcome="completed"')
ACTIVE_RUNS = series("looopy_active_runs", OF_RUNS)
CALLS = series(f"{CALL_SECONDS}_count", OF_CALLS)
FAILED_CALLS = series(f"{CALL_SECONDS}_count", OF_CALLS, 'error_type!=""')
TOOLS = series(f"{TOOL_SECONDS}_count", OF_RUNS)
FAILED_TOOLS = series(f"{TOOL_SECONDS}_count", OF_RUNS, 'error_type!=""')

AGENT = "gen_ai_agent_name"
MODEL = "gen_ai_request_model"
TOOL = "gen_ai_tool_name"
STEP, WINDOW, RANGE = "$__interval", "$__rate_interval", "$__range"


def dashboard() -> Dashboard:
    """Builds the dashboard."""
    return board(
        "looopy-agents",
        "Agents",
        "How agents do: runs and how they end, iterations, latency of runs, LLM calls and tools, and errors. "
        "Points in the latency panels lead to the trace behind them.",
        [
            variables.data_source(),
            variables.service(),
            variables.environment(),
            variables.agent(),
            variables.model(),
            variables.langfuse(),
        ],
        {"Now": _numbers(), "Runs": _runs(), "LLM calls": _calls(), "Tools": _tools()},
        since="now-6h",
    )


def _share(part: str, whole: str, window: str, *by: str) -> str:
    """One counter's growth as a share of another's; 0 where only the other one grew."""
    all_of_it = total(added(whole, window), *by)
    return f"({zero_where(all_of_it, total(added(part, window), *by))})\n/ ({all_of_it} > 0)"


def _percentiles(histogram: str, filters: str) -> list[Query]:
    return [
        Query(quantile(share, histogram, filters, WINDOW), name, exemplars=share == 0.95)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def _numbers() -> list[Panel]:
    return [
        number("Runs", total(added(RUNS, RANGE)), COUNT, "Agent runs that ended within the time range."),
        number("Under way", total(ACTIVE_RUNS), COUNT, "Agent runs that are under way right now."),
        number(
            "Completed",
            _share(COMPLETED_RUNS, RUNS, RANGE),
            SHARE,
            "Runs that ended with an answer, of all that ended.",
            levels={0: "red", 0.9: "yellow", 0.98: "green"},
        ),
        number(
            "Failed LLM calls",
            _share(FAILED_CALLS, CALLS, RANGE),
            SHARE,
            "LLM calls that failed, of all. The colours are those of the alert LooopyCallErrors.",
            levels={0.01: "yellow", 0.05: "red"},
        ),
        number(
            "p95 of a call",
            quantile(0.95, CALL_SECONDS, OF_CALLS, RANGE),
            SECONDS,
            "95 of 100 LLM calls took no longer. The colours are those of the alert LooopyCallLatency.",
            levels={10: "yellow", 30: "red"},
        ),
        number(
            "p95 of the first chunk",
            quantile(0.95, FIRST_CHUNK_SECONDS, OF_CALLS, RANGE),
            SECONDS,
            "95 of 100 streamed calls showed something no later.",
            levels={2: "yellow", 5: "red"},
        ),
    ]


def _runs() -> list[Panel]:
    return [
        bars(
            "How runs end",
            [Query(total(added(RUNS, STEP), "agent_outcome"), "{{agent_outcome}}")],
            COUNT,
            "Runs per step of time: completed, failed, cancelled, max_iterations or budget_exceeded.",
        ),
        lines(
            "Runs under way",
            [Query(total(ACTIVE_RUNS, AGENT), "{{gen_ai_agent_name}}")],
            COUNT,
            "Runs that have begun and not ended, by agent.",
        ),
        lines(
            "Duration of runs",
            _percentiles(RUN_SECONDS, OF_RUNS),
            SECONDS,
            "Percentiles of the whole run. A point is one run: click it to open its trace in Langfuse.",
        ),
        lines(
            "What a run takes",
            [
                Query(mean("looopy_agent_iterations", OF_RUNS, WINDOW), "iterations"),
                Query(mean("gen_ai_invoke_agent_inference_calls", OF_RUNS, WINDOW), "LLM calls"),
                Query(mean("gen_ai_invoke_agent_tool_calls", OF_RUNS, WINDOW), "tool calls"),
            ],
            COUNT,
            "Means over the runs that ended; failed calls count, those of sub-agents do not.",
        ),
        rows(
            "By agent",
            [
                Query(total(added(RUNS, RANGE), AGENT), "Runs"),
                Query(_share(COMPLETED_RUNS, RUNS, RANGE, AGENT), "Completed", unit=SHARE),
                Query(mean("looopy_agent_iterations", OF_RUNS, RANGE, AGENT), "Iterations per run"),
                Query(quantile(0.95, RUN_SECONDS, OF_RUNS, RANGE, AGENT), "p95 of a run", unit=SECONDS),
                Query(_share(FAILED_TOOLS, TOOLS, RANGE, AGENT), "Failed tool calls", unit=SHARE),
            ],
            {AGENT: "Agent"},
            "One row for each agent, over the time range of the dashboard.",
        ),
    ]


def _calls() -> list[Panel]:
    return [
        lines(
            "Duration of LLM calls",
            _percentiles(CALL_SECONDS, OF_CALLS),
            SECONDS,
            "Percentiles, retries included. A point is one call: click it to open its trace in Langfuse.",
            levels={30: "red"},
        ),
        lines(
            "p95 by model",
            [Query(quantile(0.95, CALL_SECONDS, OF_CALLS, WINDOW, MODEL), "{{gen_ai_request_model}}")],
            SECONDS,
            "95 of 100 calls of a model took no longer.",
            levels={30: "red"},
        ),
        lines(
            "Time to the first chunk",
            _percentiles(FIRST_CHUNK_SECONDS, OF_CALLS),
            SECONDS,
            "Percentiles over streamed calls: what a user waits before something appears.",
            width=8,
        ),
        lines(
            "Time per chunk",
            _percentiles(CHUNK_SECONDS, OF_CALLS),
            SECONDS,
            "Percentiles over streamed calls of the mean time between two chunks.",
            width=8,
        ),
        bars(
            "Failed LLM calls",
            [Query(total(added(FAILED_CALLS, STEP), MODEL, "error_type"), "{{gen_ai_request_model}}: {{error_type}}")],
            COUNT,
            "Calls that failed, per step of time: the HTTP status or the exception's type.",
            width=8,
        ),
    ]


def _tools() -> list[Panel]:
    return [
        rows(
            "By tool",
            [
                Query(total(added(TOOLS, RANGE), TOOL), "Calls"),
                Query(_share(FAILED_TOOLS, TOOLS, RANGE, TOOL), "Failed", unit=SHARE),
                Query(quantile(0.95, TOOL_SECONDS, OF_RUNS, RANGE, TOOL), "p95", unit=SECONDS),
            ],
            {TOOL: "Tool"},
            "One row for each tool, over the time range of the dashboard.",
            width=8,
        ),
        bars(
            "Failed tool calls",
            [Query(total(added(FAILED_TOOLS, STEP), TOOL, "error_type"), "{{gen_ai_tool_name}}: {{error_type}}")],
            COUNT,
            "Tool calls that failed, per step of time, by tool and type of error.",
            width=8,
        ),
        lines(
            "Duration of tool calls",
            _percentiles(TOOL_SECONDS, OF_RUNS),
            SECONDS,
            "Percentiles. A point is one tool call: click it to open its trace in Langfuse.",
            width=8,
        ),
    ]

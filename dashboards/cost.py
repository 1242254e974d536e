"""*Cost and tokens*: what is spent, on which model, by which agent, where, and for how many tokens."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from dashboards import variables
from dashboards.board import board
from dashboards.panels import COUNT, SHARE, USD, Query, bars, lines, number, rows
from dashboards.promql import OF_CALLS, OF_RUNS, added, series, total, zero_where

COST = series("looopy_cost_usd_total", OF_CALLS)
COST_OF_AGENTS = series("looopy_cost_usd_total", OF_CALLS, 'gen_ai_agent_name!=""')
UNPRICED = series("looopy_unpriced_calls_total", OF_CALLS)
CALLS = series("gen_ai_client_operation_duration_seconds_count", OF_CALLS)
RUNS = series("gen_ai_invoke_agent_duration_seconds_count", OF_RUNS)
INPUT = series("gen_ai_client_token_usage_sum", OF_CALLS, 'gen_ai_token_type="input"')
OUTPUT = series("gen_ai_client_token_usage_sum", OF_CALLS, 'gen_ai_token_type="output"')
TOKENS = series("gen_ai_client_token_usage_sum", OF_CALLS)
CACHE_READ = series("gen_ai_client_inference_usage_cache_read_input_tokens_total", OF_CALLS)
CACHE_WRITE = series("gen_ai_client_inference_usage_cache_write_input_tokens_total", OF_CALLS)
REASONING = series("gen_ai_client_inference_usage_reasoning_output_tokens_total", OF_CALLS)

MODEL = "gen_ai_request_model"
VERSION = "gen_ai_response_model"
PROVIDER = "gen_ai_provider_name"
AGENT = "gen_ai_agent_name"
ENVIRONMENT = "deployment_environment_name"


def dashboard() -> Dashboard:
    """Builds the dashboard."""
    return board(
        "looopy-cost",
        "Cost and tokens",
        "What LLM calls cost and how many tokens they take, as the providers report it or the price table says. "
        "Every amount is exact, from the first call of a process on.",
        [
            variables.data_source(),
            variables.service(),
            variables.environment(),
            variables.agent(),
            variables.model(),
            variables.langfuse(),
        ],
        {"Spend": _numbers(), "Who spends": _spenders(), "Tokens": _tokens(), "Worth a look": _ratios()},
    )


def _spent(window: str, *by: str) -> str:
    return total(added(COST, window), *by)


def _numbers() -> list[Panel]:
    return [
        number(
            "Last hour",
            _spent("1h"),
            USD,
            "USD spent within the last hour. The colours are those of the alert LooopySpendHigh.",
            levels={5: "yellow", 10: "red"},
        ),
        number("Today", _spent("$__range"), USD, "USD spent since midnight.", since="now/d"),
        number("Time range", _spent("$__range"), USD, "USD spent within the time range of the dashboard."),
        number(
            "Cost per run",
            f"{total(added(COST_OF_AGENTS, '$__range'))}\n/ ({total(added(RUNS, '$__range'))} > 0)",
            USD,
            "USD spent by agents, divided by the runs that ended. A run that another run started counts as its own.",
        ),
        number(
            "Tokens",
            total(added(TOKENS, "$__range")),
            COUNT,
            "Input and output tokens, cached and reasoning ones included.",
        ),
        number(
            "Unpriced calls",
            zero_where(total(added(CALLS, "$__range")), total(added(UNPRICED, "$__range"))),
            COUNT,
            "Calls that were answered and whose cost is not known: the amounts on this page are too low by them.",
            levels={1: "red"},
        ),
    ]


def _spenders() -> list[Panel]:
    window = "$__interval"
    return [
        bars(
            "By model",
            [Query(_spent(window, MODEL), "{{gen_ai_request_model}}")],
            USD,
            "USD per step of time, by the model that was asked for.",
        ),
        bars(
            "By agent",
            [Query(_spent(window, AGENT), "{{gen_ai_agent_name}}")],
            USD,
            "USD per step of time, by agent; without a name: calls outside of any agent.",
        ),
        bars(
            "By environment",
            [Query(_spent(window, ENVIRONMENT), "{{deployment_environment_name}}")],
            USD,
            "USD per step of time, by deployment environment.",
        ),
        bars(
            "By service",
            [Query(_spent(window, "job"), "{{job}}")],
            USD,
            "USD per step of time, by service.",
        ),
        rows(
            "By the model that answered",
            [
                Query(_spent("$__range", PROVIDER, MODEL, VERSION), "Cost", unit=USD),
                Query(total(added(CALLS, "$__range"), PROVIDER, MODEL, VERSION), "Calls"),
                Query(total(added(INPUT, "$__range"), PROVIDER, MODEL, VERSION), "Input tokens"),
                Query(total(added(OUTPUT, "$__range"), PROVIDER, MODEL, VERSION), "Output tokens"),
            ],
            {PROVIDER: "Provider", MODEL: "Model asked for", VERSION: "Version that answered"},
            "The version that a provider really used, with what it cost. Calls without an answer have no version; "
            "an empty cost is unknown, not zero.",
        ),
    ]


def _tokens() -> list[Panel]:
    window = "$__interval"
    return [
        lines(
            "By kind",
            [
                Query(total(added(INPUT, window)), "input"),
                Query(total(added(CACHE_READ, window)), "input: read from cache"),
                Query(total(added(CACHE_WRITE, window)), "input: written to cache"),
                Query(total(added(OUTPUT, window)), "output"),
                Query(total(added(REASONING, window)), "output: reasoning"),
            ],
            COUNT,
            "Tokens per step of time. Cached tokens are a part of the input, reasoning is a part of the output.",
        ),
        bars(
            "By model",
            [Query(total(added(TOKENS, window), MODEL), "{{gen_ai_request_model}}")],
            COUNT,
            "Input and output tokens per step of time, by the model that was asked for.",
        ),
    ]


def _ratios() -> list[Panel]:
    by_agent = f"{total(added(COST_OF_AGENTS, '$__range'), AGENT)}\n/ ({total(added(RUNS, '$__range'), AGENT)} > 0)"
    return [
        rows(
            "Agents",
            [
                Query(total(added(COST_OF_AGENTS, "$__range"), AGENT), "Cost", unit=USD),
                Query(total(added(RUNS, "$__range"), AGENT), "Runs"),
                Query(by_agent, "Cost per run", unit=USD),
            ],
            {AGENT: "Agent"},
            "What the runs of each agent cost. Runs are counted when they end.",
            width=12,
        ),
        rows(
            "Unpriced calls",
            [Query(f"{total(added(UNPRICED, '$__range'), PROVIDER, MODEL, VERSION)} > 0", "Calls")],
            {PROVIDER: "Provider", MODEL: "Model asked for", VERSION: "Version that answered"},
            "Models without a price. Give them one: configure(prices={…}); a cost of 0 is a price too.",
            width=12,
        ),
        lines(
            "Share of cached input",
            [Query(_share(CACHE_READ, INPUT), "{{gen_ai_request_model}}")],
            SHARE,
            "Input tokens that were read from a cache, of all input tokens. They cost a fraction of the others.",
        ),
        lines(
            "Share of reasoning in output",
            [Query(_share(REASONING, OUTPUT), "{{gen_ai_request_model}}")],
            SHARE,
            "Output tokens that were spent on reasoning, of all output tokens.",
        ),
    ]


def _share(part: str, whole: str) -> str:
    part_of_it, all_of_it = (total(added(counter, "$__rate_interval"), MODEL) for counter in (part, whole))
    return f"{part_of_it}\n/ ({all_of_it} > 0)"

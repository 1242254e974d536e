"""What `looopy-otel demo` does: a run of an agent with a calculator, its trace, and where the trace went."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.cli.arithmetic import Number, evaluate
from looopy_otel.cli.events import print_event, print_footer, print_header, print_tool
from looopy_otel.cli.terminal import fail, say
from looopy_otel.cli.traces import print_trace
from looopy_otel.core.config import database_path, litellm_environment, resolve
from looopy_otel.core.errors import LooopyError
from looopy_otel.core.settings import HTTPDestination, Options
from looopy_otel.providers import LiteLLMProvider, RecordedRequest, Reply, ScriptedServer
from looopy_otel.store.span import StoredSpan
from looopy_otel.store.sqlite import Store
from looopy_otel.telemetry import Telemetry, configure

TITLE: Final = "LiteLLM Agent Example"
PROMPT: Final = "Calculate 15 * 23 + 47"
SYSTEM_PROMPT: Final = "You are a helpful assistant. Use the calculate tool for arithmetic; then tell the result."
AGENT_ID: Final = "litellm-agent"
SCRIPTED_MODEL: Final = "gpt-4"
SEND_TIMEOUT: Final = 5.0
"""Seconds that the demo waits for backends."""

TOOL_CALL: Final = Reply(
    tool_calls=(("calculate", {"expression": "15 * 23 + 47"}),),
    model="gpt-4-0613",
    usage={"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
    cost=0.0068,
)
ANSWER: Final = Reply(
    text="The result of 15 × 23 + 47 is 392.",  # noqa: RUF001
    model="gpt-4-0613",
    usage={"prompt_tokens": 234, "completion_tokens": 21, "total_tokens": 255},
    cost=0.0077,
)


def perform(url: str | None, model: str, api_key: str | None, database: Path | None) -> None:
    """Runs the agent, prints its events as they come, then the trace from the local store.

    Args:
        url: A LiteLLM proxy; None for a scripted server in this process.
        model: The model to ask the proxy for.
        api_key: The proxy's key; None for that of the environment.
        database: The local store; None for the configured one.

    Raises:
        SystemExit: With code 1 when the run failed, after printing the trace, the error and its hint.
        LooopyError: If a setting or option is wrong.
    """
    with _telemetry(database) as telemetry, _provider(url, model, api_key) as provider:
        run = asyncio.run(_play(provider))
        telemetry.flush(SEND_TIMEOUT)
        _report(run, telemetry, database)
    if url is None:
        say("\nThe model was scripted. For a real one: looopy-otel demo --url http://localhost:4000 --model MODEL")
    if run.problem is not None:
        fail(run.problem, run.hint)


@contextmanager
def _provider(url: str | None, model: str, api_key: str | None) -> Generator[LiteLLMProvider]:
    if url is None:
        with ScriptedServer(_scripted) as server:
            print_header(TITLE, server.url, None, PROMPT)
            yield LiteLLMProvider(base_url=server.url, model=SCRIPTED_MODEL)
        return
    key = api_key or litellm_environment()[1]
    provider = LiteLLMProvider(base_url=url, model=model, api_key=key)
    print_header(TITLE, url, key, PROMPT)
    yield provider


def _scripted(request: RecordedRequest) -> Reply:
    """Asks for the tool first; answers once its result is there."""
    return ANSWER if request.setting("messages")[-1]["role"] == "tool" else TOOL_CALL


def _telemetry(database: Path | None) -> Telemetry:
    """Tracing as the environment wants it, with the local store in any case."""
    wanted = resolve(Options(database=database)).destinations
    return configure(exporters=[*(destination.name for destination in wanted), "local"], database=database)


@dataclass(frozen=True, slots=True)
class _Run:
    """What became of the run: its trace (None: nothing was recorded), and why it did not complete (None: it did)."""

    trace_id: str | None
    problem: str | None = None
    hint: str | None = None


async def _play(provider: LiteLLMProvider) -> _Run:
    agent = AgentLoop(
        agent_id=AGENT_ID,
        llm_provider=provider,
        tool_providers=[FunctionTools([calculate])],
        system_prompt=SYSTEM_PROMPT,
    )
    events = agent.execute(PROMPT)
    count, problem, hint = 0, None, None
    try:
        async for event in events:
            count += 1
            print_event(count, event)
    except LooopyError as error:
        problem, hint = str(error), getattr(error, "hint", None)
    result = events.result
    if problem is None and result is not None and result.outcome != "completed":
        problem = f"the run did not complete: {result.reason or result.outcome}"
    print_footer(count, completed=problem is None)
    return _Run(result.trace_id if result else None, problem, hint)


def calculate(expression: str) -> Number:
    """Calculate an arithmetic expression.

    Args:
        expression: Numbers, parentheses and + - * / // % **, such as "2 * (3 + 4)".
    """
    print_tool("calculate", {"expression": expression})
    try:
        result = evaluate(expression)
    except (ValueError, ZeroDivisionError) as error:
        say(f"   Error: {error}")
        raise
    say(f"   Result: {result}")
    return result


def _report(run: _Run, telemetry: Telemetry, database: Path | None) -> None:
    """Prints the trace as it was stored, and where it went; a store that cannot be written ends the command."""
    path = database_path(database)
    spans = _stored(path, run.trace_id)
    say()
    if not spans:
        if problem := next(
            (stats.last_error for stats in telemetry.stats().destinations if stats.name == "local"), None
        ):
            fail(f"the trace could not be stored: {problem}", "Name another file with --db or LOOOPY_OTEL_DB.")
        say("Nothing was recorded: OTEL_SDK_DISABLED or OTEL_TRACES_SAMPLER turns tracing off.")
        return
    print_trace(spans)
    say(f"\nStored in {path}")
    for line in _deliveries(telemetry):
        say(line)
    option = f" --db {database}" if database else ""
    say(f"See it again: looopy-otel show last{option}")


def _stored(path: Path, trace_id: str | None) -> Sequence[StoredSpan]:
    if trace_id is None or not path.is_file():
        return ()
    with Store(path, read_only=True) as store:
        return store.spans(trace_id)


def _deliveries(telemetry: Telemetry) -> Iterator[str]:
    """What became of the spans at each backend."""
    endpoints = {
        destination.name: destination.endpoint
        for destination in telemetry.settings.destinations
        if isinstance(destination, HTTPDestination)
    }
    for stats in telemetry.stats().destinations:
        if stats.name not in endpoints:
            continue
        reason = stats.last_error or "no answer in time"
        if stats.spooled or stats.queued:
            yield f"Not taken yet by {stats.name}: {reason}. What waits on disk is sent later."
        elif stats.dropped:
            yield f"Refused by {stats.name}: {reason}"
        else:
            yield f"Sent to {stats.name}: {stats.exported} spans to {endpoints[stats.name]}"

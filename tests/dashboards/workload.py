"""Agents whose every number is known, run as a process of their own whose metrics a Prometheus scrapes.

``python -m tests.dashboards.workload METRICS``: a span, and when that is delivered or refused the first part. Then it
says how its spans fared, as one line of JSON. Each line on its standard input then asks for the second part.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, AgentResult, FunctionTools, InMemoryArtifactStore, InMemoryStateStore
from looopy_otel.providers import LiteLLMAPIError, Reply, ScriptedProvider

USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 200,
    "total_tokens": 1200,
    "prompt_tokens_details": {"cached_tokens": 600},
    "cache_creation_input_tokens": 100,
    "completion_tokens_details": {"reasoning_tokens": 50},
}
ENVIRONMENT = "testing"
JUMP = 12.0
"""USD of the one call of the second part."""


def calculate(expression: str) -> int:
    """Calculates an arithmetic expression.

    Args:
        expression: Such as ``1 + 2``.
    """
    if expression == "fail":
        raise ZeroDivisionError(expression)
    return 392


def asks(tool: str, cost: float, expression: str = "15 * 23 + 47") -> Reply:
    arguments = {"expression": expression} if tool == "calculate" else {}
    return Reply(tool_calls=((tool, arguments),), usage=USAGE, cost=cost)


def answers(cost: float | None, model: str | None = None) -> Reply:
    return Reply(text="It is 392.", usage=USAGE, cost=cost, model=model)


def run(
    name: str, replies: Sequence[Reply], model: str, tools: Sequence[Callable[..., object]] = (calculate,)
) -> AgentResult:
    return AgentLoop(
        agent_id=name,
        llm_provider=ScriptedProvider(replies, model=model),
        tool_providers=[FunctionTools(list(tools))],
        task_state_store=InMemoryStateStore(),
        artifact_store=InMemoryArtifactStore(),
    ).run("What is 15 * 23 + 47?")


def ask(model: str, reply: Reply) -> None:
    ScriptedProvider([reply], model=model).call_sync(messages=[{"role": "user", "content": "Hello!"}])


def first_part() -> None:
    """USD 0.63 in 13 calls, of which one failed and one has no price; 7 runs, of which one failed."""
    for _ in range(3):
        run("planner", [asks("calculate", 0.11), answers(0.02, "large-2026-01")], "large")
    for _ in range(2):
        run("writer", [answers(0.07)], "small")
    run("writer", [asks("calculate", 0.03, "fail"), answers(0.02)], "small")
    with suppress(LiteLLMAPIError):
        run("writer", [Reply(status=500, text="overloaded")], "small")
    ask("nobody-knows", answers(None))
    ask("small", answers(0.05))


def second_part() -> None:
    """One call that is far too dear."""
    ask("large", answers(JUMP))


def main(metrics: str) -> None:
    """Runs both parts, with a run under way beside them that has spent USD 0.01 in one call."""
    waiting, goes_on = threading.Event(), threading.Event()

    def wait() -> str:
        """Waits."""
        waiting.set()
        goes_on.wait(120)
        return "done"

    telemetry = lo.configure(
        service_name="shop", environment=ENVIRONMENT, exporters=["langfuse", "otlp"], metrics=metrics
    )
    beside = threading.Thread(target=run, args=("planner", [asks("wait", 0.01), answers(0.01)], "large", [wait]))
    with telemetry:
        with lo.span("refused"):
            pass
        _settle(telemetry)
        beside.start()
        waiting.wait(60)
        first_part()
        _settle(telemetry)
        _tell(telemetry)
        for _ in sys.stdin:
            second_part()
            telemetry.flush(1.0)
        goes_on.set()
        beside.join()


def _settle(telemetry: lo.Telemetry) -> None:
    """Waits until Langfuse has all spans; the other destination is down."""
    waiting = True
    while waiting:
        telemetry.flush(0.5)
        stats = telemetry.stats()
        waiting = stats.queued > 0 or any(one.queued for one in stats.destinations) or stats.destinations[0].spooled > 0


def _tell(telemetry: lo.Telemetry) -> None:
    stats = telemetry.stats()
    told = {
        "queued": stats.queued + sum(one.queued for one in stats.destinations),
        "exported": {one.name: one.exported for one in stats.destinations},
        "spooled": {one.name: one.spooled for one in stats.destinations},
        "dropped": {one.name: dict(one.dropped) for one in stats.destinations},
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])

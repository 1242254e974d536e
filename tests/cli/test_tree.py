"""The tree of a trace, as it is printed."""

from __future__ import annotations

import io
from dataclasses import replace
from decimal import Decimal

from rich.console import Console

from looopy_otel.cli.tree import span_tree
from looopy_otel.core.draft import AgentDraft, AttemptDraft, Cost, Failure, Shape, StepDraft, ToolDraft
from looopy_otel.core.usage import Usage
from looopy_otel.store.span import StoredSpan
from tests.cli.stories import figure, generation, stored, times


def printed(spans: list[StoredSpan], *, width: int = 80, content: bool = False, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, errors="replace", newline="\n")
    Console(file=file, width=width, highlight=False, markup=False).print(span_tree(spans, content=content))
    file.flush()
    return "\n".join(line.rstrip() for line in raw.getvalue().decode(encoding).splitlines())


def test_the_tree_reads_as_in_langfuse() -> None:
    assert printed(figure()) == (
        "agent.execute (agent)  calculator · 1.24 s\n"
        "│   Tokens: 150 → 75 (225 total)\n"
        "│   Cost: $0.0068\n"
        "└── agent.iteration (chain)  #1 · 1.20 s\n"
        "    ├── llm.call (generation)  812 ms\n"
        "    │   Model: gpt-4-0613\n"
        "    │   Tokens: 150 → 75 (225 total)\n"
        "    │   Cost: $0.0068\n"
        "    └── tool.execute (tool)  calculate · 0.4 ms"
    )


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert printed(figure()[::-1]) == printed(figure())


def test_content_is_shown_on_demand() -> None:
    shown = printed(figure(), content=True)
    assert "    │   Input:\n    │     user: Calculate 15 * 23 + 47\n" in shown
    assert '    │   Output:\n    │     assistant: → calculate {"expression": "15 * 23 + 47"}\n' in shown
    assert shown.endswith('        Input:\n          {"expression":"15 * 23 + 47"}\n        Output:\n          392')
    assert "Input" not in printed(figure())


def test_content_that_was_not_recorded_says_so() -> None:
    draft = generation(input=None, output=None, input_shape=Shape(123, ("system", "user")), output_shape=Shape(4567))
    shown = printed([stored(1, None, "llm.call", draft)], content=True)
    assert "Input: not recorded (123 bytes, system user)" in shown
    assert "Output: not recorded (4,567 bytes)" in shown


def test_long_content_is_cut_and_says_by_how_much() -> None:
    draft = generation(input=[{"role": "user", "content": "z" * 5000}])
    shown = printed([stored(1, None, "llm.call", draft)], content=True)
    assert "… 3,006 more characters; --json shows them" in shown
    assert shown.count("z") == 2000 - len("user: ")


def test_unknown_is_never_zero() -> None:
    draft = generation(usage=None, usage_source="missing", cost=None)
    shown = printed([stored(1, None, "llm.call", draft)])
    assert "Tokens not reported\nCost unknown" in shown
    assert "$" not in shown


def test_a_known_zero_is_said() -> None:
    assert "Cost: $0.00" in printed([stored(1, None, "llm.call", generation(cost=Cost(Decimal(0), source="provider")))])


def test_estimated_tokens_are_marked() -> None:
    draft = generation(usage_source="estimated")
    assert "Tokens: 150 → 75 (225 total), estimated" in printed([stored(1, None, "llm.call", draft)])


def test_a_model_that_differs_from_the_requested_one_is_shown_with_it() -> None:
    assert "Model: gpt-4-0613 (requested: gpt-4)" in printed(
        [stored(1, None, "llm.call", generation(request_model="gpt-4"))]
    )


def test_a_total_with_calls_of_unknown_cost_says_so() -> None:
    spans = [*figure(), stored(5, 2, "llm.call", generation(cost=None), start=950)]
    assert "│   Cost: $0.0068 and 1 call of unknown cost\n" in printed(spans)


def test_a_run_whose_calls_all_have_an_unknown_cost() -> None:
    agent = AgentDraft(name="agent.execute", llm_calls=2, usage=Usage(1, 2), **times())
    assert "Cost unknown" in printed([stored(1, None, "agent.execute", agent)])


def test_a_failed_call_shows_its_error_and_no_numbers() -> None:
    failure = Failure("LiteLLMTimeoutError", "LiteLLM request timeout after 60.0s")
    draft = generation(
        outcome="error", error=failure, answered=False, usage=None, cost=None, response_model=None, output=None
    )
    assert printed([stored(1, None, "llm.call", draft, status="ERROR")]) == (
        "llm.call (generation)  error · 10 ms\n"
        "Model: gpt-4-0613\n"
        "Error: LiteLLMTimeoutError: LiteLLM request timeout after 60.0s"
    )


def test_how_a_run_ended_and_why() -> None:
    stopped = AgentDraft(name="agent.execute", outcome="budget_exceeded", reason="max_cost_usd: $1 spent", **times())
    assert printed([stored(1, None, "agent.execute", stopped)]) == (
        "agent.execute (agent)  calculator · budget_exceeded · 10 ms\nError: max_cost_usd: $1 spent"
    )
    endless = replace(stopped, outcome="max_iterations", reason="max_iterations")
    assert printed([stored(1, None, "agent.execute", endless)]) == (
        "agent.execute (agent)  calculator · max_iterations · 10 ms"
    )


def test_a_failed_tool_and_a_retry() -> None:
    tool = ToolDraft(name="tool.execute", tool_name="search", error=Failure("KeyError", "'x'"), **times())
    attempt = AttemptDraft(name="llm.attempt", number=2, **times())
    shown = printed(
        [stored(1, None, "tool.execute", tool, status="ERROR"), stored(2, None, "llm.attempt", attempt, start=1)]
    )
    assert shown == (
        "tool.execute (tool)  search · failed · 10 ms\nError: KeyError: 'x'\nllm.attempt (span)  #2 · 10 ms"
    )


def test_spans_of_others_and_of_the_user() -> None:
    shown = printed(
        [
            stored(1, None, "load documents", StepDraft(name="load documents", **times())),
            stored(2, 1, "GET", kind="CLIENT", status="ERROR", status_message="refused"),
        ]
    )
    assert shown == "load documents (span)  10 ms\n└── GET (span)  client · failed · 10 ms\n    Error: refused"


def test_several_roots_and_orphans() -> None:
    shown = printed([stored(2, 77, "late", start=5), stored(1, None, "first"), stored(3, 2, "below", start=6)])
    assert shown == (
        "first (span)  10 ms\n"
        "late (span)  10 ms\n"
        "│   Parent: 000000000000004d (not stored here)\n"
        "└── below (span)  10 ms"
    )


def test_spans_that_are_each_others_parents_are_each_drawn_once() -> None:
    shown = printed([stored(1, 2, "one"), stored(2, 1, "two", start=1), stored(3, 3, "own", start=2)])
    assert [shown.count(name) for name in ("one (", "two (", "own (")] == [1, 1, 1]


def test_a_deep_tree_is_drawn_whole() -> None:
    spans = [stored(number, number - 1 or None, f"level{number}") for number in range(1, 1101)]
    assert "level1100" in printed(spans, width=10_000)


def test_text_of_others_cannot_steer_the_terminal() -> None:
    shown = printed(
        [stored(1, None, "\x1b[31mred\x1b[0m [bold]x[/bold]", status="ERROR", status_message="\x1b]0;t\x07")]
    )
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[31mred[0m [bold]x[/bold] (span)" in shown


def test_a_stream_without_box_characters_gets_a_plain_tree() -> None:
    shown = printed(figure(), encoding="ascii")
    assert "`-- agent.iteration (chain)" in shown
    assert "    |   Model: gpt-4-0613" in shown


def test_a_narrow_terminal_wraps_inside_the_tree() -> None:
    lines = printed(figure(), width=30).splitlines()
    assert max(map(len, lines)) <= 30
    assert "│   Tokens: 150 → 75 (225" in lines

"""Parents that are named, for those who are told of operations by callbacks."""

from __future__ import annotations

import pytest

import looopy_otel as lo
from looopy_otel.core.hooks import innermost
from looopy_otel.testing import CapturedSpans, capture_spans
from tests.instrument.context.conftest import place
from tests.instrument.context.operations import ANSWER, llm, run, step, tool, turn
from tests.instrument.context.test_places import in_thread


def test_operations_that_are_not_current_are_nobodys_parents_unless_named(captured: CapturedSpans) -> None:
    before = place()
    agent = run(current=False)
    assert place() == before
    iteration = turn(parent=agent, current=False)
    llm(parent=iteration, current=False).end(ANSWER)
    step("elsewhere").end()
    tool(parent=iteration, current=False).end()
    iteration.end()
    agent.end()
    assert captured.outline() == [
        "agent.execute", "  agent.iteration", "    llm.call", "    tool.execute", "elsewhere",
    ]  # fmt: skip


def test_parts_in_other_threads_hang_under_the_named_parent_and_count_for_it(captured: CapturedSpans) -> None:
    with lo.session(session_id="s", user_id="u"):
        agent = run("helper", "task-1", current=False)

    def callback() -> None:
        call = llm(parent=agent, current=False)
        assert innermost() is None
        call.end(ANSWER)

    in_thread(callback)
    agent.end()
    assert captured.outline() == ["agent.execute", "  llm.call"]
    call, agent_span = captured.attributes("llm.call"), captured.attributes("agent.execute")
    assert call["session.id"] == "s"
    assert call["user.id"] == "u"
    assert call["agent.id"] == "helper"
    assert call["agent.task.id"] == "task-1"
    assert agent_span["agent.llm_calls"] == 1


def test_a_run_under_a_named_run_belongs_to_the_same_session(captured: CapturedSpans) -> None:
    outer = run("outer", "t-outer", current=False)
    inner = run("inner", "t-inner", parent=outer, current=False)
    llm(parent=inner, current=False).end(ANSWER)
    inner.end()
    outer.end()
    attributes = captured.attributes("llm.call")
    assert (attributes["agent.id"], attributes["agent.task.id"]) == ("inner", "t-inner")
    assert attributes["session.id"] == "t-outer"


def test_a_named_parent_wins_over_what_is_current(captured: CapturedSpans) -> None:
    before = place()
    parent, current = step("parent", current=False), step("current")
    child = step("child", parent=parent)
    assert innermost() is child
    step("grandchild").end()
    child.end()
    assert innermost() is current
    current.end()
    parent.end()
    assert place() == before
    assert captured.outline() == ["parent", "  child", "    grandchild", "current"]


def test_a_call_that_is_named_as_parent_contains_the_calls_inside(captured: CapturedSpans) -> None:
    outer = llm("replace", current=False)
    llm(parent=outer, current=False).end(ANSWER)
    outer.end()
    assert captured.outline() == ["ask", "  llm.call"]


@pytest.mark.parametrize("current", [True, False])
def test_parts_of_an_unsampled_run_are_not_sampled(monkeypatch: pytest.MonkeyPatch, current: bool) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with capture_spans() as captured:
        agent = run(current=current)
        call = llm(parent=agent, current=current)
        assert int(call.headers()["traceparent"][-2:], 16) & 1 == 0
        call.end(ANSWER)
        agent.end()
    assert captured.outline() == []


def test_only_the_first_of_ours_is_a_root_for_langfuse(captured: CapturedSpans) -> None:
    agent = run(current=False)
    llm(parent=agent, current=False).end(ANSWER)
    agent.end()
    roots = {span.name: "langfuse.internal.is_app_root" in (span.attributes or {}) for span in captured.spans()}
    assert roots == {"agent.execute": True, "llm.call": False}

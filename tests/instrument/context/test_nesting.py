"""One call, one generation."""

from __future__ import annotations

import pytest
from opentelemetry.context import attach, detach, get_value, set_value
from opentelemetry.trace import get_current_span

from looopy_otel.core import hooks
from looopy_otel.core.hooks import NO_RECORDER
from looopy_otel.record.nesting import SUPPRESS_ALL, SUPPRESS_LLM
from looopy_otel.testing import CapturedSpans
from tests.instrument.context.operations import ANSWER, llm, run, step, tool, turn

TOTAL = "gen_ai.usage.total_tokens"


def test_a_call_inside_a_call_that_knows_all_is_not_recorded(captured: CapturedSpans) -> None:
    outer = llm(model="outer")
    inner = llm(model="inner")
    assert inner.headers() == outer.headers()
    inner.end(ANSWER)
    outer.end(ANSWER)
    assert captured.outline() == ["llm.call"]
    assert captured.attributes("llm.call")["gen_ai.request.model"] == "outer"


def test_what_the_inner_call_gave_stands_where_the_outer_one_ends_without_a_result(captured: CapturedSpans) -> None:
    outer = llm()
    llm().end(ANSWER)
    outer.end(error=TimeoutError("too late"))
    attributes = captured.attributes("llm.call")
    assert (attributes[TOTAL], attributes["error.type"]) == (18, "TimeoutError")


def test_a_decorated_function_gives_way_to_the_call_inside_it(captured: CapturedSpans) -> None:
    outer = llm("replace")
    llm().end(ANSWER)
    outer.end("Hi.")
    assert captured.outline() == ["ask", "  llm.call"]
    assert TOTAL not in captured.attributes("ask")
    assert captured.attributes("ask")["langfuse.observation.type"] == "span"
    assert captured.attributes("llm.call")[TOTAL] == 18


def test_a_decorated_function_without_a_call_inside_is_the_call(captured: CapturedSpans) -> None:
    llm("replace").end(ANSWER)
    assert captured.attributes("llm.call")[TOTAL] == 18


def test_tries_join_the_call_around_them(captured: CapturedSpans) -> None:
    outer = llm("join", model="unknown")
    llm(model="gpt-1").end(error=ConnectionError())
    llm(model="gpt-2").end(ANSWER)
    outer.end(ANSWER)
    assert captured.outline() == ["llm.call"]
    assert captured.attributes("llm.call")["gen_ai.request.model"] == "gpt-2"


def test_three_layers_are_one_generation(captured: CapturedSpans) -> None:
    function, framework, client = llm("replace"), llm(), llm()
    for recorder in (client, framework, function):
        recorder.end(ANSWER)
    assert captured.outline() == ["ask", "  llm.call"]


@pytest.mark.parametrize("between", [tool, run, turn])
def test_a_tool_or_an_agent_in_between_makes_it_another_call(captured: CapturedSpans, between: type) -> None:
    outer, middle = llm(), between()
    assert get_value(SUPPRESS_LLM) is None
    llm().end(ANSWER)
    middle.end()
    outer.end(ANSWER)
    assert [line.strip() for line in captured.outline()].count("llm.call") == 2


def test_a_step_in_between_does_not(captured: CapturedSpans) -> None:
    outer, middle = llm(), step("prepare")
    llm().end(ANSWER)
    middle.end()
    outer.end(ANSWER)
    assert captured.outline() == ["llm.call", "  prepare"]


def test_a_call_that_is_over_encloses_nothing(captured: CapturedSpans) -> None:
    first = llm()
    first.end(ANSWER)
    llm(parent=first).end(ANSWER)
    assert captured.outline() == ["llm.call", "  llm.call"]


def test_parts_that_name_an_unrecorded_call_as_their_parent_belong_to_the_one_around_it(
    captured: CapturedSpans,
) -> None:
    outer = llm(current=False)
    inner = llm(parent=outer, current=False)
    step("request", parent=inner, current=False).end()
    llm(parent=inner, current=False).end(ANSWER)
    inner.end()
    outer.end()
    assert captured.outline() == ["llm.call", "  request"]
    assert captured.attributes("llm.call")[TOTAL] == 18


def test_others_are_told_inside_a_recorded_call_and_nowhere_else(captured: CapturedSpans) -> None:
    assert not get_value(SUPPRESS_LLM)
    call = llm()
    assert get_value(SUPPRESS_LLM)
    call.suspend()
    assert not get_value(SUPPRESS_LLM)
    call.resume()
    call.end()
    assert not get_value(SUPPRESS_LLM)
    function = llm("replace")
    assert not get_value(SUPPRESS_LLM)
    function.end()


@pytest.mark.parametrize(("key", "steps"), [(SUPPRESS_LLM, ["step"]), (SUPPRESS_ALL, [])])
def test_what_others_record_is_not_recorded_again(captured: CapturedSpans, key: str, steps: list[str]) -> None:
    token = attach(set_value(key, True))
    assert llm() is NO_RECORDER
    step("step").end()
    detach(token)
    assert captured.outline() == steps


def test_nothing_is_recorded_where_the_user_says_so(captured: CapturedSpans) -> None:
    with hooks.suppressed():
        assert llm() is NO_RECORDER
        assert step("step") is NO_RECORDER
        assert not get_current_span().get_span_context().is_valid
    step("after").end()
    assert captured.outline() == ["after"]


def test_a_result_that_cannot_be_asked_for_its_truth_is_no_fault(captured: CapturedSpans) -> None:
    class Array:
        def __bool__(self) -> bool:
            raise ValueError("ambiguous")

    outer = llm("replace")
    outer.end(Array())
    silent = llm()
    llm().end(Array())
    silent.end(Array())
    assert captured.outline() == ["llm.call", "llm.call"]

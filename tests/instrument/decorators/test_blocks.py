"""The context managers: each block is one span, sync or async, whatever leaves it, however often it is entered."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from looopy_otel.core.hooks import NO_RECORDER, Recorder
from looopy_otel.core.identity import current_identity
from looopy_otel.core.types import Message
from looopy_otel.core.usage import Usage
from looopy_otel.instrument.spans import agent_span, iteration_span, llm_span, span, tool_span
from looopy_otel.testing import CapturedSpans
from tests.instrument.decorators.test_meaning import COMPLETION, all_attributes

INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"
BLOCKS: dict[str, Callable[..., Any]] = {
    "agent.execute": partial(agent_span, "maths"),
    "agent.iteration": iteration_span,
    "llm.call": partial(llm_span, model="gpt-4o"),
    "tool.execute": partial(tool_span, "add"),
    "step": partial(span, "step"),
}
OUTCOMES = {"agent.execute": "agent.outcome", "llm.call": "llm.outcome"}


def enter(block: Any, form: str, act: Callable[[Recorder], Any]) -> None:
    """Does something inside a block."""

    async def inside() -> None:
        async with block as recorder:
            await asyncio.sleep(0)
            act(recorder)

    if form == "async with":
        asyncio.run(inside())
    else:
        with block as recorder:
            act(recorder)


def each(test: Any) -> Any:
    """Runs a test for all blocks, sync and async."""
    return pytest.mark.parametrize("name", BLOCKS)(pytest.mark.parametrize("form", ["with", "async with"])(test))


@each
def test_a_block_is_a_span(name: str, form: str, captured: CapturedSpans) -> None:
    def act(recorder: Recorder) -> None:
        assert lo.current() is recorder
        recorder.record(output="4", metadata={"rows": 2})
        with lo.span("inside"):
            pass

    enter(BLOCKS[name](input="2+2?"), form, act)
    assert captured.outline() == [name, "  inside"]
    seen = captured.attributes(name)
    said = ('[{"role":"user","content":"2+2?"}]', '{"role":"assistant","content":"4"}')
    assert (seen[INPUT], seen[OUTPUT]) == (said if name == "llm.call" else ("2+2?", "4"))
    assert seen["langfuse.observation.metadata.rows"] == 2
    assert seen.get(OUTCOMES.get(name, "")) == ("completed" if name in OUTCOMES else None)
    assert captured.span(name).status.status_code is StatusCode.UNSET


@each
def test_a_block_that_says_nothing(name: str, form: str, captured: CapturedSpans) -> None:
    enter(BLOCKS[name](), form, lambda recorder: None)
    seen = captured.attributes(name)
    assert seen.get(INPUT, "") == seen.get(OUTPUT, "") == ""
    assert "langfuse.observation.usage_details" not in seen
    assert [
        key for key, value in seen.items() if value in ("", "null", "{}", "[]") and key not in (INPUT, OUTPUT)
    ] == []


@each
@pytest.mark.parametrize(
    ("kind", "outcomes"),
    [
        (LookupError, {"agent.execute": "failed", "llm.call": "error"}),
        (KeyboardInterrupt, {"agent.execute": "cancelled", "llm.call": "cancelled"}),
        (SystemExit, {"agent.execute": "cancelled", "llm.call": "cancelled"}),
        (GeneratorExit, {"agent.execute": "cancelled", "llm.call": "abandoned"}),
        (asyncio.CancelledError, {"agent.execute": "cancelled", "llm.call": "cancelled"}),
    ],
)
def test_what_is_raised_passes_unchanged(
    name: str, form: str, kind: type[BaseException], outcomes: dict[str, str], captured: CapturedSpans
) -> None:
    error = kind("x")

    def act(recorder: Recorder) -> None:
        raise error

    with pytest.raises(kind) as raised:
        enter(BLOCKS[name](), form, act)
    if not (form == "async with" and kind is asyncio.CancelledError):  # asyncio makes a new one of it.
        assert raised.value is error
    seen = captured.attributes(name)
    assert seen.get(OUTCOMES.get(name, "")) == outcomes.get(name)
    failed = kind is LookupError
    assert captured.span(name).status.status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
    assert seen.get("error.type") == ("LookupError" if failed else None)


@each
def test_a_failure_that_the_block_handles_itself(name: str, form: str, captured: CapturedSpans) -> None:
    enter(BLOCKS[name](), form, lambda recorder: recorder.fail(OSError("disk")))
    assert captured.span(name).status.description == "disk"


@each
def test_a_block_can_be_entered_again_and_inside_itself(name: str, form: str, captured: CapturedSpans) -> None:
    block = BLOCKS[name]()
    enter(block, "with", lambda recorder: None)
    with block:
        with lo.span("between"), block:
            pass
    calls = {"llm.call": ["llm.call", "llm", "  between", "    llm.call"]}
    assert captured.outline() == calls.get(name, [name, name, "  between", f"    {name}"])


@each
def test_a_block_can_be_entered_in_threads_and_tasks_at_once(name: str, form: str, captured: CapturedSpans) -> None:
    block, together = BLOCKS[name](), threading.Barrier(3, timeout=20)

    def act(recorder: Recorder) -> None:
        together.wait()
        with lo.span("inside"):
            assert lo.current() is not recorder

    threads = [threading.Thread(target=enter, args=(block, form, act)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    async def hold() -> None:
        async with block as recorder:
            await asyncio.sleep(0)
            assert lo.current() is recorder

    async def all_at_once() -> None:
        await asyncio.gather(*(hold() for _ in range(3)))

    asyncio.run(all_at_once())
    lines = captured.outline()
    assert (lines.count(name), lines.count("  inside"), len(lines)) == (6, 3, 9)


@each
def test_left_in_another_context_it_still_ends_once(name: str, form: str, captured: CapturedSpans) -> None:
    block = BLOCKS[name]()
    contextvars.copy_context().run(block.__enter__)
    with lo.span("here") as here:
        block.__exit__(None, None, None)
        assert lo.current() is here
    assert sorted(captured.outline()) == sorted([name, "here"])


@each
def test_untraced_it_does_nothing(name: str, form: str) -> None:
    def act(recorder: Recorder) -> None:
        assert recorder is lo.current() is NO_RECORDER
        recorder.record(output=1, usage=object())
        recorder.first_chunk()
        recorder.fail(ValueError())

    enter(BLOCKS[name](input=object()), form, act)


def test_the_identity_inside_a_run(captured: CapturedSpans) -> None:
    block = agent_span("maths", task_id="task_1", metadata={"tier": "pro"})
    with lo.session("s-1"), block:
        identity = current_identity()
        assert (identity.agent_id, identity.task_id, identity.session_id) == ("maths", "task_1", "s-1")
        with llm_span(), tool_span("add", call_id="call_1"):
            pass
    assert {one["agent.task.id"] for one in all_attributes(captured)} == {"task_1"}
    assert {one["session.id"] for one in all_attributes(captured)} == {"s-1"}
    assert captured.attributes("tool.execute")["gen_ai.tool.call.id"] == "call_1"


@pytest.mark.parametrize("answer", [COMPLETION, ChatCompletion.model_validate(COMPLETION)], ids=["json", "openai"])
def test_an_answer_that_is_told(answer: Any, captured: CapturedSpans) -> None:
    with llm_span(
        model="gpt-4o", input=[Message("user", "2+2?")], parameters={"temperature": 0.5}, stream=True
    ) as call:
        call.first_chunk()
        call.record(output="draft")
        call.record(output=answer)
    seen = captured.attributes("llm.call")
    assert (seen["gen_ai.usage.input_tokens"], seen["gen_ai.response.model"]) == (9, "gpt-4o-2024-08-06")
    assert (seen["llm.finish_reason"], seen["gen_ai.request.temperature"]) == ("stop", 0.5)
    assert (seen["gen_ai.system"], seen["llm.usage.source"]) == ("openai", "reported")
    assert seen[OUTPUT] == '{"role":"assistant","content":"4"}'
    assert float(seen["gen_ai.response.time_to_first_chunk"]) > 0


def test_facts_that_are_told_one_by_one(captured: CapturedSpans) -> None:
    with llm_span(model="m", system="mine", provider_name="my-gateway") as call:
        call.record(output="4", usage=Usage(3, 4), finish_reason="stop", response_model="m-1", cost=0.25)
    seen = captured.attributes("llm.call")
    assert (seen["gen_ai.usage.input_tokens"], seen["gen_ai.response.model"]) == (3, "m-1")
    assert (seen["gen_ai.usage.cost"], seen["gen_ai.system"], seen["gen_ai.provider.name"]) == (
        0.25,
        "mine",
        "my-gateway",
    )
    assert seen[OUTPUT] == '{"role":"assistant","content":"4"}'


def test_a_call_inside_makes_the_block_a_step(captured: CapturedSpans) -> None:
    with agent_span("maths", input="2+2?") as run, iteration_span(3), llm_span(name="ask", input="2+2?") as outer:
        with llm_span(model="gpt-4o") as inner:
            inner.record(output=COMPLETION)
        outer.record(output={"score": 1})
        run.record(output="4")
    assert captured.outline() == ["agent.execute", "  agent.iteration", "    ask", "      llm.call"]
    seen = captured.attributes("agent.execute")
    assert (seen["agent.llm_calls"], seen["agent.iterations"], seen["agent.usage.prompt_tokens"]) == (1, 1, 9)
    assert captured.attributes("ask")[OUTPUT] == '{"score":1}'
    assert captured.attributes("agent.iteration")["agent.iteration"] == 3


@pytest.mark.parametrize(("name", "shown"), [("", "unnamed"), ("  ", "unnamed"), (5, "5"), (None, "unnamed")])
def test_strange_names_do_not_hurt(name: Any, shown: str, captured: CapturedSpans) -> None:
    with agent_span(name), tool_span(name):
        pass
    seen = captured.attributes("tool.execute")
    assert (seen["gen_ai.tool.name"], seen["agent.id"]) == (shown, shown)

"""`span()` and `current()`: the tree is right under tasks, errors and other people's spans."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.core.operation import Operation
from tests.tracing.conftest import Recorded, attributes


def test_a_span_records_input_output_and_metadata(recorded: Recorded) -> None:
    with lo.span("load", input={"path": "a"}) as step:
        assert lo.current() is step
        step.record(output=[1, 2], metadata={"rows": 2})
    assert lo.current() is not step
    span = recorded.span("load")
    assert span.kind is SpanKind.INTERNAL
    assert span.status.status_code is StatusCode.UNSET
    seen = attributes(span)
    assert seen["langfuse.observation.input"] == '{"path":"a"}'
    assert seen["langfuse.observation.output"] == "[1,2]"
    assert seen["langfuse.observation.metadata.rows"] == 2
    assert seen["langfuse.observation.type"] == "span"
    assert seen["langfuse.environment"] == "test"


def test_identity_stands_on_every_span_also_on_those_of_a_plain_tracer(recorded: Recorded) -> None:
    tracer = recorded.telemetry.tracer("my-tool")
    with lo.session("s-1", user_id="u-1", tags=["beta"], metadata={"tier": "pro"}, trace_name="support"):
        with lo.span("outer"), tracer.start_as_current_span("plain"), lo.span("inner"):
            pass
    for span in recorded.spans():
        seen = attributes(span)
        assert seen["session.id"] == seen["gen_ai.conversation.id"] == "s-1", span.name
        assert seen["user.id"] == "u-1"
        assert seen["langfuse.trace.name"] == "support"
        assert list(cast("Any", seen["langfuse.trace.tags"])) == ["beta"]
        assert seen["langfuse.trace.metadata.tier"] == "pro"
        assert seen["langfuse.release"] == "r1"
    assert recorded.parent_name("plain") == "outer"
    assert recorded.parent_name("inner") == "plain"
    roots = [span.name for span in recorded.spans() if "langfuse.internal.is_app_root" in attributes(span)]
    assert roots == ["outer"]


def test_a_failure_is_described_and_passes(recorded: Recorded) -> None:
    with pytest.raises(ValueError, match="no such file"), lo.span("load"):
        raise ValueError("no such file")
    span = recorded.span("load")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "no such file"
    assert attributes(span)["error.type"] == "ValueError"
    (event,) = span.events
    assert dict(event.attributes or {}) == {"exception.type": "ValueError", "exception.message": "no such file"}


def test_a_failure_that_the_code_handles_itself(recorded: Recorded) -> None:
    with lo.span("load") as step:
        step.fail(OSError("disk"))
    assert recorded.span("load").status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_an_interruption_is_no_error_and_passes(recorded: Recorded, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), lo.span("load"):
        raise interruption
    span = recorded.span("load")
    assert span.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(span)


async def test_tasks_keep_their_parents(recorded: Recorded) -> None:
    async def work(number: int) -> None:
        async with lo.span(f"outer-{number}"):
            await asyncio.sleep(0)
            await asyncio.gather(*(child(number, part) for part in range(3)))

    async def child(number: int, part: int) -> None:
        with lo.span(f"inner-{number}-{part}"):
            await asyncio.to_thread(grandchild, number, part)

    def grandchild(number: int, part: int) -> None:
        with lo.span(f"leaf-{number}-{part}"):
            pass

    await asyncio.gather(*(work(number) for number in range(10)))
    names = {span.context.span_id: span.name for span in recorded.spans() if span.context}
    assert len(names) == 10 + 30 + 30
    for span in recorded.spans():
        kind, _, rest = span.name.partition("-")
        expected = {"outer": None, "inner": f"outer-{rest.partition('-')[0]}", "leaf": f"inner-{rest}"}[kind]
        assert (names[span.parent.span_id] if span.parent else None) == expected


def test_ending_in_another_context_leaves_that_context_alone(
    recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    manager = lo.span("elsewhere")
    contextvars.copy_context().run(manager.__enter__)
    with lo.span("here") as here:
        manager.__exit__(None, None, None)
        assert lo.current() is here
    assert {span.name for span in recorded.spans()} == {"elsewhere", "here"}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_span_of_another_provider_is_the_parent_but_does_not_decide(recorded: Recorded) -> None:
    other = TracerProvider(sampler=ALWAYS_OFF).get_tracer("web")
    with other.start_as_current_span("request") as request:
        with lo.span("ours"):
            assert trace.get_current_span() is not request
        assert trace.get_current_span() is request
    span = recorded.span("ours")
    assert span.parent is not None
    assert span.parent.span_id == request.get_span_context().span_id
    seen = attributes(span)
    assert seen["langfuse.internal.is_app_root"] is True
    assert seen["langfuse.internal.as_root"] == "true"


def test_attributes_that_others_set_on_our_span_are_kept(recorded: Recorded) -> None:
    with lo.span("ours"):
        trace.get_current_span().set_attribute("app.answer", 42)
        trace.get_current_span().add_event("note", {"k": "v"})
    span = recorded.span("ours")
    assert attributes(span)["app.answer"] == 42
    assert [event.name for event in span.events] == ["note"]


def test_before_configure_everything_is_a_no_op() -> None:
    with lo.span("nothing") as step:
        step.record(output=1)
        step.fail(ValueError())
        assert lo.current() is step
    assert step.trace_id is None
    assert dict(step.headers()) == {}


@pytest.mark.parametrize(("name", "shown"), [("", "unnamed"), ("  ", "unnamed"), (5, "5"), (" load ", "load")])
def test_a_strange_name_does_not_hurt_the_program(recorded: Recorded, name: Any, shown: str) -> None:
    with lo.span(name):
        pass
    assert [span.name for span in recorded.spans()] == [shown]


def test_nothing_is_announced_while_suppressed(recorded: Recorded) -> None:
    with hooks.suppressed(), lo.span("hidden"):
        pass
    assert recorded.spans() == []


class BrokenObserver:
    def start(
        self, operation: Operation, *, parent: hooks.Handle | None = None, current: bool = True
    ) -> hooks.Recorder:
        raise RuntimeError("broken")


@pytest.mark.usefixtures("swallowed_faults")
def test_a_fault_of_ours_is_swallowed_and_counted(recorded: Recorded) -> None:
    broken = BrokenObserver()
    hooks.install(broken)
    try:
        with lo.span("still-runs"):
            done = True
    finally:
        hooks.remove(broken)
    assert done
    assert recorded.telemetry.stats().internal_errors["observer.start"] >= 1

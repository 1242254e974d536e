"""Every decorator on every kind of function: the function behaves as without it, and each call is recorded once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import threading
import weakref
from collections.abc import Callable
from typing import Any, cast

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import looopy_otel as lo
from looopy_otel.core import hooks
from looopy_otel.testing import CapturedSpans
from tests.instrument.decorators.subjects import CHECKS, DECORATORS, FUNCTIONS, SUBJECTS, Subject, complete, sent

pytestmark = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda one: f"{one.span}-{one.kind}")
INPUT, OUTPUT = "langfuse.observation.input", "langfuse.observation.output"
OUTCOMES = {"agent.execute": "agent.outcome", "llm.call": "llm.outcome"}


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def test_it_stays_of_its_kind(subject: Subject) -> None:
    decorated = subject.decorated()
    assert [check(decorated) for check in CHECKS] == [check(subject.plain) for check in CHECKS]


def test_it_keeps_its_face(subject: Subject) -> None:
    decorated: Any = subject.decorated()
    assert inspect.signature(decorated) == inspect.signature(subject.plain)
    assert decorated.__wrapped__ is subject.plain
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__"):
        assert getattr(decorated, name) == getattr(subject.plain, name)


def test_a_call_gives_the_same_and_is_one_span(subject: Subject, captured: CapturedSpans) -> None:
    assert complete(subject.decorated(), "a", times=2) == "AA"
    assert captured.outline() == [subject.name]
    assert captured.span(subject.name).status.status_code is StatusCode.UNSET


def test_bare_it_is_the_same(subject: Subject, captured: CapturedSpans) -> None:
    assert complete(DECORATORS[subject.span](subject.plain), "a") == "A"
    (span,) = captured.spans()
    assert span.name == (subject.plain.__name__ if subject.span == "step" else subject.span)


@pytest.mark.parametrize("call", [(("a",), {}), ((), {"text": "a"})], ids=["positional", "by-name"])
def test_input_and_output(subject: Subject, captured: CapturedSpans, call: tuple[Any, Any]) -> None:
    complete(subject.decorated(), *call[0], **call[1])
    seen = captured.attributes(subject.name)
    given, output = {
        "agent.execute": ("a", "A"),
        "llm.call": ('[{"role":"user","content":"a"}]', '{"role":"assistant","content":"A"}'),
    }.get(subject.span, ('{"text":"a"}', '["A"]' if subject.streams else "A"))
    assert (seen[INPUT], seen[OUTPUT]) == (given, output)


def test_all_arguments_by_name(subject: Subject, captured: CapturedSpans) -> None:
    complete(subject.decorated(), "a", 2, act=print)
    given = str(captured.attributes(subject.name)[INPUT])
    by_name = '{"text":"a","times":2,"act":"<function print>"}'
    assert given == ('[{"role":"user","content":"a"}]' if subject.span == "llm.call" else by_name)


def test_a_failure_passes_as_it_is_and_is_recorded(subject: Subject, captured: CapturedSpans) -> None:
    error = LookupError("no such thing")
    with pytest.raises(LookupError) as raised:
        complete(subject.decorated(), act=raising(error))
    assert raised.value is error
    span = captured.span(subject.name)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "no such thing")
    assert captured.attributes(subject.name)["error.type"] == "LookupError"
    outcome = {"agent.execute": "failed", "llm.call": "error"}.get(subject.span)
    assert captured.attributes(subject.name).get(OUTCOMES.get(subject.span, "")) == outcome


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_an_interruption_passes_as_it_is_and_is_no_failure(
    subject: Subject, captured: CapturedSpans, kind: type[BaseException]
) -> None:
    error = kind()
    with pytest.raises(kind) as raised:
        complete(subject.decorated(), act=raising(error))
    if not (subject.kind == "async" and kind is asyncio.CancelledError):  # asyncio makes a new one of it.
        assert raised.value is error
    seen = captured.attributes(subject.name)
    assert captured.span(subject.name).status.status_code is StatusCode.UNSET
    assert "error.type" not in seen
    call_outcome = "abandoned" if kind is GeneratorExit else "cancelled"
    expected = {"agent.execute": "cancelled", "llm.call": call_outcome}.get(subject.span)
    assert seen.get(OUTCOMES.get(subject.span, "")) == expected


def test_an_exception_lives_no_longer_than_without_it(subject: Subject, captured: CapturedSpans) -> None:
    class Failure(Exception):
        pass

    def fail() -> None:
        raise Failure

    def fail_once() -> weakref.ref[Failure]:
        made: Any = None
        try:
            made = subject.decorated()(act=fail)
            step = made if inspect.iscoroutine(made) else made.__anext__() if inspect.isasyncgen(made) else None
            if step is None:
                next(cast("Any", made))
            while step is not None:
                step.send(None)
        except Failure as failure:
            return weakref.ref(failure)
        raise AssertionError(made)

    gc.collect()
    gc.disable()
    try:
        assert fail_once()() is None
    finally:
        gc.enable()
    assert captured.span(subject.name).status.status_code is StatusCode.ERROR


def test_what_happens_inside_hangs_under_it(subject: Subject, captured: CapturedSpans) -> None:
    def act() -> None:
        with lo.span("inside"):
            assert trace.get_current_span() is not trace.INVALID_SPAN

    with lo.span("outside"):
        complete(subject.decorated(), act=act)
    assert captured.outline() == ["outside", f"  {subject.name}", "    inside"]


def test_every_span_knows_its_session(subject: Subject, captured: CapturedSpans) -> None:
    with lo.session("s-1", user_id="u-1"):
        complete(subject.decorated(), act=lambda: complete(lo.trace_span(lambda: "x")))
    for span in captured.spans():
        assert (dict(span.attributes or {})["session.id"], dict(span.attributes or {})["user.id"]) == ("s-1", "u-1")
    assert len(captured.spans()) == 2


def test_the_recorder_of_a_call_takes_facts(subject: Subject, captured: CapturedSpans) -> None:
    complete(subject.decorated(), act=lambda: lo.current().record(metadata={"rows": 3}))
    assert captured.attributes(subject.name)["langfuse.observation.metadata.rows"] == 3


def test_a_call_that_is_never_run_is_no_span(subject: Subject, captured: CapturedSpans) -> None:
    made = None if subject.kind == "sync" else subject.decorated()()
    if inspect.iscoroutine(made):
        made.close()
    del made
    assert captured.spans() == []


def test_calls_inside_calls(subject: Subject, captured: CapturedSpans) -> None:
    decorated = subject.decorated()

    def act() -> None:
        place = contextvars.copy_context()
        thread = threading.Thread(target=place.run, args=(complete, decorated))
        thread.start()
        thread.join(20)

    complete(decorated, act=act)
    # One LLM call is one generation: the outer one is a step.
    outer = subject.plain.__name__ if subject.span == "llm.call" else subject.name
    assert captured.outline() == [outer, f"  {subject.name}"]


def test_in_many_threads_at_once(subject: Subject, captured: CapturedSpans) -> None:
    decorated, together = subject.decorated(), threading.Barrier(4, timeout=20)
    seen: list[str] = []

    def work() -> None:
        seen.append(complete(decorated, act=together.wait))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == ["HI"] * 4
    assert captured.outline() == [subject.name] * 4


def test_arguments_that_do_not_fit_are_complained_of_as_ever(subject: Subject, captured: CapturedSpans) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'loudly'"):
        complete(subject.decorated(), "a", loudly=True)
    assert captured.span(subject.name).status.status_code is StatusCode.ERROR


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__

    @property
    def role(self) -> str:
        raise RuntimeError("no")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "strange",
    [Unprintable(), threading.Lock(), iter([1]), "x" * 10_000_000, [[0] * 1000] * 1000, b"\0" * 1000, "\ud800"],
    ids=["unprintable", "lock", "iterator", "10-MB", "million-numbers", "bytes", "surrogate"],
)
def test_any_argument_and_result_is_recorded_and_passed_on(
    subject: Subject, captured: CapturedSpans, strange: Any
) -> None:
    def same(given: Any) -> Any:
        return given

    if subject.kind == "sync":
        assert subject.decorated(same)(strange) is strange
        seen = captured.attributes(subject.name)
        assert len(str(seen[INPUT])) + len(str(seen[OUTPUT])) < 2_100_000 or subject.span == "llm.call"
    else:
        complete(subject.decorated(), "a", act=lambda: strange)
        assert captured.outline() == [subject.name]


def test_it_can_be_sent_to_another_process(subject: Subject, captured: CapturedSpans) -> None:
    local = FUNCTIONS[subject.kind]
    decorated = subject.decorated(local)
    complete(decorated)
    again = sent(decorated)
    assert complete(again, "a") == "A"
    assert captured.outline() == [subject.name] * 2


def test_while_suppressed_it_is_the_bare_function(subject: Subject, captured: CapturedSpans) -> None:
    with hooks.suppressed():
        assert complete(subject.decorated(), "a", 2) == "AA"
    assert captured.spans() == []


def test_untraced_it_is_the_bare_function(subject: Subject) -> None:
    assert complete(subject.decorated(), "a", 2) == "AA"
    error = LookupError()
    with pytest.raises(LookupError) as raised:
        complete(subject.decorated(), act=raising(error))
    assert raised.value is error


class BrokenObserver:
    def start(self, operation: object, **options: object) -> hooks.Recorder:
        raise RuntimeError("broken")


@pytest.mark.usefixtures("swallowed_faults")
def test_a_fault_of_ours_does_not_reach_the_call(subject: Subject) -> None:
    broken: Any = BrokenObserver()
    hooks.install(broken)
    try:
        assert complete(subject.decorated(), "a", 2) == "AA"
    finally:
        hooks.remove(broken)

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Tracer

from looopy_otel.core.draft import Draft
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.destination import Outgoing
from looopy_otel.export.processor import DraftProcessor
from looopy_otel.export.worker import Worker
from tests.export.patience import until
from tests.export.spans import llm_draft


class Gate:
    """A destination that can be made to stall."""

    name = "gate"
    dialects = ()

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.got: list[Outgoing] = []
        self.closed = 0

    def accept(self, spans: Sequence[Outgoing]) -> None:
        self.entered.set()
        self.open.wait(20)
        self.got.extend(spans)

    def flush(self, deadline: float) -> bool:
        return True

    def close(self, deadline: float) -> None:
        self.closed += 1

    def stats(self) -> DestinationStats:
        return DestinationStats(self.name)


def identity_of(draft: Draft) -> Draft:
    return draft


def pipeline(gate: Gate, *, delay: float = 60.0, stamp: Any = None) -> DraftProcessor:
    worker = Worker(
        redact=identity_of,
        redact_attributes=dict,
        redact_text=str,
        redact_name=str,
        price=identity_of,
        render=lambda draft, dialects: {},
        is_own=lambda key: False,
        destinations=[gate],
    )
    return DraftProcessor(worker, delay=delay, stamp=stamp)


def tracer(processor: DraftProcessor, **options: Any) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False, **options)
    provider.add_span_processor(processor)
    return provider.get_tracer("test")


def end_with_draft(processor: DraftProcessor, tracer: Tracer, draft: Draft) -> None:
    span = tracer.start_span(draft.name)
    processor.hand_over(span.get_span_context(), draft)
    span.end()


def test_a_draft_meets_its_span() -> None:
    gate = Gate()
    processor = pipeline(gate)
    traces = tracer(processor)
    drafts = [llm_draft(name=f"call-{number}") for number in range(3)]
    for draft in drafts:
        end_with_draft(processor, traces, draft)
    traces.start_span("plain").end()
    assert processor.force_flush()
    assert [(one.span.name, one.draft) for one in gate.got] == [
        *((draft.name, draft) for draft in drafts),
        ("plain", None),
    ]
    assert processor.queued == 0
    processor.shutdown()
    assert gate.closed == 1


def test_no_thread_starts_before_the_first_span() -> None:
    before = set(threading.enumerate())
    processor = pipeline(Gate())
    traces = tracer(processor)
    assert set(threading.enumerate()) == before
    span = traces.start_span("first")
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert started == {"looopy-otel-worker", "looopy-otel-close"}
    span.end()
    processor.shutdown()


def test_spans_reach_the_worker_by_themselves_after_the_delay() -> None:
    gate = Gate()
    processor = pipeline(gate, delay=0.01)
    tracer(processor).start_span("one").end()
    assert gate.entered.wait(20)
    processor.shutdown()
    assert len(gate.got) == 1


def test_a_span_that_is_not_sampled_leaves_nothing_behind() -> None:
    gate = Gate()
    processor = pipeline(gate)
    end_with_draft(processor, tracer(processor, sampler=ALWAYS_OFF), llm_draft())
    assert processor._drafts == {}  # pyright: ignore[reportPrivateUsage]
    processor.shutdown()
    assert gate.got == []


def test_the_stamp_sees_every_start_and_its_faults_hurt_nobody(swallowed_faults: Counter[str]) -> None:
    seen: list[str] = []

    def stamp(span: Span, parent: Context | None) -> None:
        seen.append(span.name)
        span.set_attribute("stamped", True)
        raise ValueError("broken stamp")

    gate = Gate()
    processor = pipeline(gate, stamp=stamp)
    tracer(processor).start_span("one").end()
    processor.shutdown()
    assert seen == ["one"]
    assert (gate.got[0].span.attributes or {})["stamped"] is True
    assert swallowed_faults == {"export.start": 1}


def test_a_flush_obeys_its_timeout_while_the_worker_is_stuck() -> None:
    gate = Gate()
    processor = pipeline(gate)
    gate.open.clear()
    tracer(processor).start_span("one").end()
    begun = time.monotonic()
    assert not processor.force_flush(100)
    assert time.monotonic() - begun < 10
    assert processor.queued == 1
    gate.open.set()
    processor.shutdown()
    assert len(gate.got) == 1
    assert processor.queued == 0


def test_a_shutdown_obeys_its_timeout_while_the_worker_is_stuck() -> None:
    gate = Gate()
    processor = pipeline(gate)
    gate.open.clear()
    tracer(processor).start_span("one").end()
    begun = time.monotonic()
    processor.shutdown(100)
    assert time.monotonic() - begun < 10
    assert gate.closed == 1
    gate.open.set()


def test_after_a_shutdown_that_gave_up_every_span_is_queued_or_dropped() -> None:
    gate = Gate()
    processor = pipeline(gate, delay=0.01)
    gate.open.clear()
    traces = tracer(processor)
    for _ in range(12):
        traces.start_span("in hand").end()
    assert gate.entered.wait(20)
    for _ in range(100):
        traces.start_span("never taken").end()
    processor.shutdown(100)
    lost = processor.dropped["shutdown"]
    assert lost >= 100
    assert processor.queued == 112 - lost
    gate.open.set()
    until(lambda: processor.queued == 0)
    assert len(gate.got) == 112 - lost
    assert processor.dropped == {"shutdown": lost}


def test_a_late_span_does_not_wait_for_a_stalled_destination() -> None:
    gate = Gate()
    processor = pipeline(gate)
    gate.open.clear()
    traces = tracer(processor)
    late = traces.start_span("late")
    traces.start_span("in hand").end()
    processor.shutdown(100)
    begun = time.monotonic()
    late.end()
    assert time.monotonic() - begun < 10
    assert processor.queued == 1
    gate.open.set()
    until(lambda: processor.queued == 0)
    assert [one.span.name for one in gate.got] == ["in hand"]


def test_spans_that_end_after_the_shutdown_go_straight_through() -> None:
    gate = Gate()
    processor = pipeline(gate)
    span = tracer(processor).start_span("late")
    processor.shutdown()
    processor.shutdown()
    processor.hand_over(span.get_span_context(), llm_draft())
    span.end()
    assert [one.span.name for one in gate.got] == ["late"]
    assert gate.closed == 1


def test_where_no_thread_may_start_spans_go_straight_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    gate = Gate()
    processor = pipeline(gate)
    traces = tracer(processor)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    traces.start_span("one").end()
    assert [one.span.name for one in gate.got] == ["one"]
    assert processor.force_flush(100)
    processor.shutdown(100)


def test_many_threads_lose_nothing() -> None:
    gate = Gate()
    processor = pipeline(gate, delay=0.01)
    traces = tracer(processor)

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            for step in range(100):
                end_with_draft(processor, traces, llm_draft(name=f"{number}-{step}"))

        return run

    threads = [threading.Thread(target=work(number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert processor.force_flush()
    processor.shutdown()
    assert len(gate.got) == 800
    assert all(one.draft is not None and one.draft.name == one.span.name for one in gate.got)

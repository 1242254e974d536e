"""Whole traces are kept or left out when they are over; nothing is lost, and little waits."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import StatusCode, Tracer, use_span

import looopy_otel as lo
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.export import tail_sampling
from looopy_otel.export.memory import MemoryBudget
from looopy_otel.export.tail_sampling import Facts, TailSampler, is_in_share
from tests.export.patience import PATIENCE, until

LEAVE_OUT = lo.TailSampling(errors=False)


class Held:
    """A sampler of names, with what its thread has let go on."""

    def __init__(self, rules: lo.TailSampling = LEAVE_OUT, *, limit: int = 1 << 30) -> None:
        self.memory = MemoryBudget(limit)
        self.let_go: list[str] = []
        self.sampler = TailSampler[str](rules, self.memory, self._take)

    def _take(self, names: Sequence[str]) -> None:
        self.let_go.extend(names)
        self.sampler.settled(len(names))

    def offer(self, name: str, trace_id: int = 1, root: str | None = "r", **changes: Any) -> list[str]:
        facts: dict[str, Any] = {
            "is_root": name == root,
            "failed": False,
            "start_time": time.time_ns(),
            "end_time": time.time_ns(),
            "cost": None,
            "size": 100,
        }
        gone_on = list(self.sampler.offer(Facts(trace_id, root, **{**facts, **changes}), name))
        self.sampler.settled(len(gone_on))
        return gone_on

    def counts(self) -> tuple[int, int, int, int]:
        """Waiting, left out, undecided, bytes."""
        return self.sampler.unsettled, self.sampler.sampled_out, self.sampler.undecided, self.memory.used


def test_nothing_goes_on_before_the_root_has_ended() -> None:
    held = Held(lo.TailSampling(ratio=1.0))
    assert held.offer("a") == held.offer("b") == []
    assert held.counts() == (2, 0, 0, 200)
    assert held.offer("r") == ["a", "b", "r"]
    assert held.counts() == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("rules", "changes", "kept"),
    [
        (lo.TailSampling(), {}, False),
        (lo.TailSampling(), {"failed": True}, True),
        (lo.TailSampling(errors=False), {"failed": True}, False),
        (lo.TailSampling(slower_than=2.0), {"start_time": 0, "end_time": 2_000_000_000}, False),
        (lo.TailSampling(slower_than=2.0), {"start_time": 0, "end_time": 2_000_000_001}, True),
        (lo.TailSampling(costlier_than=0.1), {"cost": Decimal("0.05")}, False),
        (lo.TailSampling(costlier_than=0.1), {"cost": Decimal("0.0500001")}, True),
        (lo.TailSampling(costlier_than=0.0), {}, True),
        (lo.TailSampling(ratio=1.0), {}, True),
    ],
)
def test_a_trace_is_kept_where_a_rule_holds(rules: lo.TailSampling, changes: dict[str, Any], kept: bool) -> None:
    held = Held(rules)
    held.offer("a", cost=Decimal("0.05"))
    assert held.offer("r", **changes) == (["a", "r"] if kept else [])
    assert held.counts() == (0, 0 if kept else 2, 0, 0)


def test_an_error_anywhere_in_the_trace_keeps_it() -> None:
    held = Held(lo.TailSampling())
    held.offer("a", failed=True)
    held.offer("b")
    assert held.offer("r") == ["a", "b", "r"]


def test_late_spans_follow_the_decision() -> None:
    held = Held(lo.TailSampling())
    held.offer("r", failed=True)
    assert held.offer("late") == ["late"]
    held.offer("s", 2, "s")
    assert held.offer("late", 2, "s", failed=True) == []
    assert held.counts() == (0, 2, 0, 0)


def test_parts_of_a_trace_with_roots_of_their_own_are_decided_apart_until_one_is_kept() -> None:
    held = Held(lo.TailSampling())
    assert held.offer("first", root="first") == []
    held.offer("inside", root="second", failed=True)
    held.offer("open", root="third")
    assert held.offer("second", root="second") == ["inside", "second"]
    assert held.offer("third", root="third") == ["open", "third"]
    assert held.counts() == (0, 1, 0, 0)


def test_beyond_its_memory_the_oldest_go_on_undecided() -> None:
    held = Held(lo.TailSampling(memory=250))
    assert held.offer("a", 1, "x") == held.offer("b", 2, "y") == []
    assert held.offer("c", 3, "z") == ["a"]
    assert held.counts() == (2, 0, 1, 200)
    assert held.offer("x", 1, "x") == ["x"]
    assert held.offer("y", 2, "y") == []
    assert held.counts() == (1, 2, 1, 100)


def test_a_trace_that_is_too_large_by_itself_goes_on() -> None:
    held = Held(lo.TailSampling(memory=250))
    assert held.offer("a", size=300) == ["a"]
    assert held.offer("r") == ["r"]
    assert held.counts() == (0, 0, 1, 0)


def test_what_waits_makes_room_where_the_whole_process_has_too_much() -> None:
    held = Held(limit=1000)
    held.offer("a")
    held.memory.take(950)
    assert held.offer("b", 2, "s") == ["a", "b"]
    assert held.counts() == (0, 0, 2, 950)


def test_a_trace_whose_root_does_not_end_is_decided_when_patience_is_over() -> None:
    before = set(threading.enumerate())
    held = Held(lo.TailSampling(patience=0.05))
    held.offer("a", 1, "x", failed=True)
    held.offer("b", 2, "y")
    until(lambda: held.counts() == (0, 1, 0, 0))
    assert held.let_go == ["a"]
    until(lambda: set(threading.enumerate()) <= before)
    held.offer("c", 3, "z", failed=True)
    until(lambda: held.let_go == ["a", "c"])


def test_what_has_lasted_long_without_an_end_is_slow() -> None:
    held = Held(lo.TailSampling(slower_than=1.0))
    held.offer("a", start_time=time.time_ns() - 2_000_000_000)
    held.offer("b", 2, "s")
    assert held.sampler.close() == ["a"]


def test_the_close_decides_on_all_and_then_on_each() -> None:
    held = Held(lo.TailSampling())
    held.offer("a", 1, "x", failed=True)
    held.offer("b", 2, "y")
    assert held.sampler.close() == ["a"]
    held.sampler.settled(1)
    assert held.offer("x", 1, "x") == ["x"]
    assert held.offer("y", 2, "y") == []
    assert held.offer("late", 3, "z", failed=True) == ["late"]
    assert held.offer("z", 3, "z") == ["z"]
    assert held.counts() == (0, 2, 0, 0)


def test_decisions_are_remembered_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_sampling, "MOST_DECISIONS", 2)
    held = Held()
    for trace_id in (1, 2, 3):
        held.offer("r", trace_id)
    assert held.offer("late", 3) == []
    assert held.counts() == (0, 4, 0, 0)
    assert held.offer("late", 1) == []
    assert held.counts() == (1, 4, 0, 100)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_starts_without_what_the_parent_holds() -> None:
    held = Held(lo.TailSampling())
    held.offer("a", failed=True)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        counts, gone_on = held.counts(), list[str](held.offer("r"))
        os.write(write, repr((counts, gone_on)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as answer:
        assert answer.read() == b"((0, 0, 0, 0), [])"
    os.waitpid(pid, 0)
    assert held.offer("r") == ["a", "r"]


def test_many_threads_lose_and_double_nothing() -> None:
    held, gone_on = Held(lo.TailSampling(ratio=0.5, memory=5000)), list[str]()

    def run(number: int) -> None:
        for trace_id in range(number * 1000, number * 1000 + 300):
            for name in ("a", "b", "r"):
                gone_on.extend(held.offer(name, trace_id))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    waiting, left_out, _, size = held.counts()
    assert (waiting, size) == (0, 0)
    assert len(gone_on) + left_out == 3600


def test_the_share_is_right_and_another_than_that_of_a_sampler_at_the_start() -> None:
    generator = TracerProvider().id_generator
    ids = [generator.generate_trace_id() for _ in range(20_000)]
    first = TraceIdRatioBased(0.1)
    passed = [one for one in ids if first.should_sample(None, one, "s").decision.is_sampled()]
    for some in (ids, passed):
        assert 0.07 < sum(is_in_share(one, 0.1) for one in some) / len(some) < 0.13
    assert not any(is_in_share(one, 0.0) for one in ids)
    assert all(is_in_share(one, 1.0) for one in ids)
    assert all(is_in_share(one, 0.5) for one in ids if is_in_share(one, 0.1))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("all", "must be a looopy_otel.TailSampling"),
        (lo.TailSampling(errors=1), "errors=1: must be True or False"),  # pyright: ignore[reportArgumentType]
        (lo.TailSampling(slower_than=-1), "slower_than=-1: must be a number of seconds"),
        (lo.TailSampling(costlier_than=float("nan")), "costlier_than=nan: must be a number of USD"),
        (lo.TailSampling(ratio=1.5), "ratio=1.5: must be a number from 0 to 1"),
        (lo.TailSampling(memory=10), "memory=10: must be a whole number of bytes"),
        (lo.TailSampling(patience=0), "patience=0: must be a number of seconds"),
    ],
)
def test_wrong_values_are_named(rules: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match="tail_sampling") as caught:
        lo.configure(exporters="none", tail_sampling=rules)
    assert said in str(caught.value)


def names(exporter: InMemorySpanExporter) -> list[str]:
    return sorted(span.name for span in exporter.get_finished_spans())


def test_metrics_see_every_call_and_a_finished_trace_is_decided_at_the_flush() -> None:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    with lo.configure(exporters=exporter, metrics=reader, tail_sampling=lo.TailSampling()) as telemetry:
        for failing in (False, True):
            with lo.agent_span("a"), lo.llm_span(model="gpt-4o") as call:
                call.record(output="x", usage={"prompt_tokens": 1, "completion_tokens": 1})
                if failing:
                    call.fail(ValueError("no"))
        result = telemetry.flush()
        assert names(exporter) == ["agent.execute", "llm.call"]
        assert (result.exported, result.pending, result.dropped) == (2, 0, 0)
        stats = telemetry.stats()
        assert (stats.sampled_out, stats.undecided, stats.dropped) == (2, 0, {})
        assert calls(reader) == 2


def calls(reader: InMemoryMetricReader) -> int:
    data = reader.get_metrics_data()
    assert data is not None
    points: list[Any] = [
        point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "gen_ai.client.operation.duration"
        for point in metric.data.data_points
    ]
    return sum(point.count for point in points)


def test_an_unfinished_trace_stays_pending_over_a_flush_and_is_decided_at_shutdown() -> None:
    exporter = InMemorySpanExporter()
    telemetry = lo.configure(exporters=exporter, tail_sampling=lo.TailSampling())
    with lo.agent_span("a"):
        with lo.tool_span("t") as tool:
            tool.fail(ValueError("no"))
        result = telemetry.flush()
        assert (result.pending, result.exported, names(exporter)) == (1, 0, [])
        telemetry.shutdown()
        assert names(exporter) == ["tool.execute"]
    assert telemetry.stats().queued == 0


def test_a_late_span_after_the_shutdown_follows_its_trace() -> None:
    exporter = _Unclosed()
    with lo.configure(exporters=exporter, tail_sampling=lo.TailSampling()) as telemetry:
        tracer = telemetry.tracer("mine")
        kept, left_out = tracer.start_span("kept"), tracer.start_span("left out")
        with lo.span("plain"):
            pass
    left_out.end()
    kept.end()
    stats = telemetry.stats()
    assert (stats.sampled_out, stats.queued) == (3, 0)


class _Unclosed(InMemorySpanExporter):
    def shutdown(self) -> None:
        return None


def test_a_root_under_a_span_of_another_provider_is_a_local_root() -> None:
    exporter, web = InMemorySpanExporter(), TracerProvider().get_tracer("web")
    with lo.configure(exporters=exporter, tail_sampling=lo.TailSampling()) as telemetry:
        with web.start_as_current_span("GET /"):
            with lo.agent_span("fine"):
                pass
            with lo.agent_span("broken") as run, telemetry.tracer("mine").start_as_current_span("step"):
                run.fail(ValueError("no"))
            assert telemetry.flush().pending == 0
            assert names(exporter) == ["agent.execute", "step"]
            assert telemetry.stats().sampled_out == 1


def test_a_root_that_a_filter_leaves_out_is_no_root() -> None:
    exporter = InMemorySpanExporter()
    options: Any = {"instrumentation_scopes": ["!noisy"], "tail_sampling": lo.TailSampling(ratio=1.0)}
    with lo.configure(exporters=exporter, **options) as telemetry:
        with telemetry.tracer("noisy").start_as_current_span("outer"):
            with lo.agent_span("a"), telemetry.tracer("noisy").start_as_current_span("middle"), lo.tool_span("t"):
                pass
            assert telemetry.flush().pending == 0
            assert names(exporter) == ["agent.execute", "tool.execute"]


def test_a_run_that_pauses_longer_than_patience_is_decided_when_it_is_over() -> None:
    exporter = InMemorySpanExporter()
    with lo.configure(exporters=exporter, tail_sampling=lo.TailSampling(patience=0.05)) as telemetry:
        with lo.agent_span("a") as run:
            with lo.tool_span("t"):
                pass
            telemetry.flush()
            # What stands under a root that was lost without an end is given up, which takes at least as long.
            thread = threading.Thread(target=_lose_a_root, args=(telemetry.tracer("mine"),))
            thread.start()
            thread.join()
            telemetry.flush()
            until(lambda: gc.collect() >= 0 and telemetry.stats().sampled_out == 1)
            assert telemetry.flush().pending == 1
            run.fail(ValueError("no"))
        telemetry.flush()
        assert names(exporter) == ["agent.execute", "tool.execute"]


def _lose_a_root(tracer: Tracer) -> None:
    with use_span(tracer.start_span("lost")), tracer.start_as_current_span("below"):
        pass


def test_a_call_that_shows_late_what_it_is_belongs_to_the_trace_of_its_run() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    options: Any = {"tracer_provider": provider, "tail_sampling": lo.TailSampling()}
    with lo.configure(exporters=exporter, **options) as telemetry:
        with lo.agent_span("a"), provider.get_tracer("library").start_as_current_span("chat") as span:
            span.set_attribute("gen_ai.request.model", "m")
            span.set_status(StatusCode.ERROR)
        telemetry.flush()
        assert names(exporter) == ["agent.execute", "chat"]

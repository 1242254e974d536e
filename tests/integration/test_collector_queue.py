"""What a real collector has accepted reaches Langfuse, though Langfuse is down and the collector ends meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import looopy_otel as lo
from looopy_otel.agent import AgentLoop, FunctionTools
from looopy_otel.providers import LiteLLM, ScriptedServer
from tests.integration.example import ANSWER_TEXT, PROMPT, calculate, example_model
from tests.support.child_process import free_ports
from tests.support.collector import Collector
from tests.support.langfuse_rules import all_violations, trace_violations
from tests.support.otlp_sink import Answer, OTLPSink
from tests.support.tree import build

SPANS = 6


@pytest.fixture
def model() -> Iterator[ScriptedServer]:
    with ScriptedServer(example_model) as server:
        yield server


def run_example(model: ScriptedServer, collector: Collector, runs: int) -> lo.FlushResult:
    """Runs the example so many times; gives what became of the spans once the collector has been asked to take them."""
    with lo.configure(exporters=["otlp"], otlp_endpoint=collector.url) as telemetry:
        agent = AgentLoop(
            agent_id="my-agent", llm_provider=LiteLLM.gpt4(model.url), tool_providers=[FunctionTools([calculate])]
        )
        for _ in range(runs):
            assert agent.run(PROMPT).output == ANSWER_TEXT
        return telemetry.flush(timeout=20.0)


def arrived(sink: OTLPSink) -> dict[tuple[str, str], str]:
    """Each span that arrived, once, with its name."""
    return {(span.trace_id, span.span_id): span.name for span in sink.spans}


@pytest.mark.parametrize(("end", "fsync"), [("stopped", "false"), ("killed", "false"), ("killed", "true")])
def test_a_restart_while_langfuse_is_down_loses_nothing(
    tmp_path: Path, model: ScriptedServer, end: str, fsync: str
) -> None:
    (port,) = free_ports(1)
    runs = 5
    synced = {"LOOOPY_COLLECTOR_FSYNC": fsync}
    with Collector(tmp_path, f"http://127.0.0.1:{port}", variables=synced) as collector:
        said = run_example(model, collector, runs)
        assert (said.exported, said.spooled, said.dropped, said.pending) == (runs * SPANS, 0, 0, 0)
        if end == "stopped":
            assert collector.stop() == 0
        else:
            collector.kill()
        with OTLPSink(port=port) as sink:
            assert sink.spans == []
            collector.start()
            sink.wait_for(runs * SPANS)
            collector.stop()
            assert len(arrived(sink)) == runs * SPANS
            unique = {(span.trace_id, span.span_id): span for span in sink.spans}.values()
            assert [tree.outline() for tree in build(unique)] == [build(unique)[0].outline()] * runs
            assert all_violations(sink.requests) == []
            assert trace_violations(unique) == []


def test_a_langfuse_that_is_busy_gets_everything_later(
    sink: OTLPSink, collector: Collector, model: ScriptedServer
) -> None:
    sink.answer(Answer(503), Answer(502), Answer(504), Answer(429, headers={"retry-after": "1"}), Answer(drop=True))
    assert run_example(model, collector, 1).exported == SPANS
    sink.wait_for(SPANS)
    assert [request.status for request in sink.requests if not request.accepted] == [503, 502, 504, 429, 0]
    assert len(arrived(sink)) == SPANS


def test_a_full_queue_leaves_the_spans_with_the_application(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    small = {"LOOOPY_COLLECTOR_QUEUE_BYTES": "1048576"}
    with Collector(tmp_path, f"http://127.0.0.1:{port}", variables=small) as collector:
        with lo.configure(exporters=["otlp"], otlp_endpoint=collector.url) as telemetry:
            sent = 0
            said = lo.FlushResult()
            while not said.spooled and sent < 20:  # some are taken on top of the queue: those being sent
                with lo.span("half a queue and more", input="x" * 600_000):
                    sent += 1
                said = telemetry.flush(timeout=2.0)
            assert (said.exported, said.spooled, said.dropped, said.pending) == (0, 1, 0, 0)
            with OTLPSink(port=port) as sink:
                sink.wait_for(sent, timeout=40.0)
                collector.stop()
                assert len(arrived(sink)) == sent

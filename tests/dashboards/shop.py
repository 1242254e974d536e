"""The workload as a process that a test starts, on its own or with a collector before it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as TracedSpan

from tests.support.child_process import free_ports
from tests.support.collector import Collector
from tests.support.otlp_sink import Answer, OTLPSink
from tests.support.prometheus import Prometheus
from tests.support.require import ENVIRONMENT

ROOT = Path(__file__).parents[2]
Source = Literal["direct", "collector"]
SPENT = 0.64
"""USD after the first part."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A workload that has done its first part, and the Prometheus that has seen all of it.

    Attributes:
        prometheus: Asked by the tests.
        told: How the spans fared, by destination, as the workload says.
        traces: What Langfuse got.
        job: The service's name in Prometheus.
        source: Where the metrics were scraped.
    """

    prometheus: Prometheus
    told: Mapping[str, Any]
    traces: OTLPSink
    job: str
    source: Source
    _process: subprocess.Popen[str]

    def go_on(self) -> None:
        """Has it do the second part, once more."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def open_shop(directory: Path, source: Source, rule_files: tuple[Path, ...] = ()) -> Generator[Shop, None, None]:
    """Starts everything: Langfuse refuses the first request and takes the others, the other destination is down.

    The metrics go to Prometheus by themselves, or through a collector, which has a Langfuse of its own that refuses.
    """
    with OTLPSink() as langfuse, OTLPSink() as down:
        langfuse.answer(Answer(401))
        down.answer(then=Answer(503))
        environment = {
            "PATH": ENVIRONMENT["PATH"],
            "HOME": str(directory),
            "LANGFUSE_PUBLIC_KEY": "pk",
            "LANGFUSE_SECRET_KEY": "sk",
            "LANGFUSE_BASE_URL": langfuse.url,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": down.traces_url,
        }
        if source == "collector":
            with OTLPSink() as refusing, Collector(directory, refusing.url) as collector:
                refusing.answer(then=Answer(401))
                _send_a_span(collector)
                environment["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = f"{collector.url}/v1/metrics"
                environment["OTEL_METRIC_EXPORT_INTERVAL"] = "3000"
                targets = [collector.prometheus_address, collector.own_metrics_address]
                with Prometheus(directory, targets, rule_files) as prometheus:
                    prometheus.wait_for("otelcol_exporter_send_failed_spans == 1")
                    yield from _opened(directory, source, environment, prometheus, langfuse)
        else:
            address = f"127.0.0.1:{free_ports(1)[0]}"
            host, port = address.split(":")
            environment |= {"OTEL_EXPORTER_PROMETHEUS_HOST": host, "OTEL_EXPORTER_PROMETHEUS_PORT": port}
            with Prometheus(directory, [address], rule_files) as prometheus:
                yield from _opened(directory, source, environment, prometheus, langfuse)


def _send_a_span(collector: Collector) -> None:
    """One span that the collector takes and then cannot deliver."""
    span = TracedSpan(name="refused", trace_id=b"t" * 16, span_id=b"s" * 8)
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[span])])])
    headers = {"content-type": "application/x-protobuf"}
    httpx.post(
        f"{collector.url}/v1/traces", content=request.SerializeToString(), headers=headers, trust_env=False
    ).raise_for_status()


def _opened(
    directory: Path,
    source: Source,
    environment: Mapping[str, str],
    prometheus: Prometheus,
    langfuse: OTLPSink,
) -> Iterator[Shop]:
    log = directory / "workload.log"
    # Without a collector, `job` is the name of the scrape job.
    metrics, job = ("otlp", "shop") if source == "collector" else ("prometheus", "collector")
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.dashboards.workload", metrics],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            line = process.stdout.readline()
            assert line, log.read_text(encoding="utf-8")
            told = json.loads(line)
            prometheus.wait_for(f"sum(looopy_cost_usd_total) > {SPENT - 0.001}")
            prometheus.wait_for(f"sum(looopy_spans_exported_total) == {sum(told['exported'].values())}")
            prometheus.wait_for(f"sum(looopy_spans_spooled) == {sum(told['spooled'].values())}")
            prometheus.wait_for("sum(looopy_spans_queued) == 0")
            yield Shop(prometheus, told, langfuse, job, source, process)
            process.stdin.close()
            assert process.wait(60) == 0, log.read_text(encoding="utf-8")
        finally:
            process.kill()

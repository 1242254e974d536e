"""Other libraries that set OpenTelemetry's global provider, in either order with ours; each run as a program.

What is global can be set once in a process. Prints, as JSON, the names of the spans that arrived at each place.

    python -m tests.others.scenarios NAME first|later
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import looopy_otel as lo
from looopy_otel.core.guard import guard
from tests.others.application import handle_request, names, provider_to
from tests.support.otlp_sink import OTLPSink

warnings.simplefilter("ignore")


class Place:
    """Where the global provider's own exporters send to, and what makes it do so."""

    def __init__(self, sink: OTLPSink) -> None:
        self.sink = sink
        self.memory = InMemorySpanExporter()
        self.close: Callable[[], object] = lambda: None

    def arrived(self) -> list[str]:
        return names(self.sink.spans) or sorted(span.name for span in self.memory.get_finished_spans())


def plain(place: Place) -> None:
    """A provider made by hand."""
    trace.set_tracer_provider(provider_to(place.sink))


def langfuse(place: Place, public_key: str = "pk-ours") -> None:
    """The Langfuse SDK, which sets the global provider where there is none."""
    client = import_module("langfuse").Langfuse(public_key=public_key, secret_key="sk", base_url=place.sink.url)
    place.close = client.shutdown


def langfuse_of_another_project(place: Place) -> None:
    langfuse(place, "pk-theirs")


def langfuse_on_a_plain_one(place: Place) -> None:
    """The SDK on a provider that exports to memory."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)
    langfuse(place)


def distro(place: Place) -> None:
    """OpenTelemetry's own distribution, configured by the environment."""
    os.environ.update(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": place.sink.url,
            "OTEL_TRACES_EXPORTER": "otlp_proto_http",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
    )
    module = import_module("opentelemetry.distro")
    module.OpenTelemetryDistro().configure()
    module.OpenTelemetryConfigurator().configure()


def logfire(place: Place) -> None:
    """Logfire, whose provider wraps the SDK's."""
    import_module("logfire").configure(
        send_to_logfire=False,
        console=False,
        metrics=False,
        inspect_arguments=False,
        additional_span_processors=[SimpleSpanProcessor(place.memory)],
    )


class TheirProvider(trace.TracerProvider):
    """A provider that is not the SDK's, as other vendors have."""

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        return trace.NoOpTracer()


def not_the_sdk(place: Place) -> None:
    """A vendor's own."""
    trace.set_tracer_provider(TheirProvider())


def never(place: Place) -> None:
    """Nobody sets one."""


SCENARIOS = {
    one.__name__: one
    for one in (
        plain, langfuse, langfuse_of_another_project, langfuse_on_a_plain_one, distro, logfire, not_the_sdk, never
    )
}  # fmt: skip


def observed(name: str) -> None:
    """Work that the user of the Langfuse SDK has decorated, with a request of ours in it."""
    if not name.startswith("langfuse"):
        return
    observe: Any = import_module("langfuse").observe

    @observe(name="observed")
    def work() -> None:
        with lo.span("ours inside"):
            pass

    work()


def configure(sink: OTLPSink, directory: str) -> lo.Telemetry:
    return lo.configure(
        tracer_provider="global",
        exporters="langfuse",
        langfuse_public_key="pk-ours",
        langfuse_secret_key="sk",
        langfuse_base_url=sink.url,
        spool_directory=directory,
    )


def run(name: str, order: str) -> dict[str, list[str]]:
    with OTLPSink() as theirs, OTLPSink() as ours, tempfile.TemporaryDirectory() as directory:
        place = Place(theirs)
        if order == "first":
            SCENARIOS[name](place)
        # The same project is the same host too.
        ours_at = theirs if name in ("langfuse", "langfuse_on_a_plain_one") else ours
        telemetry = configure(ours_at, directory)
        if order == "later":
            SCENARIOS[name](place)
        handle_request(trace.get_tracer_provider())
        observed(name)
        telemetry.flush(10)
        flush: Any = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            flush()
        # Once more: the provider is left with one processor of ours, and no double.
        telemetry = configure(ours_at, directory)
        with lo.span("after"):
            pass
        telemetry.shutdown(10)
        if flush is not None:
            flush()
        place.close()
        roots = [
            span.name for span in [*theirs.spans, *ours.spans] if "langfuse.internal.is_app_root" in span.attributes
        ]
        return {"theirs": place.arrived(), "ours": names(ours.spans), "roots": sorted(roots)}


if __name__ == "__main__":
    guard.raising = True
    json.dump(run(sys.argv[1], sys.argv[2]), sys.stdout)

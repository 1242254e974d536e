"""All that is tried at one OTLP/HTTP backend, step by step, within one deadline."""

from __future__ import annotations

from collections.abc import Iterator

from looopy_otel.cli.checks.check import Check, skipped
from looopy_otel.cli.checks.endpoint import Route, check_endpoint
from looopy_otel.cli.checks.langfuse import LangfuseReader
from looopy_otel.cli.checks.network import check_network
from looopy_otel.cli.checks.probe import PROBE_SPANS, send_probe
from looopy_otel.core.endpoint import is_langfuse
from looopy_otel.core.settings import Settings

LAST_STEP_ELSEWHERE = ("address", "tcp", "tls", "path", "auth", "clock", "size", "probe")
LAST_STEP_OF_METRICS = ("address", "tcp", "tls", "path", "auth", "clock", "size")


def check_backend(settings: Settings, route: Route, deadline: float) -> Iterator[Check]:
    """Tries everything, in order, until something fails; says what was not tried then.

    Args:
        settings: The resolved settings.
        route: The endpoint for spans.
        deadline: A value of `time.monotonic`.
    """
    destination = route.destination
    langfuse = is_langfuse(destination.endpoint)
    steps = (*LAST_STEP_ELSEWHERE, "read back") if langfuse else LAST_STEP_ELSEWHERE
    for check in _way(route, deadline):
        yield check
        if check.status == "failed":
            yield from skipped(check.step, steps)
            return
    probe = send_probe(settings, destination, deadline)
    if not probe.arrived or probe.trace_id is None:
        error = probe.stats.last_error or "no answer in time"
        cause = f"the endpoint takes requests but not this trace: {error}"
        yield Check("probe", "failed", f"{probe.stats.exported} of {PROBE_SPANS} spans arrived", cause)
        yield from skipped("probe", steps)
        return
    yield Check("probe", "ok", f"{PROBE_SPANS} spans are accepted, trace {probe.trace_id}")
    if langfuse:
        yield LangfuseReader(destination, deadline).check(probe.trace_id, PROBE_SPANS)


def check_metrics_backend(route: Route, deadline: float) -> Iterator[Check]:
    """As `check_backend` for an endpoint of metrics: an empty push stands for the probe."""
    for check in _way(route, deadline):
        yield check
        if check.status == "failed":
            yield from skipped(check.step, LAST_STEP_OF_METRICS)
            return


def _way(route: Route, deadline: float) -> Iterator[Check]:
    yield from check_network(route.destination, deadline)
    yield from check_endpoint(route, deadline)

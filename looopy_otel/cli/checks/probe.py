"""One small trace, sent through the whole pipeline to one destination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from looopy_otel.cli.checks.check import sooner
from looopy_otel.cli.terminal import without_log
from looopy_otel.core.settings import HTTPDestination, LocalDestination, Settings
from looopy_otel.core.types import DestinationStats
from looopy_otel.export.deadline import remaining
from looopy_otel.instrument.spans import agent_span, llm_span
from looopy_otel.telemetry import Telemetry

PROBE: Final = "looopy-otel-doctor"
"""The agent that the probe trace is said to be of; its model has the same name."""

PROBE_SPANS: Final = 2
FLUSH_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What became of the trace.

    Attributes:
        trace_id: 32 hex digits; None when nothing was recorded.
        stats: What the destination says of it.
    """

    trace_id: str | None
    stats: DestinationStats

    @property
    def arrived(self) -> bool:
        """True when the destination has acknowledged every span."""
        return self.trace_id is not None and self.stats.exported >= PROBE_SPANS and not self.stats.dropped


def send_probe(settings: Settings, destination: HTTPDestination | LocalDestination, deadline: float) -> Probe:
    """Sends a run of an agent with one call of a model, without content that says anything.

    Sampling and filters that would keep it back are left out; it waits in a spool of its own, so that what waits in the
    real one is neither sent nor in its way.

    Args:
        settings: The resolved settings.
        destination: Where to.
        deadline: A value of `time.monotonic`.
    """
    until = sooner(deadline, FLUSH_SECONDS)
    with TemporaryDirectory(prefix="looopy-otel-doctor-", ignore_cleanup_errors=True) as spool, without_log():
        telemetry = Telemetry(_alone(settings, destination, Path(spool)))
        try:
            trace_id = _recorded()
            telemetry.flush(remaining(until))
            stats = telemetry.stats()
        finally:
            telemetry.shutdown(min(1.0, remaining(until)))
    return Probe(trace_id, stats.destinations[0])


def _alone(settings: Settings, destination: HTTPDestination | LocalDestination, spool: Path) -> Settings:
    if isinstance(destination, HTTPDestination):
        # One that is chosen by its project's name takes nothing else.
        destination = replace(destination, project=None, further_projects=())
    return replace(
        settings,
        destinations=(destination,),
        spool_directory=spool,
        sampler="always_on",
        disabled=False,
        tail_sampling=None,
        instrumentation_scopes=(),
        tracer_provider=None,
        handle_sigterm=False,
        metrics=(),
    )


def _recorded() -> str | None:
    with agent_span(PROBE, input="Is anybody there?") as run:
        with llm_span(model=PROBE, input="Is anybody there?") as call:
            call.record(output="Yes.", usage={"input_tokens": 1, "output_tokens": 1})
        run.record(output="Yes.")
        return run.trace_id

"""What `looopy-otel spool flush` does: delivers, says what became of it, and what is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from looopy_otel.cli.spool_report import Place, backends, left_over, places
from looopy_otel.cli.terminal import fail, printable, say, without_log
from looopy_otel.cli.traces import print_json
from looopy_otel.core.config import resolve
from looopy_otel.core.settings import HTTPDestination, Options, Settings
from looopy_otel.export.deadline import remaining
from looopy_otel.export.spool import SpoolFlush, flush_spool


def deliver(to: str | None, source: str | None, timeout: float, *, rejected: bool, as_json: bool) -> None:
    """Delivers what no running process answers for.

    Args:
        to: Names of destinations; None for the configured ones.
        source: The key of a spool that goes to the one destination instead of its own; None for each one's own.
        timeout: Seconds, over all destinations.
        rejected: True to try what was set aside too.
        as_json: True for programs.

    Raises:
        SystemExit: With code 1 when something is left or was lost.
    """
    settings = resolve(Options(exporters=to))
    jobs = _jobs(settings, source, rejected=rejected)
    deadline = time.monotonic() + timeout
    results: list[tuple[HTTPDestination, SpoolFlush]] = []
    with without_log():
        for place, (key, destination) in enumerate(jobs):
            until = time.monotonic() + remaining(deadline) / (len(jobs) - place)
            done = flush_spool(
                destination, settings.spool_directory, until, key=key, rejected=rejected, limits=settings.limits
            )
            results.append((destination, done))
            if not as_json:
                _print(destination, done)
    after = places(settings)
    left = Counter(left_over(after, rejected=rejected))
    # What was taken up and not delivered is this process's until it ends.
    left.update({key: done.result.spooled for (key, _), (_, done) in zip(jobs, results, strict=True)})
    left = +left
    lost = sum(done.result.dropped for _, done in results)
    if as_json:
        print_json(_document(results, left))
    else:
        _conclude(after, left, nothing=not results)
    if left or lost:
        raise SystemExit(1)


def _jobs(settings: Settings, source: str | None, *, rejected: bool) -> list[tuple[str, HTTPDestination]]:
    """Which spool goes where; those with nothing to deliver are left out."""
    configured = backends(settings)
    if source is None:
        due = left_over([place for place in places(settings) if place.destination is not None], rejected=rejected)
        return [(key, configured[key]) for key in due]
    if len(configured) != 1:
        fail("--from needs one destination to deliver to.", "Name it with --to langfuse or --to otlp.")
    if source not in {place.spool.key for place in places(settings)}:
        fail(f"there is no spool {source!r}.", "List what is there with: looopy-otel spool status")
    return [(source, next(iter(configured.values())))]


def _print(destination: HTTPDestination, done: SpoolFlush) -> None:
    result = done.result
    say(f"{destination.label}: {result.exported:,} spans exported, {result.spooled:,} left, {result.dropped:,} dropped")
    if done.stats.last_error and (result.spooled or result.dropped):
        say(Text(f"  {printable(done.stats.last_error)}", style="yellow"))


def _conclude(after: list[Place], left: Mapping[str, int], *, nothing: bool) -> None:
    foreign = [place.spool.key for place in after if place.destination is None and place.spool.key in left]
    for key in foreign:
        say(f"{key}: {left[key]:,} spans, whose destination is not configured here; --from {key} sends them elsewhere")
    if not left:
        say("Nothing waits that no running process answers for." if nothing else "Nothing is left.")


def _document(results: list[tuple[HTTPDestination, SpoolFlush]], left: Mapping[str, int]) -> dict[str, Any]:
    return {
        "left": left,
        "flushed": [
            {
                "destination": destination.label,
                "exported": done.result.exported,
                "left": done.result.spooled,
                "dropped": dict(done.stats.dropped),
                "last_error": done.stats.last_error,
            }
            for destination, done in results
        ],
    }

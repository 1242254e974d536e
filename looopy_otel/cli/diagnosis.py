"""What `looopy-otel doctor` does: the settings, then one section per place that spans or metrics go to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from looopy_otel.cli.checks.backend import check_backend, check_metrics_backend
from looopy_otel.cli.checks.check import Check, Status, completed
from looopy_otel.cli.checks.endpoint import Route
from looopy_otel.cli.checks.machine import check_pull_endpoint, check_store
from looopy_otel.cli.checks.resolved import Row, Sources, header_variables, settings_rows
from looopy_otel.cli.checks.waiting import check_spool
from looopy_otel.cli.terminal import printable, say
from looopy_otel.cli.traces import print_json
from looopy_otel.core.config import process_environment, resolve
from looopy_otel.core.endpoint import METRICS_PATH
from looopy_otel.core.errors import ConfigurationError
from looopy_otel.core.other_calls import OWN_SCOPE
from looopy_otel.core.settings import (
    CustomDestination,
    Destination,
    HTTPDestination,
    LocalDestination,
    MetricsDestination,
    Options,
    OTLPMetrics,
    PrometheusMetrics,
    Settings,
)
from looopy_otel.export.scopes import ScopeFilter
from looopy_otel.export.verdict import public_url

TOTAL_SECONDS: Final = 27.0
"""For all checks together; loading and printing come on top."""

_STYLES: Final[dict[Status, str]] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_STATUS_WIDTH: Final = max(map(len, _STYLES))
_STEP_WIDTH: Final = 9
_NAME_WIDTH: Final = 22


@dataclass(slots=True)
class Section:
    """What was tried at one place.

    Attributes:
        name: What the place is called.
        place: Its URL or file, without secrets.
        checks: In the order in which they were made.
    """

    name: str
    place: str
    checks: list[Check] = field(default_factory=list[Check])


def diagnose(to: str | None, database: Path | None, *, as_json: bool) -> None:
    """Runs every check and prints what they say, as they go.

    Args:
        to: Names of destinations with commas between them; None for the configured ones.
        database: The local store; None for the configured one.
        as_json: True to print JSON for programs at the end, and nothing else.

    Raises:
        SystemExit: With code 1 when something failed.
        ConfigurationError: If a setting is wrong; with `as_json` that is printed too.
    """
    sources = Sources(
        process_environment(), {name: option for name, option, said in _options(to, database) if said is not None}
    )
    try:
        settings = resolve(Options(exporters=to, database=database))
    except ConfigurationError as error:
        if not as_json:
            raise
        print_json({"ok": False, "causes": [str(error)], "settings": [], "sections": []})
        raise SystemExit(1) from None
    rows = list(settings_rows(settings, sources))
    if not as_json:
        _print_settings(rows)
    sections: list[Section] = []
    for section, checks in _sections(settings, sources):
        sections.append(section)
        if not as_json:
            say(Text.assemble("\n", (section.name, "bold"), "  ", (printable(section.place), "dim")))
        for check in completed(checks):
            section.checks.append(check)
            if not as_json:
                _print_check(check)
    _conclude(rows, sections, as_json=as_json)


def _options(to: str | None, database: Path | None) -> tuple[tuple[str, str, object], ...]:
    return (("exporters", "--to", to), ("database", "--db", database))


def _sections(settings: Settings, sources: Sources) -> Iterator[tuple[Section, Iterator[Check]]]:
    """Each place with its checks, which share the time that is left."""
    end = time.monotonic() + TOTAL_SECONDS
    yield Section("tracing", settings.service_name), _check_tracing(settings)
    yield Section("spool", str(settings.spool_directory)), check_spool(settings, end)
    left: list[Destination | MetricsDestination] = [*settings.destinations, *settings.metrics]
    while left:
        one = left.pop(0)
        now = time.monotonic()
        deadline = now + max(0.0, end - now) / (len(left) + 1)
        found = _section(one, settings, sources, deadline)
        if found is not None:
            yield found


def _section(
    one: Destination | MetricsDestination, settings: Settings, sources: Sources, deadline: float
) -> tuple[Section, Iterator[Check]] | None:
    match one:
        case HTTPDestination():
            route = Route(one, header_variables(one, sources))
            return Section(one.label, public_url(one.endpoint)), check_backend(settings, route, deadline)
        case LocalDestination():
            return Section("local", str(one.path)), check_store(settings, one, deadline)
        case OTLPMetrics(endpoint=endpoint):
            specific = "OTEL_EXPORTER_OTLP_METRICS_HEADERS"
            variables = specific if sources.has(specific) else "OTEL_EXPORTER_OTLP_HEADERS"
            route = Route(endpoint, variables, METRICS_PATH)
            return Section("metrics", public_url(endpoint.endpoint)), check_metrics_backend(route, deadline)
        case PrometheusMetrics():
            return Section("metrics", f"{one.host}:{one.port}"), check_pull_endpoint(one, deadline)
        case CustomDestination():
            return None
        case _:
            return None


def _check_tracing(settings: Settings) -> Iterator[Check]:
    if settings.disabled:
        yield Check("switch", "failed", "off", "OTEL_SDK_DISABLED=true turns tracing off: unset it")
    elif settings.sampler.endswith("always_off"):
        cause = f"OTEL_TRACES_SAMPLER={settings.sampler} keeps every span back: unset it"
        yield Check("switch", "failed", "nothing is sampled", cause)
    elif settings.sampler.endswith("traceidratio") and not settings.sampler_argument:
        cause = "OTEL_TRACES_SAMPLER_ARG=0 keeps every span back: it is the share of traces that are kept, 0 to 1"
        yield Check("switch", "failed", "nothing is sampled", cause)
    elif ScopeFilter(settings.instrumentation_scopes, OWN_SCOPE).verdict(OWN_SCOPE) is False:
        cause = f"LOOOPY_OTEL_INSTRUMENTATION_SCOPES leaves out {OWN_SCOPE}, and with it every span of this library"
        yield Check("switch", "failed", "our own spans are left out", cause)
    elif not settings.destinations:
        yield Check("switch", "failed", "there is no destination", "LOOOPY_OTEL_EXPORTERS=none sends spans nowhere")
    elif settings.sampler.endswith("traceidratio"):
        yield Check("switch", "ok", f"tracing is on, for {settings.sampler_argument:.3g} of all traces")
    else:
        yield Check("switch", "ok", "tracing is on")
    for warning in settings.warnings:
        yield Check("settings", "warning", warning)


def _print_settings(rows: list[Row]) -> None:
    # Lines of their own, wrapped by the terminal alone: a URL or a path can be copied.
    say(Text("Settings", style="bold"))
    for row in rows:
        value = printable(row.value)
        say(Text.assemble(f"{row.name:<{_NAME_WIDTH}}  ", value, (f"  ({row.source})", "dim")))


def _print_check(check: Check) -> None:
    status = (f"{check.status:<{_STATUS_WIDTH}}  ", _STYLES[check.status])
    say(Text.assemble(status, f"{check.step:<{_STEP_WIDTH}}  ", printable(check.detail)))
    if check.link:
        say(" " * (_STATUS_WIDTH + _STEP_WIDTH + 4) + printable(check.link))


def _conclude(rows: list[Row], sections: list[Section], *, as_json: bool) -> None:
    warnings, causes = _causes(sections, "warning"), _causes(sections, "failed")
    if as_json:
        print_json(_document(rows, sections, causes))
    else:
        say()
        for warning in warnings:
            say(Text.assemble(("Warning: ", "yellow"), printable(warning)))
        for title, cause in zip(("Likely cause: ", *["Also: "] * len(causes)), causes, strict=False):
            say(Text.assemble((title, "bold red"), printable(cause)))
        if not causes:
            say(Text("It works." if warnings else "All is well.", style="green"))
    if causes:
        raise SystemExit(1)


def _causes(sections: list[Section], status: Status) -> list[str]:
    """The causes of all that went so, each once with the places that it holds for."""
    places: dict[str, list[str]] = {}
    for section in sections:
        for check in section.checks:
            if check.status == status:
                places.setdefault(check.cause or check.detail, []).append(section.name)
    return [f"{', '.join(dict.fromkeys(names))}: {cause}" for cause, names in places.items()]


def _document(rows: list[Row], sections: list[Section], causes: list[str]) -> dict[str, Any]:
    return {
        "ok": not causes,
        "causes": causes,
        "settings": [{"name": row.name, "value": row.value, "source": row.source} for row in rows],
        "sections": [
            {
                "name": section.name,
                "place": section.place,
                "checks": [
                    {
                        "step": check.step,
                        "status": check.status,
                        "detail": check.detail,
                        "cause": check.cause or None,
                        "link": check.link or None,
                    }
                    for check in section.checks
                ],
            }
            for section in sections
        ],
    }

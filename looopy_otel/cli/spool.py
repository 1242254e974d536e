"""`looopy-otel spool`: what waits on disk for a backend, and delivering it."""

from __future__ import annotations

from typing import Annotated

import typer

from looopy_otel.cli.traces import AsJSON

Destinations = Annotated[
    str | None,
    typer.Option("--to", metavar="NAMES", help="langfuse, otlp or both with a comma; default: as configured."),
]

spool = typer.Typer(help="See and deliver what waits on disk for a backend.", no_args_is_help=True)

# The exporters load inside the commands, so that the others do without them.


@spool.command()
def status(to: Destinations = None, as_json: AsJSON = False) -> None:
    """Show what waits for each destination, who answers for it, and what was set aside."""
    from looopy_otel.cli.spool_report import report

    report(to, as_json=as_json)


@spool.command()
def flush(
    to: Destinations = None,
    rejected: Annotated[
        bool, typer.Option("--rejected", help="Try what a backend refused once more, after all else.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="KEY",
            help="The spool (as 'status' names it) of settings that were wrong; goes to the one destination of --to.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="Seconds, over all destinations.")] = 30.0,
    as_json: AsJSON = False,
) -> None:
    """Deliver what no running process answers for; ends with code 1 when something is left or lost."""
    from looopy_otel.cli.spool_delivery import deliver

    deliver(to, source, timeout, rejected=rejected, as_json=as_json)

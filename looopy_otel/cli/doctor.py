"""`looopy-otel doctor`: what is configured, whether it works, and the likely cause where it does not."""

from __future__ import annotations

from typing import Annotated

import typer

from looopy_otel.cli.traces import AsJSON, Database


def doctor(
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="NAMES", help="langfuse, otlp, local or several with commas; default: as configured."
        ),
    ] = None,
    as_json: AsJSON = False,
    database: Database = None,
) -> None:
    """Show the settings, try every step to each backend, send a probe trace, and say what is wrong.

    Ends with code 1 when something failed. Talks to the configured endpoints only, and takes 30 seconds at most.
    """
    # The SDK and the HTTP client load here, so that the other commands do without them.
    from looopy_otel.cli.diagnosis import diagnose

    diagnose(to, database, as_json=as_json)

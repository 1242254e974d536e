"""`looopy-otel`: the commands put together."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from looopy_otel.cli import terminal
from looopy_otel.cli.demo import demo
from looopy_otel.cli.doctor import doctor
from looopy_otel.cli.spool import spool
from looopy_otel.cli.traces import show, traces
from looopy_otel.core.config import library_version
from looopy_otel.core.errors import LooopyError

app = typer.Typer(
    name="looopy-otel",
    help="See what your LLM agents do: spans, generations, tokens and cost, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, traces, show, doctor):
    app.command()(command)
app.add_typer(spool, name="spool")


def _version(wanted: bool) -> None:
    if wanted:
        terminal.say(f"looopy-otel {library_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Stands for the options that come before a command."""


def run() -> None:
    """Runs the command that the process was started with, and ends the process with its exit code."""
    terminal.prepare()
    try:
        app(prog_name="looopy-otel")
        sys.stdout.flush()
    except LooopyError as error:
        terminal.fail(str(error), getattr(error, "hint", None))
    except OSError as error:
        terminal.abandon_output()
        terminal.fail(f"the output cannot be written: {error.strerror or error}")

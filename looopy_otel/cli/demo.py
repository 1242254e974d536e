"""`looopy-otel demo`: one real agent run, traced, and what was recorded of it."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from looopy_otel.cli.traces import Database

PROXY_MODEL: Final = "gpt-3.5-turbo"


def demo(
    url: Annotated[str | None, typer.Option("--url", help="A LiteLLM proxy, such as http://localhost:4000.")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help=f"The model to ask for, with --url; default {PROXY_MODEL}.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="The proxy's key, with --url; default LITELLM_API_KEY.")
    ] = None,
    database: Database = None,
) -> None:
    """Run an agent with a calculator and show its trace.

    Without --url a scripted server inside this process plays the model: no network, no key, no cost.
    """
    if url is None and (model or api_key):
        raise typer.BadParameter("--model and --api-key go with --url: without it the model is scripted.")
    # The agent and the SDK load here, so that the other commands do without them.
    from looopy_otel.cli.performance import perform

    perform(url, model or PROXY_MODEL, api_key, database)

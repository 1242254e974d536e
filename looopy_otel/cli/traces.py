"""`looopy-otel traces` and `looopy-otel show`: what the local store holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
import typer
from rich.table import Table
from rich.text import Text

from looopy_otel.cli.amounts import cost_text, duration_text, moment_iso, moment_text, usage_text
from looopy_otel.cli.terminal import fail, output, printable, say
from looopy_otel.cli.tree import span_tree
from looopy_otel.core.config import database_path
from looopy_otel.core.usage import Usage
from looopy_otel.store.span import StoredSpan, TraceSummary
from looopy_otel.store.sqlite import Store

ID_LENGTH: Final = 8
"""Digits of a trace id that a list shows; `show` takes any unambiguous beginning."""

LIST_WIDTH: Final = 76
"""Columns that a list needs at least; a narrower terminal wraps its lines."""

WIDE: Final = 120
"""Columns from which on a list shows more."""

Database = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", help="The local store; LOOOPY_OTEL_DB or the user's data directory else."),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def traces(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many, newest first.")] = 20,
    session: Annotated[str | None, typer.Option("--session", help="Only those of this session (or task).")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Only those of this agent.")] = None,
    as_json: AsJSON = False,
    database: Database = None,
) -> None:
    """List the traces in the local store, newest first."""
    with Store(database_path(database), read_only=True) as store:
        found = store.traces(limit=limit, session_id=session, agent_id=agent)
    if as_json:
        print_json([_summary_json(trace) for trace in found])
    elif not found:
        say("No traces" + (" match." if session or agent else " yet. Make one with: looopy-otel demo"))
    else:
        console = output(least_width=LIST_WIDTH)
        console.print(_table(found, wide=console.width >= WIDE))


def show(
    trace: Annotated[str, typer.Argument(metavar="last|ID", help="A trace id, its beginning, or 'last'.")] = "last",
    content: Annotated[bool, typer.Option("--content", help="Show prompts, answers and results too.")] = False,
    as_json: AsJSON = False,
    database: Database = None,
) -> None:
    """Print one trace as a tree with timing, tokens and cost; with --json all that is stored of it."""
    with Store(database_path(database), read_only=True) as store:
        spans = _spans_of(store, trace)
    if as_json:
        print_json({"trace_id": spans[0].trace_id, "spans": [_span_json(span) for span in spans]})
    else:
        print_trace(spans, content=content)


def _spans_of(store: Store, wanted: str) -> Sequence[StoredSpan]:
    trace_id = store.find(wanted)
    spans = store.spans(trace_id) if trace_id else ()
    if not spans:
        fail(f"there is no trace {wanted!r} in the store.", "List what is there with: looopy-otel traces")
    return spans


def print_trace(spans: Sequence[StoredSpan], *, content: bool = False) -> None:
    """Prints the id and start of a trace, then its tree."""
    started = min(span.start_time for span in spans)
    say(Text.assemble(("Trace ", "dim"), spans[0].trace_id, (f" · {moment_text(started)}", "dim")))
    say()
    output().print(span_tree(spans, content=content))


def _table(found: Sequence[TraceSummary], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in _COLUMNS:
        if wide or not column.only_wide:
            table.add_column(column.heading, justify=column.justify, no_wrap=column.whole, overflow="fold")
    for trace in found:
        cells = (column.cell(trace, wide) for column in _COLUMNS if wide or not column.only_wide)
        table.add_row(*cells, style="red" if trace.failed else None)
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    cell: Callable[[TraceSummary, bool], str]
    justify: Literal["left", "right"] = "left"
    whole: bool = True
    only_wide: bool = False


_COLUMNS: Final = (
    _Column("Trace", lambda trace, wide: trace.trace_id[:ID_LENGTH]),
    _Column("Started", lambda trace, wide: moment_text(trace.start_time)),
    _Column("Name", lambda trace, wide: printable(trace.name) + (" (failed)" if trace.failed else ""), whole=False),
    _Column("Session", lambda trace, wide: printable(trace.session_id or ""), whole=False, only_wide=True),
    _Column("Time", lambda trace, wide: duration_text(trace.duration), "right"),
    _Column("Calls", lambda trace, wide: str(trace.llm_calls), "right", only_wide=True),
    _Column("Tokens", lambda trace, wide: usage_text(trace.usage, brief=not wide) if trace.usage else "", "right"),
    _Column("Cost", lambda trace, wide: _cost(trace), "right"),
)


def _cost(trace: TraceSummary) -> str:
    if trace.cost is not None:
        return cost_text(trace.cost)
    return "unknown" if trace.llm_calls else ""


def _summary_json(trace: TraceSummary) -> Mapping[str, Any]:
    return {
        "trace_id": trace.trace_id,
        "name": trace.name,
        "agent_id": trace.agent_id,
        "session_id": trace.session_id,
        "start_time": moment_iso(trace.start_time),
        "duration_seconds": trace.duration,
        "spans": trace.spans,
        "llm_calls": trace.llm_calls,
        "usage": _usage_json(trace.usage),
        "cost_usd": trace.cost,
        "failed": trace.failed,
    }


def _usage_json(usage: Usage | None) -> Mapping[str, int] | None:
    if usage is None:
        return None
    parts = {field.name: getattr(usage, field.name) for field in fields(usage)}
    return {name: count for name, count in parts.items() if count is not None} | {"total_tokens": usage.total_tokens}


def _span_json(span: StoredSpan) -> Mapping[str, Any]:
    stored = {field.name: getattr(span, field.name) for field in fields(span)}
    return {**stored, "start_time": moment_iso(span.start_time), "end_time": moment_iso(span.end_time)}


def print_json(value: object) -> None:
    """Prints a value as indented JSON in UTF-8; amounts of money are numbers."""
    text = orjson.dumps(value, default=_json_default, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    sys.stdout.buffer.write(text)


def _json_default(value: object) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)

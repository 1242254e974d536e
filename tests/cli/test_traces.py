"""`looopy-otel traces` and `looopy-otel show`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from looopy_otel.core.identity import Identity
from looopy_otel.store.span import StoredSpan
from looopy_otel.store.sqlite import Store
from tests.cli.command import Command
from tests.cli.stories import STARTED, TRACE, figure

OTHER = "0af7651916cd43dd8448eb211c80319c"


def other(session: str, agent: str) -> list[StoredSpan]:
    """The figure again as a later trace, in a session."""
    who = Identity(agent_id=agent, session_id=session, task_id="task_2")
    later = 60_000_000_000
    return [
        replace(
            span,
            trace_id=OTHER,
            start_time=span.start_time + later,
            end_time=span.end_time + later,
            draft=span.draft and replace(span.draft, identity=who),
        )
        for span in figure()
    ]


@pytest.fixture
def store(database: Path) -> Path:
    with Store(database) as written:
        written.insert(figure())
        written.insert(other("chat-42", "writer"))
    return database


@pytest.mark.parametrize("arguments", [("traces",), ("show", "last"), ("show", TRACE, "--json")])
def test_without_a_store_it_says_how_to_get_one(command: Command, database: Path, arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: there are no traces yet: ")
    assert "looopy-otel demo" in done.err
    assert not database.exists()


def test_an_empty_store_says_how_to_fill_it(command: Command, database: Path) -> None:
    Store(database).close()
    done = command("traces")
    assert (done.code, done.out) == (0, "No traces yet. Make one with: looopy-otel demo\n")


def test_a_file_that_is_no_store(command: Command, database: Path) -> None:
    database.write_text("something else " * 100)
    done = command("traces")
    assert done.code == 1
    assert str(database) in done.err
    assert "Traceback" not in done.err


def test_traces_lists_the_newest_first(command: Command, store: Path) -> None:
    done = command("traces")
    assert done.code == 0
    heading, *rows = done.out.splitlines()
    assert heading.split() == ["Trace", "Started", "Name", "Time", "Tokens", "Cost"]
    assert [row.split()[0] for row in rows] == [OTHER[:8], TRACE[:8]]
    assert all("150 → 75" in row and "$0.0068" in row and "1.24 s" in row for row in rows)
    assert "writer" in rows[0]
    assert max(map(len, done.out.splitlines())) <= 80


def test_a_wide_terminal_shows_the_session_too(command: Command, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    heading, newest, _ = command("traces").out.splitlines()
    assert heading.split() == ["Trace", "Started", "Name", "Session", "Time", "Calls", "Tokens", "Cost"]
    assert "chat-42" in newest
    assert "150 → 75 (225 total)" in newest


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--limit", "1"), [OTHER]),
        (("--session", "chat-42"), [OTHER]),
        (("--session", "task_1730000000000_abc123"), [TRACE]),
        (("--agent", "calculator"), [TRACE]),
        (("--agent", "calculator", "--session", "chat-42"), []),
    ],
)
def test_traces_can_be_chosen(command: Command, store: Path, arguments: tuple[str, ...], found: list[str]) -> None:
    assert [trace["trace_id"] for trace in json.loads(command("traces", *arguments, "--json").out)] == found


def test_when_none_matches_it_says_so(command: Command, store: Path) -> None:
    assert command("traces", "--agent", "nobody").out == "No traces match.\n"


def test_traces_as_json(command: Command, store: Path) -> None:
    assert json.loads(command("traces", "--json").out)[1] == {
        "trace_id": TRACE,
        "name": "calculator",
        "agent_id": "calculator",
        "session_id": "task_1730000000000_abc123",
        "start_time": "2024-10-27T03:33:20.000000+00:00",
        "duration_seconds": 1.24,
        "spans": 4,
        "llm_calls": 1,
        "usage": {"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
        "cost_usd": 0.0068,
        "failed": False,
    }


def test_an_unknown_cost_is_null_and_unknown(command: Command, database: Path) -> None:
    spans = [replace(span, draft=replace(span.draft, cost=None)) if span.draft and span.draft.kind == "llm" else span
             for span in figure()]  # fmt: skip
    with Store(database) as written:
        written.insert(spans)
    assert json.loads(command("traces", "--json").out)[0]["cost_usd"] is None
    listed = command("traces").out
    assert "unknown" in listed
    assert "$0.00 " not in listed


def test_a_failed_trace_is_marked(command: Command, database: Path) -> None:
    with Store(database) as written:
        written.insert([replace(figure()[0], status="ERROR"), *figure()[1:]])
    assert "calculator (failed)" in command("traces").out


@pytest.mark.parametrize("reference", ["last", "0af7", OTHER, OTHER.upper()])
def test_show_prints_the_tree(command: Command, store: Path, reference: str) -> None:
    done = command("show", reference)
    assert done.code == 0
    title, blank, *tree = done.out.splitlines()
    assert title.startswith(f"Trace {OTHER} · ")
    assert blank == ""
    assert tree[0] == "agent.execute (agent)  writer · 1.24 s"
    assert len(tree) == 9


def test_show_without_an_argument_shows_the_last(command: Command, store: Path) -> None:
    assert command("show").out == command("show", "last").out


def test_show_with_content(command: Command, store: Path) -> None:
    assert "user: Calculate 15 * 23 + 47" in command("show", TRACE, "--content").out


def test_show_as_json_gives_all_that_is_stored(command: Command, store: Path) -> None:
    shown = json.loads(command("show", TRACE, "--json").out)
    assert shown["trace_id"] == TRACE
    agent, iteration, call, tool = shown["spans"]
    assert agent["parent_id"] is None
    assert iteration["parent_id"] == agent["span_id"]
    assert [call["parent_id"], tool["parent_id"]] == [iteration["span_id"]] * 2
    assert agent["start_time"] == "2024-10-27T03:33:20.000000+00:00"
    assert call["draft"]["cost"]["total"] == 0.0068
    assert call["draft"]["usage"]["prompt_tokens"] == 150
    assert call["draft"]["input"] == [{"role": "user", "content": "Calculate 15 * 23 + 47"}]
    assert tool["draft"]["output"] == 392
    assert call["draft"]["start_time"] == STARTED


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("ffff", "there is no trace 'ffff' in the store"),
        ("0", "is no trace id"),
        ("yesterday", "is no trace id"),
    ],
)
def test_show_of_what_is_not_there(command: Command, store: Path, reference: str, says: str) -> None:
    done = command("show", reference)
    assert (done.code, done.out) == (1, "")
    assert says in done.err


def test_another_store_can_be_named(command: Command, store: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    with Store(elsewhere) as written:
        written.insert(figure())
    assert len(json.loads(command("traces", "--db", str(elsewhere), "--json").out)) == 1
    assert TRACE in command("show", "--db", str(elsewhere)).out

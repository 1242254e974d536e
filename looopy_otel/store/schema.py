"""The schema of the local store."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""Kept in ``PRAGMA user_version``; a file with a higher one was made by a newer release."""

# The columns that lists and statistics read stand before the long ones: SQLite keeps a row's tail on overflow pages,
# which are not read for the columns before them. Money is the decimal's text, since a float cannot hold it.
SCHEMA: Final = """
CREATE TABLE traces (
    trace_id   TEXT PRIMARY KEY,
    start_time INTEGER NOT NULL,
    end_time   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX traces_by_start ON traces (start_time);

CREATE TABLE spans (
    trace_id          TEXT NOT NULL,
    span_id           TEXT NOT NULL,
    parent_id         TEXT,
    name              TEXT NOT NULL,
    kind              TEXT NOT NULL,
    operation         TEXT,
    start_time        INTEGER NOT NULL,
    end_time          INTEGER NOT NULL,
    status            TEXT NOT NULL,
    session_id        TEXT,
    user_id           TEXT,
    agent_id          TEXT,
    task_id           TEXT,
    trace_name        TEXT,
    model             TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    usage             TEXT,
    cost              TEXT,
    scope             TEXT NOT NULL,
    status_message    TEXT,
    resource          TEXT NOT NULL,
    links             TEXT NOT NULL,
    events            TEXT NOT NULL,
    attributes        TEXT NOT NULL,
    draft             TEXT,
    PRIMARY KEY (trace_id, span_id)
);
CREATE INDEX spans_by_start   ON spans (start_time);
CREATE INDEX spans_by_session ON spans (session_id, trace_id) WHERE session_id IS NOT NULL;
CREATE INDEX spans_by_agent   ON spans (agent_id, trace_id)   WHERE agent_id IS NOT NULL;
CREATE INDEX spans_by_task    ON spans (task_id, trace_id)    WHERE task_id IS NOT NULL;
CREATE INDEX spans_by_model   ON spans (model, start_time)    WHERE model IS NOT NULL;
"""

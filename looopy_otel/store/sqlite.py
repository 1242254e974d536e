"""The local store: one SQLite file that many processes write and read at the same time."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

from looopy_otel.core.errors import StoreError, StoreLockedError
from looopy_otel.core.files import create_private_file, make_private, make_private_directory
from looopy_otel.core.fork import close_around_fork
from looopy_otel.store.connection import (
    BUSY_SECONDS,
    connect,
    create_tables,
    is_locked_out,
    schema_version,
    transaction,
    use_write_ahead_log,
    wait_until,
)
from looopy_otel.store.rows import SUMMARY_COLUMNS, Row, row_from_span, span_from_row, summary_from_rows
from looopy_otel.store.schema import VERSION
from looopy_otel.store.span import StoredSpan, TraceSummary

SHORTEST_PREFIX: Final = 4
_FORK_SECONDS: Final = 1.0
_TRACE_ID_LENGTH: Final = 32
_SHOWN_IDS: Final = 3

_Result = TypeVar("_Result")

_abandoned: list[sqlite3.Connection | None] = []
"""Connections that a forked child inherited in use: closing them would release or change what is the parent's."""


class Store:
    """Spans in a SQLite file: write-ahead log, mode 0600, safe between threads, processes and across fork.

    Args:
        path: The file. Its directory is created (0700), and so is the file, unless `read_only`.
        read_only: True to change nothing; the file must be there.
        patience: Seconds to wait, while opening, for a process that has the file locked.

    Raises:
        StoreLockedError: If it stays locked for that long.
        StoreError: If the file is missing, damaged, made by a newer release, or may not be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False, patience: float = BUSY_SECONDS) -> None:
        self._path = path
        self._read_only = read_only
        self._lock = threading.RLock()
        self._held_for_fork = False
        self._pid = os.getpid()
        self._connection: sqlite3.Connection | None = None
        self._run(lambda connection: None, patience)
        close_around_fork(self._before_fork, self._after_fork)

    def insert(self, spans: Sequence[StoredSpan]) -> None:
        """Adds spans in one transaction; one that is there already stays as it is.

        Raises:
            StoreError: If they cannot be written; then none is.
        """
        self.insert_rows([row_from_span(span) for span in spans])

    def insert_rows(self, rows: Sequence[Row], *, patience: float = BUSY_SECONDS) -> None:
        """Adds spans, as `row_from_span` gives them, in one transaction; one that is there already stays as it is.

        Args:
            rows: Any number.
            patience: Seconds to wait for a process that has the file locked.

        Raises:
            StoreLockedError: If it stays locked for that long.
            StoreError: If they cannot be written; then none is.
        """
        if rows:
            self._run(lambda connection: _insert(connection, rows), patience)

    def spans(self, trace_id: str) -> list[StoredSpan]:
        """The spans of one trace in start order; none for a trace that is not here.

        Raises:
            StoreError: If they cannot be read.
        """
        statement = "SELECT * FROM spans WHERE trace_id = ? ORDER BY start_time, end_time DESC, rowid"
        rows = self._run(lambda connection: connection.execute(statement, (trace_id,)).fetchall())
        with self._readable():
            return [span_from_row(row) for row in rows]

    def traces(self, limit: int = 20, session_id: str | None = None, agent_id: str | None = None) -> list[TraceSummary]:
        """Sums up the newest traces, newest first.

        Args:
            limit: How many at most.
            session_id: Only traces with a span of this session.
            agent_id: Only traces with a span of this agent.

        Raises:
            StoreError: If they cannot be read.
        """
        rows = self._run(lambda connection: _newest(connection, limit, session_id, agent_id))
        with self._readable():
            return [summary_from_rows(trace_id, spans) for trace_id, spans in rows if spans]

    def find(self, reference: str) -> str | None:
        """Finds a trace.

        Args:
            reference: ``"last"`` for the newest, a whole trace id, or its first 4 or more hex digits.

        Returns:
            The trace id, or None when there is no such trace.

        Raises:
            StoreError: If the reference is no trace id, fits several traces, or the store cannot be read.
        """
        reference = reference.strip().lower()
        if reference == "last":
            newest = self.traces(limit=1)
            return newest[0].trace_id if newest else None
        if not re.fullmatch(rf"[0-9a-f]{{{SHORTEST_PREFIX},{_TRACE_ID_LENGTH}}}", reference):
            raise StoreError(
                f"{reference!r} is no trace id: give 'last', {_TRACE_ID_LENGTH} hex digits, "
                f"or the first {SHORTEST_PREFIX} or more of them"
            )
        # "g" comes right after the last hex digit.
        statement = "SELECT trace_id FROM traces WHERE trace_id >= ? AND trace_id < ? ORDER BY start_time DESC LIMIT ?"
        limits = (reference, reference + "g", _SHOWN_IDS + 1)
        rows = self._run(lambda connection: connection.execute(statement, limits).fetchall())
        found = [str(row["trace_id"]) for row in rows]
        if len(found) > 1:
            shown = ", ".join(found[:_SHOWN_IDS]) + (", …" if len(found) > _SHOWN_IDS else "")
            raise StoreError(f"{reference!r} fits several traces, give more digits: {shown}")
        return found[0] if found else None

    def close(self) -> None:
        """Closes the file; a later use opens it again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Callable[[sqlite3.Connection], _Result], patience: float = BUSY_SECONDS) -> _Result:
        deadline = time.monotonic() + patience
        with self._lock, self._usable():
            if self._connection is None:
                self._connection = self._opened(deadline)
            wait_until(self._connection, deadline)
            return work(self._connection)

    @contextmanager
    def _usable(self) -> Generator[None]:
        """Turns what SQLite and the file system complain of into errors that say what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            self.close()
            if is_locked_out(error):
                raise StoreLockedError(f"another process has locked the store {self._path}: {error}") from error
            raise StoreError(f"the store {self._path} cannot be used: {error}") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            # SQLite's complaint may quote the file, and be no text itself.
            self.close()
            raise self._damaged(error) from error
        except OSError as error:
            raise StoreError(f"the store {self._path} cannot be opened: {error.strerror or error}") from error

    @contextmanager
    def _readable(self) -> Generator[None]:
        """Turns rows that were tampered with into an error that says what to do."""
        try:
            yield
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StoreError:
        what = str(error) or type(error).__name__
        return StoreError(f"the store {self._path} is damaged ({what}); move it away and new traces make a new one")

    def _opened(self, deadline: float) -> sqlite3.Connection:
        if self._read_only:
            if not self._path.exists():
                raise StoreError(
                    f"there are no traces yet: {self._path} does not exist. Run `looopy-otel demo`, or call "
                    "looopy_otel.configure() in a program and make a call; LOOOPY_OTEL_DB and --db name another file"
                )
        else:
            self._create()
        connection = connect(self._path, read_only=self._read_only, deadline=deadline)
        try:
            self._prepare(connection, deadline)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        make_private_directory(self._path.parent)
        try:
            # SQLite gives its own files beside it the same mode.
            os.close(create_private_file(self._path))
        except FileExistsError:
            for suffix in ("", "-wal", "-shm"):
                make_private(self._path.with_name(self._path.name + suffix))

    def _prepare(self, connection: sqlite3.Connection, deadline: float) -> None:
        version = schema_version(connection)
        if version > VERSION:
            raise StoreError(
                f"the store {self._path} was made by a newer release (schema {version}, this one knows {VERSION}); "
                "upgrade looopy-otel, or name another file with LOOOPY_OTEL_DB or --db"
            )
        if not self._read_only:
            use_write_ahead_log(connection, deadline)
            if version == 0:
                wait_until(connection, deadline)
                create_tables(connection)
        elif version == 0:
            raise StoreError(f"{self._path} is not a store of looopy-otel, or nothing has been written to it yet")

    def _before_fork(self) -> None:
        # A connection must not be carried across a fork: https://www.sqlite.org/howtocorrupt.html
        self._held_for_fork = self._lock.acquire(timeout=_FORK_SECONDS)
        if self._held_for_fork:
            self.close()

    def _after_fork(self) -> None:
        if self._held_for_fork:
            self._held_for_fork = False
            self._lock.release()
        elif os.getpid() != self._pid:
            # Another thread was in the middle of something: the child never touches what it inherits of that.
            self._lock = threading.RLock()
            _abandoned.append(self._connection)
            self._connection = None
        self._pid = os.getpid()


def _insert(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    columns = ", ".join(rows[0])
    values = ", ".join(f":{column}" for column in rows[0])
    with transaction(connection):
        connection.executemany(f"INSERT INTO spans ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING", rows)
        connection.executemany(
            "INSERT INTO traces (trace_id, start_time, end_time) VALUES (:trace_id, :start_time, :end_time) "
            "ON CONFLICT DO UPDATE SET start_time = min(start_time, excluded.start_time), "
            "end_time = max(end_time, excluded.end_time)",
            rows,
        )


def _newest(
    connection: sqlite3.Connection, limit: int, session_id: str | None, agent_id: str | None
) -> list[tuple[str, list[Row]]]:
    conditions: list[str] = []
    parameters: list[str | int] = []
    for column, value in (("session_id", session_id), ("agent_id", agent_id)):
        if value is not None:
            conditions.append(f"trace_id IN (SELECT trace_id FROM spans WHERE {column} = ?)")
            parameters.append(value)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    traces = connection.execute(
        f"SELECT trace_id FROM traces {where} ORDER BY start_time DESC, trace_id LIMIT ?", [*parameters, limit]
    ).fetchall()
    statement = f"SELECT {SUMMARY_COLUMNS} FROM spans WHERE trace_id = ? ORDER BY start_time, end_time DESC, rowid"
    return [(row["trace_id"], connection.execute(statement, (row["trace_id"],)).fetchall()) for row in traces]

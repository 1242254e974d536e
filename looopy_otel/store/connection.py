"""Connections to the local store's file: how they are opened, how they write, how the schema gets in."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from looopy_otel.store.rows import Row
from looopy_otel.store.schema import SCHEMA, VERSION

BUSY_SECONDS: Final = 5.0
"""How long a writer waits for another one, unless it is told otherwise."""


def connect(path: Path, *, read_only: bool, deadline: float) -> sqlite3.Connection:
    """Opens an existing file; rows come as dictionaries, transactions are begun by `transaction` alone.

    Args:
        path: The file.
        read_only: True to change nothing.
        deadline: A value of `time.monotonic` until which the connection waits for others' locks; see `wait_until`.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=max(0.0, deadline - time.monotonic()),
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = _row
    try:
        # A crash of the machine may lose the last transactions, never the file; one of the process loses nothing.
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _row(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}


def wait_until(connection: sqlite3.Connection, deadline: float) -> None:
    """Has the connection's next statement wait for others' locks until `deadline`, a value of `time.monotonic`."""
    connection.execute(f"PRAGMA busy_timeout = {max(0, int((deadline - time.monotonic()) * 1000))}")


def is_locked_out(error: sqlite3.Error) -> bool:
    """True for the error of a statement that waited in vain for another connection's lock."""
    # The low byte is the kind of the error, the others say more: https://www.sqlite.org/rescode.html
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def use_write_ahead_log(connection: sqlite3.Connection, deadline: float) -> None:
    """Switches the journal; while another process does the same SQLite refuses at once, whatever the timeout."""
    while True:
        wait_until(connection, deadline)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


def create_tables(connection: sqlite3.Connection) -> None:
    """Creates the schema, unless another process was quicker."""
    with transaction(connection):
        if schema_version(connection) == 0:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")


def schema_version(connection: sqlite3.Connection) -> int:
    """The version of the schema in the file; 0 for an empty file."""
    return int(connection.execute("PRAGMA user_version").fetchone()["user_version"])


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """A write transaction, taken at once, so that it waits its turn instead of failing half-way."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")

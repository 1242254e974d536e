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
"""How long a writer waits for another one."""


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Opens an existing file; rows come as dictionaries, transactions are begun by `transaction` alone."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=BUSY_SECONDS,
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


def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switches the journal; while another process does the same SQLite refuses at once, whatever the timeout."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
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

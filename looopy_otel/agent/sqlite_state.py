"""Checkpoints in a SQLite file, for runs that outlive their process."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from looopy_otel.agent.errors import TaskNotFoundError
from looopy_otel.agent.state import Checkpoint
from looopy_otel.core.errors import ConfigurationError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoints (
    task_id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL,
    session_id TEXT,
    checkpoint TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL
)
"""
_SAVE = """
INSERT INTO checkpoints (task_id, agent_id, session_id, checkpoint, created) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (task_id) DO UPDATE SET
    agent_id = excluded.agent_id, session_id = excluded.session_id, checkpoint = excluded.checkpoint
"""
_ALIVE = "(expires IS NULL OR expires > ?)"
_LIST = f"""
SELECT task_id FROM checkpoints
WHERE {_ALIVE} AND (? IS NULL OR agent_id = ?) AND (? IS NULL OR session_id = ?) ORDER BY created, rowid
"""


class SQLiteStateStore:
    """Keeps checkpoints in a SQLite file, which any number of processes may share.

    Every access is one short transaction on a connection of its own, in a thread.

    Args:
        path: The file; it and its directory are made at first use. For memory there is `InMemoryStateStore`.
        timeout: Seconds to wait for another process that writes.
        clock: Gives Unix time in seconds; another one is for tests.

    Raises:
        ConfigurationError: If `path` names no file: SQLite's ``:memory:``, a ``file:`` URI, or nothing.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, timeout: float = 10.0, clock: Callable[[], float] = time.time
    ) -> None:
        name = os.fspath(path)
        if name in ("", ":memory:") or name.startswith("file:"):
            raise ConfigurationError(
                f"SQLiteStateStore: path={name!r} is no file; give one, or use InMemoryStateStore()"
            )
        self._path = Path(path)
        self._timeout = timeout
        self._clock = clock

    async def save(self, checkpoint: Checkpoint) -> None:
        """Keeps a checkpoint in the place of the task's last one; its time to live stays.

        Raises:
            sqlite3.Error: If the file cannot be written.
        """
        await asyncio.to_thread(self._save, checkpoint)

    async def load(self, task_id: str) -> Checkpoint | None:
        """The task's last checkpoint, or None."""
        return await asyncio.to_thread(self._load, task_id)

    async def exists(self, task_id: str) -> bool:
        """True when `load` would give one."""
        return await self.load(task_id) is not None

    async def delete(self, task_id: str) -> None:
        """Forgets the task; one that is not there is no error."""
        await asyncio.to_thread(self._delete, task_id)

    async def list_tasks(self, *, agent_id: str | None = None, session_id: str | None = None) -> Sequence[str]:
        """The ids of all tasks, or of those of an agent or session, first saved first."""
        return await asyncio.to_thread(self._list, agent_id, session_id)

    async def set_ttl(self, task_id: str, seconds: float | None) -> None:
        """Has the task forgotten that many seconds from now; None keeps it for good.

        Raises:
            TaskNotFoundError: If there is no such task.
        """
        if not await asyncio.to_thread(self._set_ttl, task_id, seconds):
            raise TaskNotFoundError(f"there is no task {task_id!r}")

    def _save(self, checkpoint: Checkpoint) -> None:
        moment = self._clock()
        text = checkpoint.model_dump_json()
        with self._transaction() as connection:
            connection.execute("DELETE FROM checkpoints WHERE expires <= ?", (moment,))
            values = (checkpoint.task_id, checkpoint.agent_id, checkpoint.session_id, text, moment)
            connection.execute(_SAVE, values)

    def _load(self, task_id: str) -> Checkpoint | None:
        with self._transaction() as connection:
            query = f"SELECT checkpoint FROM checkpoints WHERE task_id = ? AND {_ALIVE}"
            row = connection.execute(query, (task_id, self._clock())).fetchone()
        return None if row is None else Checkpoint.model_validate_json(row[0])

    def _delete(self, task_id: str) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM checkpoints WHERE task_id = ?", (task_id,))

    def _list(self, agent_id: str | None, session_id: str | None) -> list[str]:
        with self._transaction() as connection:
            rows = connection.execute(_LIST, (self._clock(), agent_id, agent_id, session_id, session_id))
            return [row[0] for row in rows]

    def _set_ttl(self, task_id: str, seconds: float | None) -> bool:
        moment = self._clock()
        expires = None if seconds is None else moment + seconds
        with self._transaction() as connection:
            update = f"UPDATE checkpoints SET expires = ? WHERE task_id = ? AND {_ALIVE}"
            return connection.execute(update, (expires, task_id, moment)).rowcount > 0

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=self._timeout)
        try:
            self._share(connection)
            connection.execute(_SCHEMA)
            with connection:
                yield connection
        finally:
            connection.close()

    def _share(self, connection: sqlite3.Connection) -> None:
        """Switches to the write-ahead log; SQLite's own busy timeout does not cover two that switch at once."""
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
            else:
                return

"""A server that a test starts as a process of its own: on loopback, with a log, stopped by its process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.support.require import ENVIRONMENT

START_TIMEOUT = 30.0
STOP_TIMEOUT = 20.0


class ChildProcess:
    """One server process that can be stopped, killed and started again; its addresses stay the same.

    Args:
        name: For messages.
        command: The program and its arguments.
        directory: Its working directory; the log goes there.
        environment: All that it sees besides ``PATH`` and a ``HOME`` in `directory`.
        ready_url: Answers 200 once the server is up.
    """

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, environment: Mapping[str, str], ready_url: str
    ) -> None:
        self._name = name
        self._command = list(command)
        self._directory = directory
        self._environment = {"PATH": ENVIRONMENT.get("PATH", os.defpath), "HOME": str(directory), **environment}
        self._ready_url = ready_url
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The number of the process that runs."""
        assert self._process is not None, f"{self._name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Starts the process and waits until it answers.

        Raises:
            AssertionError: If it ends by itself or does not answer in time; with the end of its log.
        """
        assert self._process is None, f"{self._name} runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> int:
        """Asks the process to end and waits until it has; gives its exit code. Without a process it is 0."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self._name} did not end; its log ends:\n{self.log_end()}") from None
        self._process = None
        return code

    def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT)
            self._process = None

    def log_end(self, lines: int = 40) -> str:
        """The last lines of what the process printed."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
        else:
            self.kill()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            assert self._process.poll() is None, f"{self._name} ended by itself; its log ends:\n{self.log_end()}"
            assert time.monotonic() < deadline, f"{self._name} did not start; its log ends:\n{self.log_end()}"
            try:
                if httpx.get(self._ready_url, timeout=5.0, trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # nothing listens yet
            time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """So many different ports on loopback that nobody listens on right now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def cache_directory() -> Path:
    """Where what tests need besides Python packages is kept, outside the tree."""
    cache = ENVIRONMENT.get("XDG_CACHE_HOME") or str(Path(ENVIRONMENT.get("HOME", "~")).expanduser() / ".cache")
    return Path(cache) / "looopy-otel"

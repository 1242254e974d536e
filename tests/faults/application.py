"""Drives `tests.faults.program`: an application in a process of its own, whose exit and memory can be measured."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).parents[2]
PATIENCE: Final = 60.0
"""Seconds after which a process that does not end is a failure, and killed."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls that an application has made.

    Attributes:
        ids: Their span ids.
        seconds: How long each held its caller up.
    """

    ids: list[str]
    seconds: list[float]

    def quantile(self, share: float) -> float:
        """How long that share of the calls took at most, in seconds."""
        return sorted(self.seconds)[min(int(len(self.seconds) * share), len(self.seconds) - 1)]


class Application:
    """A process that makes traced calls on command; use it in a ``with`` block, which kills it if it still runs.

    Args:
        endpoint: Base URL of the OTLP endpoint.
        spool: The directory of all outboxes.
        delay: Seconds between the worker's rounds.
        timeout: Seconds for one request.
        shutdown_timeout: Seconds for the end.
        file_size: Bytes that a file may have, to the operating system; None for any.
        variables: Environment variables besides.
    """

    def __init__(
        self,
        endpoint: str,
        spool: Path,
        *,
        delay: float = 0.05,
        timeout: float = 1.0,
        shutdown_timeout: float = 2.0,
        file_size: int | None = None,
        **variables: str,
    ) -> None:
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(timeout),
            "LOOOPY_OTEL_EXPORTERS": "otlp",
            "LOOOPY_OTEL_SPOOL_DIR": str(spool),
            "LOOOPY_OTEL_EXPORT_DELAY": str(delay),
            "LOOOPY_OTEL_SHUTDOWN_TIMEOUT": str(shutdown_timeout),
            **variables,
        }
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.program"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            preexec_fn=None if file_size is None else limiting(file_size),
        )
        self._answer()

    def calls(self, count: int, size: int = 1000, *, pause: float = 0.0, model: str = "gpt-4o") -> Calls:
        """Has LLM calls made, one after the other, with so many characters of content each."""
        said = self._do("calls", count=count, size=size, pause=pause, model=model)
        return Calls(said["ids"], said["seconds"])

    def flush(self, timeout: float) -> dict[str, Any]:
        """Has it flush; gives the counts of the result, and ``seconds``."""
        return self._do("flush", timeout=timeout)

    def flush_until_empty(self, patience: float = 20.0) -> None:
        """Has it flush again and again until nothing waits."""
        deadline = time.monotonic() + patience
        while (said := self.flush(2.0))["spooled"] or said["pending"]:
            assert time.monotonic() < deadline, f"still waiting: {said}; {self.stats()}"

    def stats(self) -> dict[str, Any]:
        """Its counts, summed over destinations."""
        return self._do("stats")

    def shutdown(self) -> dict[str, Any]:
        """Has it shut down as at exit; gives the counts and ``seconds``."""
        return self._do("shutdown")

    def memory(self, *, restart: bool = False) -> dict[str, int]:
        """``resident`` and ``peak`` bytes; `restart` begins a new peak."""
        return self._do("memory", restart=restart)

    def exit(self) -> float:
        """Has it end by itself; gives the seconds that this took.

        Raises:
            AssertionError: If it does not end, or has anything to complain of.
        """
        start = time.monotonic()
        self._tell("exit")
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"it did not end; it said:\n{self.complaints()}") from None
        seconds = time.monotonic() - start
        assert code == 0, f"it ended with {code} and said:\n{self.complaints()}"
        assert "Traceback" not in self.complaints(), self.complaints()
        return seconds

    def kill(self) -> None:
        """Ends it at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def complaints(self) -> str:
        """What it has written to standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()

    def _do(self, command: str, **arguments: Any) -> Any:
        self._tell(command, **arguments)
        return self._answer()

    def _tell(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        self._process.stdin.flush()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it ended by itself and said:\n{self.complaints()}"
        return json.loads(line)


def limiting(file_size: int) -> Callable[[], None]:
    """For a child before it begins: its files may have so many bytes; what it writes beyond fails as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))


def deliver_what_is_left(endpoint: str, spool: Path) -> dict[str, Any]:
    """Starts an application that makes no call, has it deliver what others left in the spool, and end.

    Returns:
        Its counts.
    """
    with Application(endpoint, spool, timeout=10.0, shutdown_timeout=10.0) as successor:
        successor.flush_until_empty()
        said = successor.stats()
        successor.exit()
        return said

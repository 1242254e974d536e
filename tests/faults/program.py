"""An application under test, run as a process of its own: ``python -m tests.faults.program``.

It is configured by the environment, reads one command per line on standard input, and answers each with one line; both
are JSON. See `tests.faults.application.Application`, which drives it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from opentelemetry.trace import get_current_span

import looopy_otel as lo
from tests.support.fault_server import numbered_content


class Program:
    """What the commands do.

    Args:
        telemetry: The running configuration.
    """

    def __init__(self, telemetry: lo.Telemetry) -> None:
        self._telemetry = telemetry
        self._calls = 0

    def calls(self, count: int, size: int, pause: float = 0.0, model: str = "gpt-4o") -> dict[str, Any]:
        """Makes LLM calls one after the other; tells their span ids and how long each held its caller up."""
        made: list[str] = []
        seconds: list[float] = []
        for _ in range(count):
            self._calls += 1
            content = numbered_content(self._calls, size)
            start = time.perf_counter()
            with lo.llm_span(model=model, input=content) as call:
                call.record(output="yes", finish_reason="stop")
                span_id = get_current_span().get_span_context().span_id
            seconds.append(time.perf_counter() - start)
            made.append(f"{span_id:016x}")
            if pause:
                time.sleep(pause)
        return {"ids": made, "seconds": seconds}

    def flush(self, timeout: float) -> dict[str, Any]:
        """Flushes; tells the result and how long it took."""
        start = time.perf_counter()
        said = self._telemetry.flush(timeout=timeout)
        return {
            "seconds": time.perf_counter() - start,
            "exported": said.exported,
            "spooled": said.spooled,
            "dropped": said.dropped,
            "pending": said.pending,
        }

    def stats(self) -> dict[str, Any]:
        """Tells the health of the pipeline."""
        said = self._telemetry.stats()
        return {
            "queued": said.queued + sum(one.queued for one in said.destinations),
            "exported": said.exported,
            "spooled": said.spooled,
            "dropped": dict(said.dropped),
            "content_shed": dict(said.content_shed),
            "errors": dict(said.internal_errors),
            "last_error": next((one.last_error for one in said.destinations if one.last_error), None),
        }

    def shutdown(self) -> dict[str, Any]:
        """Shuts down as the end of the process would; tells how long that took, and what the counts are then."""
        start = time.perf_counter()
        self._telemetry.shutdown()
        return {"seconds": time.perf_counter() - start, **self.stats()}

    def memory(self, restart: bool = False) -> dict[str, int]:
        """Tells resident memory and its peak since the last restart, in bytes."""
        status = Path("/proc/self/status").read_text(encoding="ascii")
        found = {key: int(value) * 1024 for key, value in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.M)}
        if restart:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return {"resident": found["VmRSS"], "peak": found["VmHWM"]}


def main() -> None:
    """Answers commands until the input ends or one says ``exit``; then the process ends as any program does."""
    program = Program(lo.configure())
    answer({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        if do == "exit":
            return
        answer(getattr(program, do)(**command))


def answer(said: dict[str, Any]) -> None:
    """Prints one line."""
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()

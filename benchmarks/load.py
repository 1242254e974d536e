"""The process under test of the soak: makes LLM spans at an even rate until its input ends, and tells its counts."""

from __future__ import annotations

import json
import sys
import threading
import time

import looopy_otel as lo
from tests.support.fault_server import numbered_content

SLICE_SECONDS = 0.01


def main(rate: float, characters: int) -> None:
    """Makes `rate` spans a second, with so many characters of content each; a line on the input stops it."""
    telemetry = lo.configure()
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    made = 0
    start = time.monotonic()
    while not stop.is_set():
        due = int((time.monotonic() - start) * rate)
        # A machine that cannot keep up makes fewer, and does not catch up in a burst.
        for _ in range(min(due - made, int(rate))):
            made += 1
            with lo.llm_span(model="gpt-4o", input=numbered_content(made % 10_000, characters)) as call:
                call.record(output="yes", finish_reason="stop")
        time.sleep(SLICE_SECONDS)
    tell(made, telemetry)
    sys.stdin.readline()
    deadline = time.monotonic() + 120.0
    while ((said := telemetry.flush(timeout=5.0)).spooled or said.pending) and time.monotonic() < deadline:
        continue
    tell(made, telemetry)


def tell(made: int, telemetry: lo.Telemetry) -> None:
    """Prints the counts as one line of JSON."""
    said = telemetry.stats()
    counts = {"made": made, "exported": said.exported, "spooled": said.spooled, "dropped": dict(said.dropped)}
    print(json.dumps({**counts, "errors": dict(said.internal_errors)}), flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))

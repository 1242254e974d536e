"""100 MB for an endpoint that is dead: the process ends in time, stays small, and loses neither spans nor content."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.application import Application, deliver_what_is_left
from tests.support.fault_server import FaultServer, deaf, healthy

MIB = 1024 * 1024
CALLS = 5000
CHARACTERS = 20_000
EXIT_SECONDS = 5.0
INTERPRETER_SECONDS = 1.0
"""What a busy machine takes to end the interpreter, beyond what the library does."""
MEMORY_GROWTH = 80 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["refuses", "never answers"])
def test_a_dead_backend_costs_neither_time_nor_memory_nor_spans(tmp_path: Path, backend: str) -> None:
    with FaultServer(deaf) as server:
        if backend == "refuses":
            server.stop_listening()
        # As a user has it: all defaults.
        with Application(server.url, tmp_path, delay=1.0, timeout=10.0, shutdown_timeout=5.0) as application:
            few = application.calls(20)
            resident = application.memory(restart=True)["resident"]
            many = application.calls(CALLS, CHARACTERS)
            assert application.memory()["peak"] - resident < MEMORY_GROWTH
            assert application.exit() < EXIT_SECONDS + INTERPRETER_SECONDS
        if backend == "refuses":
            server.listen()
        server.fault = healthy
        said = deliver_what_is_left(server.url, tmp_path)
        made = {*few.ids, *many.ids}
        assert len(made - server.accepted.keys()) == 0
        assert [one for one in made if server.accepted[one] is None] == []
        assert len(set(server.accepted.values())) == len(made)
        assert (said["dropped"], said["errors"]) == ({}, {})

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest

from looopy_otel.core.errors import StoreError
from looopy_otel.core.identity import Identity
from looopy_otel.core.usage import Usage
from looopy_otel.store.sqlite import Store
from tests.store.spans import agent, call, span_id, stored, trace_id

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "traces.db"


def test_spans_come_back_equal_and_in_start_order(path: Path) -> None:
    spans = [
        call(1, 3),
        agent(1),
        stored(
            1,
            2,
            kind="SERVER",
            status="ERROR",
            status_message="broken",
            scope="flask",
            attributes={"text": "ü", "number": 1.5, "list": ["a"], "flag": True},
            events=({"name": "note", "time": 5, "attributes": {"n": 1}},),
            links=({"trace_id": trace_id(9), "span_id": span_id(9), "attributes": {}},),
            resource={"service.name": "shop"},
        ),
    ]
    with Store(path) as store:
        store.insert(spans)
        assert store.spans(trace_id(1)) == [spans[1], spans[2], spans[0]]
        assert store.spans(trace_id(2)) == []


def test_a_parent_that_starts_with_its_child_comes_first(path: Path) -> None:
    child = stored(1, 1, parent_id=span_id(2), start_time=5, end_time=6)
    parent = stored(1, 2, start_time=5, end_time=9)
    with Store(path) as store:
        store.insert([child, parent])
        assert store.spans(trace_id(1)) == [parent, child]


def test_a_repeated_span_is_kept_once(path: Path) -> None:
    with Store(path) as store:
        store.insert([agent(1), call(1, 2)])
        store.insert([call(1, 2), call(1, 3)])
        assert len(store.spans(trace_id(1))) == 3
        assert [trace.spans for trace in store.traces()] == [3]


def test_a_trace_is_summed_up_exactly(path: Path) -> None:
    with Store(path) as store:
        store.insert([agent(1), call(1, 2), call(1, 3, usage=None, cost=None)])
        store.insert([call(1, 4)])
        (trace,) = store.traces()
    assert (trace.name, trace.agent_id, trace.session_id) == ("helper", "helper", "s-1")
    assert (trace.spans, trace.llm_calls, trace.failed) == (4, 3, False)
    assert trace.usage == Usage(200, 40, cache_read_tokens=20)
    assert trace.cost == Decimal("0.0068")
    assert (trace.start_time, trace.duration) == (1_000_000_001, pytest.approx(0.500000003))


def test_what_is_unknown_is_none(path: Path) -> None:
    with Store(path) as store:
        store.insert([stored(1, 1, name="GET /", status="ERROR")])
        (trace,) = store.traces()
    assert (trace.name, trace.agent_id, trace.session_id, trace.usage, trace.cost) == ("GET /", None, None, None, None)
    assert trace.failed


def test_a_trace_name_wins_and_the_task_stands_for_a_missing_session(path: Path) -> None:
    someone = Identity(agent_id="helper", task_id="task_7", trace_name="support")
    with Store(path) as store:
        store.insert([agent(1, identity=someone)])
        (trace,) = store.traces()
        assert (trace.name, trace.session_id) == ("support", "task_7")
        assert len(store.traces(session_id="task_7")) == 1


def test_traces_come_newest_first_and_can_be_chosen(path: Path) -> None:
    bob = Identity(session_id="s-2", agent_id="writer", task_id="task_2")
    with Store(path) as store:
        store.insert([agent(1), agent(3), agent(2, identity=bob)])
        store.insert([stored(4, 1, attributes={"session.id": "s-2"})])

        def ids(**options: str | int) -> list[int]:
            return [int(trace.trace_id, 16) for trace in store.traces(**options)]  # pyright: ignore[reportArgumentType]

        assert ids() == [4, 3, 2, 1]
        assert ids(limit=2) == [4, 3]
        assert ids(session_id="s-2") == [4, 2]
        assert ids(agent_id="helper") == [3, 1]
        assert ids(agent_id="helper", session_id="s-2") == []


def test_a_trace_is_found_by_last_by_its_id_and_by_the_beginning_of_it(path: Path) -> None:
    one, two = "abcd" + "0" * 28, "abce" + "0" * 28
    with Store(path) as store:
        assert store.find("last") is None
        store.insert([stored(1, 1, trace_id=one), stored(2, 1, trace_id=two)])
        assert store.find("last") == two
        assert store.find(one) == one
        assert store.find("ABCD") == one
        assert store.find("abcf") is None
        store.insert([stored(3, 1, trace_id="abcd1" + "0" * 27)])
        with pytest.raises(StoreError, match=r"several traces.*give more digits"):
            store.find("abcd")
        for wrong in ("abc", "", "nothex!", "0" * 33, "%%%%"):
            with pytest.raises(StoreError, match="is no trace id"):
                store.find(wrong)


def test_only_the_owner_may_read(path: Path) -> None:
    with Store(path) as store:
        store.insert([agent(1)])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_reading_what_is_not_there_says_how_to_make_traces(path: Path) -> None:
    with pytest.raises(StoreError, match="looopy-otel demo"):
        Store(path, read_only=True)
    assert not path.parent.exists()


def test_a_reader_sees_what_a_writer_adds_and_can_change_nothing(path: Path) -> None:
    with Store(path) as writer:
        writer.insert([agent(1)])
        with Store(path, read_only=True) as reader:
            assert len(reader.traces()) == 1
            writer.insert([agent(2)])
            assert len(reader.traces()) == 2
            with pytest.raises(StoreError, match="readonly"):
                reader.insert([agent(3)])
    with Store(path, read_only=True) as reader:
        assert len(reader.traces()) == 2


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_database_is_told_and_left_as_it_is(path: Path, read_only: bool) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database at all" * 100)
    with pytest.raises(StoreError, match=r"is damaged.*move it away"):
        Store(path, read_only=read_only)
    assert path.read_bytes().startswith(b"this is not")


def test_a_tampered_row_is_told(path: Path) -> None:
    with Store(path) as store:
        store.insert([agent(1), call(1, 2)])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE spans SET draft = '{\"kind\": \"llm\"' WHERE operation = 'llm'")
    connection.execute("UPDATE spans SET cost = 'much' WHERE operation = 'llm'")
    connection.commit()
    connection.close()
    with Store(path, read_only=True) as store:
        with pytest.raises(StoreError, match="is damaged"):
            store.spans(trace_id(1))
        with pytest.raises(StoreError, match="is damaged"):
            store.traces()


def test_a_store_of_a_newer_release_is_left_alone(path: Path) -> None:
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match=r"newer release.*upgrade"):
        Store(path)


def test_an_empty_file_is_no_store_for_a_reader_and_a_new_one_for_a_writer(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with pytest.raises(StoreError, match="nothing has been written"):
        Store(path, read_only=True)
    with Store(path) as store:
        store.insert([agent(1)])
        assert len(store.traces()) == 1


def test_a_directory_in_the_way_is_told(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"traces\.db"):
        Store(path)


def test_content_of_any_kind_survives(path: Path) -> None:
    text = "emoji 🚀, quotes \" ', nul \x00, " + "x" * 1_000_000
    span = call(1, 2, input=[{"role": "user", "content": text}], metadata={"deep": [1, None, {"a": True}]})
    with Store(path) as store:
        store.insert([span, stored(1, 3, attributes={"lone": "\ud800", "large": 2**70, "bytes": b"x"})])
        whole, odd = store.spans(trace_id(1))
    assert whole == span
    assert odd.attributes["lone"] == "?"
    assert odd.attributes["bytes"] == "b'x'"


def write(path: str, process: int, batches: int) -> None:
    with Store(Path(path)) as store:
        for batch in range(batches):
            store.insert([agent(process * 1000 + batch, 1), call(process * 1000 + batch, 2)])


def test_many_processes_write_at_once(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=write, args=(str(path), number, 20)) for number in range(1, 5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    with Store(path, read_only=True) as store:
        traces = store.traces(limit=1000)
    assert (len(traces), sum(trace.spans for trace in traces)) == (80, 160)


def test_many_threads_share_one_store(path: Path) -> None:
    with Store(path) as store:

        def insert(first: int) -> None:
            for number in range(20):
                store.insert([agent(first + number)])

        threads = [threading.Thread(target=insert, args=(first,)) for first in range(0, 80, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.traces(limit=1000)) == 80


FORK = """
import os, sys
from pathlib import Path
from looopy_otel.store.sqlite import Store
from tests.store.spans import agent
store = Store(Path(sys.argv[1]))
store.insert([agent(1)])
child = os.fork()
for number in range(20):
    store.insert([agent((1000 if child else 2000) + number)])
store.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_of_a_fork_write_on(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(path)], cwd=ROOT, timeout=60, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    with Store(path, read_only=True) as store:
        assert len(store.traces(limit=1000)) == 41
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_file_that_others_may_read_is_theirs_no_more(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    path.touch()
    path.chmod(0o644)
    with Store(path):
        assert {entry.name: entry.stat().st_mode & 0o777 for entry in tmp_path.iterdir()} == {
            "traces.db": 0o600,
            "traces.db-wal": 0o600,
            "traces.db-shm": 0o600,
        }

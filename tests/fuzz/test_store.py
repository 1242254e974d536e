from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from looopy_otel.store.sqlite import Store
from tests.fuzz import targets
from tests.store.spans import agent, call

COLUMNS = (
    "parent_id", "name", "kind", "operation", "start_time", "end_time", "status", "session_id", "agent_id",
    "trace_name", "model", "usage", "cost", "scope", "status_message", "resource", "links", "events",
    "attributes", "draft",
)  # fmt: skip
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.binary(max_size=50),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
    st.sampled_from(
        ["{}", "[]", "null", '{"kind":"llm"}', '[{"a":1}]', "NaN", "1e999999999", '{"prompt_tokens":"x"}', "[" * 200]
    ),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a trace of two spans, and no write-ahead log beside it."""
    path = tmp_path_factory.mktemp("fuzz") / "traces.db"
    with Store(path) as filled:
        filled.insert([agent(1), call(1, 2)])
    return path


@given(st.dictionaries(st.sampled_from(COLUMNS), VALUES, min_size=1, max_size=4))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_row_is_read_or_refused(store: Path, values: dict[str, Any]) -> None:
    copy = store.with_name("row.db")
    shutil.copy(store, copy)
    targets.store_row(copy, values)


@given(st.data())
@settings(max_examples=100)
def test_any_file_is_read_or_refused(store: Path, data: st.DataObject) -> None:
    contents = bytearray(store.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(contents) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=32))
        contents[place : place + len(piece)] = piece
    if data.draw(st.booleans()):
        del contents[data.draw(st.integers(0, len(contents))) :]
    targets.store_file(store.with_name("file.db"), bytes(contents))

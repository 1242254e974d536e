"""The debug log: raw chunks and events, no secrets, and no harm when it cannot be written."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from looopy_otel.providers import LiteLLMAPIError, Reply
from tests.providers.conftest import KEY, Connect, Serve

HELLO = [{"role": "user", "content": "Hello!"}]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_chunks_and_events_are_logged(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "debug.jsonl"
    provider = connect(serve(Reply(text="hi", usage={"prompt_tokens": 1, "completion_tokens": 2})), debug_log_path=path)
    async for _ in provider.call(messages=HELLO):
        pass
    logged = lines(path)
    assert [line["kind"] for line in logged] == ["chunk", "chunk", "event", "chunk", "chunk", "event"]
    assert json.loads(logged[1]["data"])["choices"][0]["delta"] == {"content": "hi"}
    assert logged[2]["data"] == {"kind": "content-delta", "text": "hi"}
    assert (logged[0]["model"], set(logged[0])) == ("gpt-4", {"time", "kind", "model", "data"})
    await provider.call(messages=HELLO)
    assert len(lines(path)) == 7
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_no_secret_is_logged(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "debug.jsonl"
    server = serve(Reply(text=f"Your key is {KEY}", chunk_size=100), Reply(status=401, text=f"wrong: {KEY}"))
    provider = connect(server, debug_log_path=path)
    async for _ in provider.call(messages=HELLO):
        pass
    with pytest.raises(LiteLLMAPIError):
        await provider.call(messages=HELLO)
    assert KEY not in path.read_text()
    assert "Your key is ***" in path.read_text()


async def test_a_log_that_cannot_be_written_does_no_harm(
    serve: Serve, connect: Connect, tmp_path: Path, swallowed_faults: Counter[str]
) -> None:
    provider = connect(serve(), debug_log_path=tmp_path / "no such directory" / "debug.jsonl")
    assert (await provider.call(messages=HELLO)).message.content == "Hello!"
    assert swallowed_faults["providers.debug_log"] == 1

"""The debug log: raw chunks and events, no secrets, and no harm when it cannot be written."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from looopy_otel.providers import LiteLLMAPIError, Reply
from looopy_otel.providers.debug_log import DebugLog
from looopy_otel.providers.masking import SecretMask
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


SPLIT = "sk-" + "proj-abcDEF1234567890abcdEFGH"
TELLING = [
    Reply(text=f"Your key is {SPLIT}, keep it.", chunk_size=3),
    Reply(text=f"no key but {KEY}", chunk_size=4),
    Reply(reasoning=f"The key is {SPLIT}", text="I know a key.", chunk_size=5),
    Reply(tool_calls=(("login", {"password": "hunter2 and more", "n": 1}),), chunk_size=2),
    Reply(text="AKIA" + "IOSFODNN7EXAMPLE", chunk_size=100),
    Reply(text="postgres://user:hunter2@db/x", chunk_size=6),
]
SECRETS = (SPLIT, KEY, "hunter2", "AKIA" + "IOSFODNN7EXAMPLE")


def joined(logged: list[dict[str, Any]]) -> str:
    """What anyone can put together from the deltas of a log, and all of its lines."""
    chunks = [json.loads(line["data"]) for line in logged if line["kind"] == "chunk" and line["data"] != "[DONE]"]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", [])]
    texts = ["".join(str(delta.get(name) or "") for delta in deltas) for name in ("content", "reasoning_content")]
    calls = [call["function"].get("arguments", "") for delta in deltas for call in delta.get("tool_calls", [])]
    events = [line["data"].get("text", "") for line in logged if line["kind"] == "event"]
    return "\n".join([*texts, "".join(calls), "".join(events), json.dumps(logged)])


@pytest.mark.parametrize("reply", TELLING)
async def test_a_secret_that_is_split_over_chunks_cannot_be_joined(
    serve: Serve, connect: Connect, tmp_path: Path, reply: Reply
) -> None:
    path = tmp_path / "debug.jsonl"
    events = [event async for event in connect(serve(reply), debug_log_path=path).call(messages=HELLO)]
    said = joined(lines(path))
    assert [secret for secret in SECRETS if secret in said] == []
    assert "[REDACTED:" in said or "***" in said
    assert [secret for secret in SECRETS if secret in repr(events)], "the caller gets what was sent"
    assert len([line for line in lines(path) if line["kind"] == "event"]) == len(events) - 1


async def test_what_is_no_secret_is_logged_as_it_came(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    path = tmp_path / "debug.jsonl"
    body = b'data: {"choices":  [{"index": 0, "delta": {"content": "h\\u0069"}, "finish_reason": "stop"}]}\n\n'
    server = serve(Reply(body=body, headers={"content-type": "text/event-stream"}))
    async for _ in connect(server, debug_log_path=path).call(messages=HELLO):
        pass
    (chunk, event) = lines(path)
    assert chunk["data"] == body.decode().removeprefix("data: ").strip()
    assert event["data"]["text"] == "hi"


@pytest.mark.parametrize("ending", ["left", "cancelled", "broken"])
async def test_the_log_of_a_call_that_does_not_end_well_is_written(
    serve: Serve, connect: Connect, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / "debug.jsonl"
    broken = ending == "broken"
    reply = Reply(
        text=f"{SPLIT} " * 20, chunk_size=8, chunk_delay=0 if broken else 0.02, cut_after=9 if broken else None
    )
    call = connect(serve(reply), debug_log_path=path).call(messages=HELLO)
    seen = asyncio.Event()

    async def consume() -> None:
        stream = aiter(call)
        async for _ in stream:
            seen.set()
            if ending == "left":
                await stream.aclose()
                return

    task = asyncio.create_task(consume())
    await seen.wait()
    if ending == "cancelled":
        task.cancel()
    await asyncio.wait([task])
    assert isinstance(None if task.cancelled() else task.exception(), LiteLLMAPIError if broken else None.__class__)
    assert lines(path)[0]["kind"] == "chunk"
    assert SPLIT not in joined(lines(path))


@pytest.mark.parametrize("size", [1, 3, 7, 40])
def test_a_log_that_is_too_long_to_hold_is_masked_and_written_in_parts(tmp_path: Path, size: int) -> None:
    path = tmp_path / "debug.jsonl"
    text = f"some words {SPLIT} and more, " * 60
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    log = DebugLog(path, SecretMask([]), "gpt-4", most_held=40_000)
    for piece in pieces:
        log.chunk(json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}).encode())
    early = path.exists()
    log.write()
    log.write()
    logged = lines(path)
    assert early == (len(pieces) > 1000)
    assert len(logged) == len(pieces)
    written = "".join(json.loads(line["data"])["choices"][0]["delta"]["content"] for line in logged)
    assert written == text.replace(SPLIT, "[REDACTED:openai-key]")


async def test_a_log_that_cannot_be_written_does_no_harm(
    serve: Serve, connect: Connect, tmp_path: Path, swallowed_faults: Counter[str]
) -> None:
    provider = connect(serve(), debug_log_path=tmp_path / "no such directory" / "debug.jsonl")
    assert (await provider.call(messages=HELLO)).message.content == "Hello!"
    assert swallowed_faults["providers.debug_log"] == 1

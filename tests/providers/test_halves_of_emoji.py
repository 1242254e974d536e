"""JSON may stand for half of an emoji, and a stream may be cut inside one; the answer is whole all the same."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from looopy_otel.providers import Reply
from tests.providers.conftest import Connect, Serve

HELLO = [{"role": "user", "content": "Hello!"}]


def chunk(delta: dict[str, object], finish_reason: str | None = None) -> str:
    return "data: " + json.dumps({"id": "x", "choices": [{"delta": delta, "finish_reason": finish_reason}]}) + "\n\n"


async def test_an_emoji_that_is_cut_between_two_deltas(serve: Serve, connect: Connect) -> None:
    body = chunk({"content": "\ud83d"}) + chunk({"content": "\ude00"}) + chunk({}, "stop") + "data: [DONE]\n\n"
    server = serve(Reply(body=body.encode(), headers={"content-type": "text/event-stream"}))
    *_, last = [event async for event in connect(server).call(messages=HELLO)]
    assert last.kind == "content-complete"
    assert last.response.message.content == "😀"


async def test_half_an_emoji_in_a_plain_reply(serve: Serve, connect: Connect) -> None:
    message = {"role": "assistant", "content": "done \ud83d"}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    server = serve(Reply(body=body, headers={"content-type": "application/json"}))
    assert (await connect(server).call(messages=HELLO)).message.content == "done \ufffd"


@pytest.mark.parametrize(("cost", "read"), [("1e999", None), ("NaN", None), ("0.5", Decimal("0.5"))])
async def test_a_cost_that_no_wire_can_carry_is_unknown(
    serve: Serve, connect: Connect, cost: str, read: Decimal | None
) -> None:
    server = serve(Reply(text="ok", headers={"x-litellm-response-cost": cost}))
    assert (await connect(server).call(messages=HELLO)).cost == read
